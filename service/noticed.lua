-- That people were told of bookings without a meeting. Stands between links.lua and asked.lua in one script.

-- Remember it where there is still no meeting and nobody was told of this wish before; nothing comes to be by it.
-- ARGV 2 when (s)  3 start (s) of the first that counts of those that wait for a connection  4 how many of them, for
--      each, at most  5 how many connections are named  6.. connections, then records
-- The field is `when:digest of the wish`: a wish that moves has not been told of. Answers on how many it is new.
function verbs.noticed()
  local count, first = 0, 6 + tonumber(ARGV[5])

  local function remember_on(id, parked)
    local key = base .. 'r:' .. id
    local e = redis.call('HMGET', key, 'state', 'rank', 'meeting', 'released', 'erased', 'digest', 'noticed', 'parked')
    local lacks = (e[1] == 'pending' or e[1] == 'failed') and e[2] == '0' and not (e[3] or e[4] or e[5])
    if not lacks or not e[6] or (parked and e[8] ~= parked) then return end
    if e[7] and string.match(e[7], ':(.*)') == e[6] then return end
    redis.call('HSET', key, 'noticed', ARGV[2] .. ':' .. e[6])
    count = count + 1
  end

  for at = 6, first - 1 do
    local waiting = base .. 'parked:' .. ARGV[at]
    for _, id in ipairs(redis.call('ZRANGEBYSCORE', waiting, ARGV[3], '+inf', 'LIMIT', 0, ARGV[4])) do
      remember_on(id, ARGV[at])
    end
  end
  for at = first, #ARGV do remember_on(ARGV[at]) end
  return count
end

