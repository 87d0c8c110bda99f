-- Which bookings of one shard lack a meeting soon, and which were given up. Reads only, and of a fixed number at most,
-- so that it holds up nobody; what was given up and is over is taken off its set on the way.
--
-- KEYS  1 due  2 index, as in ledger.lua
-- ARGV  1 now (s)  2 until when a booking is soon (s)  3 ms before now since when something due should be done
--       4 how many records are looked at, at most, of either kind
-- Answers how many were not looked at, then record, start (s), realm, `failed` or `missing`, connection it waits for
-- ('' none), for each.

local due, index = KEYS[1], KEYS[2]
local base = string.sub(due, 1, -4)
local now, soon, late, most = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[1]) * 1000 - tonumber(ARGV[3]), tonumber(ARGV[4])
local out, seen = {0}, {}

local function put(record, start, e, kind)
  if seen[record] then return end
  seen[record] = true
  for _, value in ipairs({record, start, e[3] or '', kind, e[6] or ''}) do out[#out + 1] = value end
end

local function read(record)
  return redis.call('HMGET', base .. 'r:' .. record, 'state', 'rank', 'realm', 'released', 'reason', 'parked', 'attempts')
end

-- Somebody tried, or should have by now: what has only just come is no trouble yet.
local function troubled(record, e)
  if e[5] or e[6] or tonumber(e[7] or 0) > 0 then return true end
  local at = redis.call('ZSCORE', due, record)
  return at and tonumber(at) < late
end

local set = base .. 'failed'
redis.call('ZREMRANGEBYSCORE', set, '-inf', '(' .. now)
local rows = redis.call('ZRANGEBYSCORE', set, now, '+inf', 'WITHSCORES', 'LIMIT', 0, most)
for at = 1, #rows, 2 do
  local e = read(rows[at])
  if e[1] == 'failed' and e[2] == '0' and not e[4] then put(rows[at], rows[at + 1], e, 'failed') end
end
out[1] = out[1] + math.max(0, redis.call('ZCARD', set) - most)

rows = redis.call('ZRANGEBYSCORE', index, now, soon, 'WITHSCORES', 'LIMIT', 0, most)
for at = 1, #rows, 2 do
  local e = read(rows[at])
  local lacks = e[1] == 'pending' and e[2] == '0' and not e[4]
  if lacks and redis.call('HEXISTS', base .. 'r:' .. rows[at], 'meeting') == 0 and troubled(rows[at], e) then
    put(rows[at], rows[at + 1], e, 'missing')
  end
end
out[1] = out[1] + math.max(0, redis.call('ZCOUNT', index, now, soon) - most)
return out
