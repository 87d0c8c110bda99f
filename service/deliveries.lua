-- What a process gathered for the delivery log of one shard. Stands after tombs.lua in one script; safe to repeat.
--
-- KEYS  1 due, by which the shard is known     2 log, a sorted set: line -> when it came (ms)
-- ARGV  1 ms a line is kept  2 lines there is room for  3.. for each line: the one whose place it takes ('' none),
--       when it came, hash of its record's tomb ('' no record), the line, and what of it may be kept of an erased
--       record ('' nothing)
-- Answers how many lines there are.

local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1000 + math.floor(tonumber(clock[2]) / 1000)
local log, keep, most = KEYS[2], tonumber(ARGV[1]), tonumber(ARGV[2])

for i = 3, #ARGV, 5 do
  local at, line = math.min(tonumber(ARGV[i + 1]), now), ARGV[i + 3]
  if ARGV[i] ~= '' then
    at = redis.call('ZSCORE', log, ARGV[i]) -- absent: it was put in its place already, or is forgotten
    redis.call('ZREM', log, ARGV[i])
  end
  if ARGV[i + 2] ~= '' and buried(ARGV[i + 2]) then
    at, line = math.min(tonumber(ARGV[i + 1]), now), ARGV[i + 4]
  end
  if at and line ~= '' then redis.call('ZADD', log, at, line) end
end

redis.call('ZREMRANGEBYSCORE', log, '-inf', now - keep)
local count = redis.call('ZCARD', log)
if count > most then redis.call('ZREMRANGEBYRANK', log, 0, count - most - 1) end
redis.call('PEXPIRE', log, keep)
return math.min(count, most)
