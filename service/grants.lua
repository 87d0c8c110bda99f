-- The verbs of one grant: its tokens, and the lock under which they are renewed. One hash, so one slot.
--
-- Every verb is safe to repeat: the client sends a command again when the connection broke before its answer came.
-- Only the server's clock is read. Times are milliseconds.
--
-- KEYS  1 the grant
-- ARGV  1 verb    2.. the verb's own

local verb, key = ARGV[1], KEYS[1]
local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1000 + math.floor(tonumber(clock[2]) / 1000)

local function load()
  local flat, fields = redis.call('HGETALL', key), {}
  for i = 1, #flat, 2 do fields[flat[i]] = flat[i + 1] end
  return fields, flat
end

-- Keep the grant for so many milliseconds and a minute at least: who has no tokens yet is not kept for long.
local function outlive(ms)
  local seconds = math.ceil(ms / 1000) + 60
  if redis.call('TTL', key) < seconds then redis.call('EXPIRE', key, seconds) end
end

local function unlock()
  redis.call('HDEL', key, 'lock', 'owner')
end

local verbs = {}

-- Answers now, 0, the grant.
function verbs.look()
  local _, flat = load()
  return {now, 0, flat}
end

-- Lock the grant for owner ARGV[2] and ARGV[4] ms if it is still at version ARGV[3], and count one more request
-- whose outcome is not known yet: it may be sent from now on. An owner who asks again has heard no answer and so sent
-- nothing; nobody else may have had the lock since. Answers now, the fence (0: not locked), the grant.
function verbs.lock()
  local e, flat = load()
  if e.owner == ARGV[2] then
    redis.call('HSET', key, 'lock', now + tonumber(ARGV[4]))
    return {now, tonumber(e.fence), flat}
  end
  local free = tonumber(e.lock or 0) <= now and tonumber(e.held or 0) <= now
  if (e.version or '0') ~= ARGV[3] or e.dead or not free then return {now, 0, flat} end
  local fence = tonumber(e.fence or 0) + 1
  redis.call('HSET', key, 'owner', ARGV[2], 'lock', now + tonumber(ARGV[4]), 'fence', fence)
  redis.call('HINCRBY', key, 'tries', 1)
  outlive(tonumber(ARGV[4]))
  local _, after = load()
  return {now, fence, after}
end

-- Every name in these texts, once.
local function together(...)
  local seen, names = {}, {}
  for _, text in ipairs({...}) do
    for name in string.gmatch(text, '%S+') do
      if not seen[name] then seen[name], names[#names + 1] = true, name end
    end
  end
  return table.concat(names, ' ')
end

-- Keep new tokens if the grant is still at version ARGV[2] ('' whatever it is); a lock does not matter, because what
-- a vendor has just given out is newer than what anybody else holds. What a person granted is kept once: said again,
-- it may be older than what a renewal, or another person, has brought meanwhile.
-- `had` is all that was ever granted, so that it shows what a person grants no more.
-- ARGV 3 nonce of this call  4 envelope  5 life ms  6 TTL s  7.. more fields, name and value. Answers 1, or 0: moved.
function verbs.save()
  local e = load()
  local put = e.put or ''
  if e.nonce == ARGV[3] or string.find(put, ARGV[3], 1, true) then return 1 end
  if ARGV[2] ~= '' and (e.version or '0') ~= ARGV[2] then return 0 end
  redis.call('HINCRBY', key, 'version', 1)
  redis.call('HSET', key, 'nonce', ARGV[3], 'token', ARGV[4], 'life', ARGV[5], 'refreshed', now)
  redis.call('HSET', key, 'expires', now + tonumber(ARGV[5]))
  for i = 7, #ARGV, 2 do redis.call('HSET', key, ARGV[i], ARGV[i + 1]) end
  if ARGV[2] == '' then redis.call('HSET', key, 'put', string.sub(ARGV[3] .. ' ' .. put, 1, 8 * (#ARGV[3] + 1))) end
  if ARGV[2] == '' then
    redis.call('HSET', key, 'had', together(e.had or '', e.scopes or '', redis.call('HGET', key, 'scopes') or ''))
  end
  redis.call('HDEL', key, 'dead', 'tries', 'held', 'trouble')
  unlock()
  redis.call('EXPIRE', key, ARGV[6])
  return 1
end

-- The vendor no longer accepts version ARGV[2]; ARGV[3] says so to people. Answers 1, or 0: moved.
function verbs.bury()
  local e = load()
  if not e.version or e.version ~= ARGV[2] then return 0 end
  redis.call('HSET', key, 'dead', ARGV[3])
  unlock()
  return 1
end

-- Forget the grant unless a person connected it after ARGV[2], UTC unix seconds. Answers 1, or 0: somebody did.
function verbs.leave()
  local e = load()
  if tonumber(e.connected or 0) > tonumber(ARGV[2]) then return 0 end
  redis.call('DEL', key)
  return 1
end

-- Give the lock with fence ARGV[2] back without new tokens. ARGV 3 '1': nothing happened at the vendor
-- 4 ms in which nobody asks again  5 why. Answers 1, or 0: somebody else has the lock.
function verbs.release()
  local e = load()
  if e.fence ~= ARGV[2] or not e.owner then return 0 end
  if ARGV[3] == '1' then redis.call('HDEL', key, 'tries') end
  redis.call('HSET', key, 'held', now + tonumber(ARGV[4]), 'trouble', ARGV[5])
  outlive(tonumber(ARGV[4]))
  unlock()
  return 1
end

return verbs[verb]()
