-- The delivery log's line of an event, written in the step that takes it. Stands before ledger.lua in one script.

-- ARGV of `accept`: 27 how the line begins, '' for none  28 ms it is kept  29 lines a shard has room for
-- Answers the verdict, with which the line ends.
local function note(verdict, now)
  if (ARGV[27] or '') ~= '' then
    local log = string.sub(KEYS[1], 1, -4) .. 'log'
    redis.call('ZADD', log, now, ARGV[27] .. verdict .. '"]')
    local count, most = redis.call('ZCARD', log), tonumber(ARGV[29])
    if count == 1 then redis.call('PEXPIRE', log, ARGV[28]) end
    if count > most then redis.call('ZREMRANGEBYRANK', log, 0, count - most - 1) end
  end
  return verdict
end

