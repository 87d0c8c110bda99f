-- The bookings of one host: when each begins and ends.
--
-- KEYS  1 hash: booking -> "begin end", unix seconds
-- ARGV  1 verb    2 booking    3 begin    4 end
-- `note` writes the booking down, `take` only if the host is free then, `drop` strikes it out.
-- Answers the end of a booking of the same time, 0 if there is none. Bookings that are over are struck out by the way.

local key, verb, booking, begin, ends = KEYS[1], ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local now = tonumber(redis.call('TIME')[1])
local DAY = 86400

if verb == 'drop' then return redis.call('HDEL', key, booking) end

local other = 0
local flat = redis.call('HGETALL', key)
for i = 1, #flat, 2 do
  local from, till = flat[i + 1]:match('^(%d+) (%d+)$')
  from, till = tonumber(from), tonumber(till)
  if flat[i] == booking then -- its own time is no other's
  elseif till < now - DAY then
    redis.call('HDEL', key, flat[i])
  elseif from < ends and till > begin then
    other = math.max(other, till)
  end
end
if verb == 'take' and other > 0 then
  redis.call('HDEL', key, booking)
  return other
end
redis.call('HSET', key, booking, string.format('%d %d', begin, ends))
redis.call('EXPIRE', key, math.max(redis.call('TTL', key), math.max(ends - now, 0) + DAY))
return other
