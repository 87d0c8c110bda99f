-- The gate of one connection: closed while calls go through as a rule, open while none may.
--
-- KEYS  1 hash: failures in a row, openings in a row, `till` (ms) when somebody may try, `trial` who is trying
-- ARGV  1 verb    2 a token of the caller, so that a command sent twice counts once    3.. the verb's own
-- Answers state (closed | open | half_open), milliseconds until somebody may try, failures, milliseconds it opened for,
-- and 1 when the caller is the trial or has opened it.
-- Only the server's clock is read.

local key, verb, token = KEYS[1], ARGV[1], ARGV[2]
local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1000 + math.floor(tonumber(clock[2]) / 1000)
local KEPT = 3600

local flat, gate = redis.call('HGETALL', key), {}
for i = 1, #flat, 2 do gate[flat[i]] = flat[i + 1] end
local till, openings = tonumber(gate.till or nil), tonumber(gate.openings or 0)

local function say()
  local state = not till and 'closed' or (gate.trial and till > now) and 'half_open' or 'open'
  local wait, mine = till and math.max(0, till - now) or 0, till and (gate.trial == token or gate.token == token)
  return {state, wait, tonumber(gate.failures or 0), tonumber(gate.length or 0), mine and 1 or 0}
end

local function write(...)
  redis.call('HSET', key, ...)
  redis.call('EXPIRE', key, KEPT)
end

-- ARGV 3 failures after which it opens  4 ms of the first opening  5 ms of the longest  6 jitter
local function open()
  openings = openings + 1
  gate.length = math.min(tonumber(ARGV[5]), tonumber(ARGV[4]) * 2 ^ math.min(openings - 1, 16))
  gate.trial, gate.token, till = nil, token, now + math.floor(gate.length * tonumber(ARGV[6]))
  redis.call('HDEL', key, 'trial')
  write('openings', openings, 'length', math.floor(gate.length), 'till', till, 'token', token)
end

if gate.token == token then return say() end

if verb == 'try' and till and till <= now then -- one caller of all processes, until ARGV 3 ms from now
  till, gate.trial = now + tonumber(ARGV[3]), token
  write('till', till, 'trial', token)
elseif verb == 'unwell' and till then -- a call that began before it opened says nothing new
  if gate.trial == token then open() end
elseif verb == 'unwell' then
  gate.failures = tonumber(gate.failures or 0) + 1
  write('failures', gate.failures, 'token', token)
  if gate.failures >= tonumber(ARGV[3]) then open() end
elseif verb == 'well' and (not till or gate.trial == token) then
  redis.call('DEL', key)
  till, gate = nil, {}
elseif verb == 'leave' and gate.trial == token then
  till, gate.trial = now, nil
  redis.call('HDEL', key, 'trial')
  write('till', till)
end
return say()
