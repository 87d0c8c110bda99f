-- What the hosts of one account have drawn of what their vendor allows them. A day begins at 00:00 UTC; a shorter while
-- has no beginning, so each call counts for as long as the while is.
--
-- KEYS  1 hash: `day`, `tokens` of the last changes, and of each host the calls of the day under `h:` and its name, or
--       the times of its calls under `c:` and when the last who waits has its turn under `q:`
-- ARGV  1 verb    2 a token of the caller, so that a command sent twice counts once    3 host
--       4 how many calls the host may have drawn afterwards; what it has drawn then, for `spend`
--       5 milliseconds of a short while, 0 for a day    6 how long the queue of a short while is at most
-- Answers 1 when the call may be made, milliseconds until there is one, and for `look` the hosts and their calls.
-- Only the server's clock is read.

local key, verb, token, host, most = KEYS[1], ARGV[1], ARGV[2], ARGV[3] or '', tonumber(ARGV[4] or 0)
local short, longest = tonumber(ARGV[5] or 0), tonumber(ARGV[6] or 0)
local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1000 + math.floor(tonumber(clock[2]) / 1000)

local TOKENS = 64 -- changes that are remembered: more than come between a command and its repeat
local tokens = {}

local function seen()
  for each in string.gmatch(redis.call('HGET', key, 'tokens') or '', '%S+') do
    if each == token then return true end
    tokens[#tokens + 1] = each
  end
  return false
end

local function remembered()
  tokens[#tokens + 1] = token
  return table.concat(tokens, ' ', math.max(1, #tokens - TOKENS + 1))
end

local function calls(text)
  local found = {}
  for at in string.gmatch(text or '', '%d+') do
    if tonumber(at) > now - short then found[#found + 1] = tonumber(at) end
  end
  return found
end

local function sliding()
  if verb == 'look' then
    local flat, shown = redis.call('HGETALL', key), {}
    for i = 1, #flat, 2 do
      if string.sub(flat[i], 1, 2) == 'c:' then
        shown[#shown + 1] = 'h:' .. string.sub(flat[i], 3)
        shown[#shown + 1] = tostring(#calls(flat[i + 1]))
      end
    end
    return {1, 0, shown}
  end
  if seen() then return {1, 0} end
  local drawn = calls(redis.call('HGET', key, 'c:' .. host))
  local granted, wait = 1, 0
  if verb == 'draw' and #drawn >= most then
    -- Whoever comes too late gets a place behind all who wait, so that they come one after the other. Those beyond the
    -- end of the queue lengthen it no further: it would go on when they are long gone.
    local turn = math.max(drawn[1] + short, tonumber(redis.call('HGET', key, 'q:' .. host) or 0) + short / most)
    turn = math.min(turn, now + longest)
    redis.call('HSET', key, 'q:' .. host, math.ceil(turn))
    granted, wait = 0, turn - now
  elseif verb == 'draw' then
    drawn[#drawn + 1] = now
  elseif verb == 'give' then
    drawn[#drawn] = nil
  elseif verb == 'spend' then
    drawn = {}
    for i = 1, most do drawn[i] = now end
  end
  if granted == 1 then redis.call('HSET', key, 'tokens', remembered()) end
  redis.call('HSET', key, 'c:' .. host, table.concat(drawn, ' '))
  if redis.call('PTTL', key) < wait + short + 60000 then redis.call('PEXPIRE', key, math.ceil(wait) + short + 60000) end
  return {granted, math.ceil(wait)}
end

local function daily()
  local day = math.floor(now / 86400000)
  local left = (day + 1) * 86400000 - now
  local known = redis.call('HGET', key, 'day') == tostring(day)
  local drawn = known and tonumber(redis.call('HGET', key, 'h:' .. host) or 0) or 0
  if verb == 'look' then return {1, left, known and redis.call('HGETALL', key) or {}} end
  if known and seen() then return {1, left} end
  if verb == 'draw' and drawn >= most then return {0, left} end
  if verb == 'draw' then
    drawn = drawn + 1
  elseif verb == 'give' then
    drawn = math.max(0, drawn - 1)
  elseif verb == 'spend' then
    drawn = most
  end
  if not known then redis.call('DEL', key) end
  redis.call('HSET', key, 'day', day, 'tokens', remembered(), 'h:' .. host, drawn)
  redis.call('PEXPIRE', key, left + 60000)
  return {1, left}
end

return short > 0 and sliding() or daily()
