-- Whose a record's host link is: it is good for one person's meetings. Stands before ledger.lua in one script.

-- Nobody starts a meeting by the host's link any more; who reads the record next is given another one.
local function withdraw(base, e)
  if e.host_name then redis.call('DEL', base .. 'h:' .. e.host_name) end
  drop(e, 'host', 'host_name')
end

-- The record's meeting is hosted by `who`, which is kept beyond that meeting: the next one may be another person's.
local function hosted_by(base, e, who)
  if e.host_for and e.host_for ~= who then withdraw(base, e) end
  put(e, 'host_for', who)
end

