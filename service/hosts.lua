-- Whose a record's host link is: it is good for one person's meetings. Stands before ledger.lua in one script.

-- Nobody starts a meeting by the host's link any more; who reads the record next is given another one.
local function withdraw(base, entry)
  local name = redis.call('HGET', entry, 'host_name')
  if name then redis.call('DEL', base .. 'h:' .. name) end
  redis.call('HDEL', entry, 'host', 'host_name')
end

-- The record's meeting is hosted by `who`, which is kept beyond that meeting: the next one may be another person's.
local function hosted_by(base, entry, who)
  local before = redis.call('HGET', entry, 'host_for')
  if before and before ~= who then withdraw(base, entry) end
  redis.call('HSET', entry, 'host_for', who)
end

