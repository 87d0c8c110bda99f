-- What the hosts of one account have drawn today of what their vendor allows them. A day begins at 00:00 UTC.
--
-- KEYS  1 hash: `day`, `token` of the last change, and each host's calls under `h:` and its name
-- ARGV  1 verb    2 a token of the caller, so that a command sent twice counts once    3 host
--       4 how many calls the host may have drawn afterwards; what it has drawn then, for `spend`
-- Answers 1 when the call may be made, milliseconds until the next day, and for `look` the hosts and their calls.
-- Only the server's clock is read.

local key, verb, token, host = KEYS[1], ARGV[1], ARGV[2], 'h:' .. (ARGV[3] or '')
local clock = redis.call('TIME')
local day = math.floor(tonumber(clock[1]) / 86400)
local left = (day + 1) * 86400000 - tonumber(clock[1]) * 1000 - math.floor(tonumber(clock[2]) / 1000)

local known = redis.call('HGET', key, 'day') == tostring(day)
local drawn = known and tonumber(redis.call('HGET', key, host) or 0) or 0

if verb == 'look' then return {1, left, known and redis.call('HGETALL', key) or {}} end
if known and redis.call('HGET', key, 'token') == token then return {1, left} end
if verb == 'draw' and drawn >= tonumber(ARGV[4]) then return {0, left} end
if verb == 'draw' then
  drawn = drawn + 1
elseif verb == 'give' then
  drawn = math.max(0, drawn - 1)
elseif verb == 'spend' then
  drawn = tonumber(ARGV[4])
end
if not known then redis.call('DEL', key) end
redis.call('HSET', key, 'day', day, 'token', token, host, drawn)
redis.call('PEXPIRE', key, left + 60000)
return {1, left}
