-- The ledger's verbs. A script is made of each, with all that they share (scripts.py); one shard a call.
--
-- Every verb is safe to repeat: the client sends a command again when the connection broke before its answer came.
-- Only the server's clock is read, so clocks of pods that disagree do no harm.
--
-- KEYS  1 due     sorted set: record -> when to look at it (ms); a leased record stands at the end of its lease
--       2 index   sorted set: record -> start of its meeting (s)
--       3 rev     revision of the settings, written to every shard when they change
--       4 entry   hash of one record      5 journal  list of one record      (absent for verbs about the shard)
-- ARGV  1 verb    2 record (or what the verb says)    3.. the verb's own

local verb, record = ARGV[1], ARGV[2]
local due, index, entry, journal = KEYS[1], KEYS[2], KEYS[4], KEYS[5]
local base = string.sub(due, 1, -4)
local clock = redis.call('TIME')
local now_s = tonumber(clock[1])
local now = now_s * 1000 + math.floor(tonumber(clock[2]) / 1000)

if verb == 'accept' and ARGV[4] == '1' and ARGV[5] == '0' then
  local told = repeated(KEYS[3], entry, ARGV[3], ARGV[6], ARGV[7], ARGV[8], now)
  if told then return told end
end

local PARKED = 3600 * 1000 -- ms after which a parked record is tried all the same: a wake-up may have been missed

local function tell(what, text)
  lines[#lines + 1] = {at = now_s, what = what, text = text}
end

-- Whether anything stands at a provider, or may, that belongs to this record.
local function holds(e)
  if e.meeting or e.intent then return true end
  for name in pairs(e) do
    if string.sub(name, 1, 2) == 'x:' then return true end
  end
  return false
end

-- Whether no meeting was ever made of it, and nothing speaks against making one.
local function untouched(e)
  return e.rank == '0' and not (e.meeting or e.intent or e.foreign or e.released or e.older or e.made)
end

local function leased(e) return tonumber(e.lease or 0) > now end

local function wake()
  redis.call('PUBLISH', string.match(base, '^(.-)%{') .. 'wake', string.match(base, '%{s(%d+)%}'))
end

local function put_due(id, at)
  redis.call('ZADD', due, at, id)
  wake()
end

local function unpark(e)
  if e.parked then
    redis.call('ZREM', base .. 'parked:' .. e.parked, record)
    drop(e, 'parked')
  end
end

-- A record that vanished left no word of what it waited for: so the connections that are waited for are noted.
local function note_parked(connection, seconds)
  redis.call('SADD', base .. 'parking', connection)
  redis.call('EXPIRE', base .. 'parking', seconds)
end

local function forget_parked(id)
  for _, connection in ipairs(redis.call('SMEMBERS', base .. 'parking')) do
    redis.call('ZREM', base .. 'parked:' .. connection, id)
  end
end

-- Everything about a record vanishes together, some time after its meeting ended or its last word came; what was deleted
-- not before its meeting is over or gone. A run that comes to nothing is no word, else what fails would stay for ever.
local function expire(e, retention, tombstone)
  local keep = math.max(now_s, tonumber(e.ends or 0)) + retention
  if e.rank == '2' then keep = now_s + math.max(tombstone, holds(e) and redis.call('TTL', entry) or 0) end
  redis.call('EXPIREAT', entry, keep)
  redis.call('EXPIREAT', journal, keep)
  if e.token then redis.call('EXPIREAT', base .. 'm:' .. e.token, keep) end
  if e.host_name then redis.call('EXPIREAT', base .. 'h:' .. e.host_name, keep) end
end

-- Answers the fence, and 1 when the record is inherited from an owner whose lease ended before its work.
local function grant(e, owner, ms)
  unpark(e)
  local fence, held = tonumber(e.fence or 0), leased(e)
  local inherited = (e.owner and not held) and 1 or 0
  if inherited == 1 then tell('takeover', 'The process that worked on this fell silent; another one takes over.') end
  if not (held and e.owner == owner) then fence = fence + 1 end
  put(e, 'fence', fence, 'owner', owner, 'lease', now + ms)
  redis.call('ZADD', due, now + ms, record)
  return fence, inherited
end

local verbs = {}

-- Store what Vello wants if it is newer, mark the record due, keep the link token, write the journal.
-- ARGV 3 realm  4 asks for a link 0|1  5 rank  6 version  7 changed  8 digest  9 digest of its video link
--      10 wish  11 start  12 end  13 candidate token  14 owner or ''  15 lease ms  16 text  17 retention s
--      18 tombstone s  19 hash of the record's tomb  20.. see found.lua  27.. see note.lua  31 intent or ''  32 its text
--      33 see found.lua
-- Answers verdict, fence (0: not leased to the caller), inherited, now, rev, the entry, and 1 if the caller's intent is
-- in it: of a record that has and had no meeting, and is still what the caller took it for. Of one that was not known,
-- 2 and of the entry only the token: the caller knows the rest. Or, where Vello asked and nothing has changed since it
-- was last told, verdict, -1 (-2: not noted), 0, now, rev, and what it was told.
function verbs.accept()
  local e, flat = load(entry)
  local rev = redis.call('GET', KEYS[3]) or '0'
  if e.realm and e.realm ~= ARGV[3] then return {'foreign', 0, 0, now, rev, {}} end
  if e.erased or (not e.rank and buried(ARGV[19])) then return {'old', 0, 0, now, rev, {}} end
  local asks, again, known = ARGV[4] == '1', false, e.rank
  local new = {rank = tonumber(ARGV[5]), version = tonumber(ARGV[6]), changed = tonumber(ARGV[7]), digest = ARGV[8]}
  local verdict = note(compare(e, new), now)
  local set, moved = {}, false
  if verdict == 'new' then
    set.realm, set.rank = ARGV[3], ARGV[5]
    if new.version or new.rank == 2 then set.version = ARGV[6] end
    if new.changed or new.rank == 2 then set.changed = ARGV[7] end
    if new.rank == 2 then
      set.wish, set.digest, set.foreign, set.ends, set.before = '', '', '', '', ''
      moved = e.rank ~= '2'
    else
      local told = e.told and (',' .. e.told .. ','):find(',' .. ARGV[9] .. ',', 1, true)
      local foreign = told and '' or ARGV[9]
      if ARGV[10] ~= '' then
        local start = e.wish and redis.call('ZSCORE', index, record)
        if start and start ~= ARGV[11] then set.before = start end
        set.wish, set.digest, set.foreign, set.ends = ARGV[10], ARGV[8], foreign, ARGV[12]
        redis.call('ZADD', index, ARGV[11], record)
        moved = e.digest ~= ARGV[8] or (e.foreign or '') ~= foreign
      end
      moved = moved or e.rank ~= ARGV[5]
      set.ended = (not new.version and not new.changed and new.rank == 1) and tostring(now_s) or ''
    end
    if not e.rank then redis.call('ZADD', index, 'NX', now_s, record) end
  end
  local rank = set.rank or e.rank
  if asks and rank ~= '2' then
    local asked = tonumber(e.asked or 0)
    if asked == 0 or (not leased(e) and (e.state == 'failed' or e.settings ~= rev)) then moved, again = true, true end
    if now_s - asked > 60 then set.asked = tostring(now_s) end
    if not e.token then
      set.token = token_for(base, record)
      redis.call('SET', base .. 'm:' .. set.token, record, 'EX', DAY)
    end
  end
  if verdict ~= 'old' and recall(base, record, e, set, holds(e), now_s) then
    moved = true
    tell('found', 'A meeting of this booking stood at the provider already; it is taken on.')
  end
  if verdict == 'new' then
    tell('event', ARGV[16] .. (moved and '.' or '; it changes nothing.'))
  elseif verdict == 'old' then
    tell('stale', ARGV[16] .. '; something newer is known, so it changes nothing.')
  end
  if again and verdict ~= 'new' then
    tell('asked', e.asked and 'Vello asked for the link again.' or 'Vello asked for a link.')
  end
  for name, value in pairs(set) do
    if value == '' then drop(e, name) else put(e, name, value) end
  end
  local work = holds(e) or (e.asked and e.rank == '0')
  if moved then
    put(e, 'state', work and 'pending' or (e.rank == '0' and 'none' or 'gone'))
    count_on(e, 'generation')
    drop(e, 'attempts', 'refusals')
    unpark(e)
    if not work then
      put(e, 'settled', e.generation)
      drop(e, 'reason', 'noticed')
      local none = 'There is no meeting to remove.'
      tell('settled', e.rank == '0' and 'No meeting yet: Vello has not asked for a link.' or none)
      if not leased(e) then redis.call('ZREM', due, record) drop(e, 'owner', 'lease') end
    elseif not leased(e) and ARGV[14] == '' then
      put_due(record, now)
    end
  end
  local fence, inherited, mine, answer = 0, 0, 0, nil
  if asks and not moved and not leased(e) and e.answer and e.rank == '0' then
    local good = e.generation .. ':' .. rev .. ':'
    if string.sub(e.answer, 1, #good) == good then answer = string.sub(e.answer, #good + 1) end
  end
  if ARGV[14] ~= '' and not answer then
    local ready = moved and work
    if not ready then
      local score = redis.call('ZSCORE', due, record)
      ready = score and tonumber(score) <= now
    end
    if leased(e) and e.owner == ARGV[14] or (ready and not leased(e)) then
      fence, inherited = grant(e, ARGV[14], tonumber(ARGV[15]))
      if ARGV[31] ~= '' and e.digest == ARGV[8] and untouched(e) then
        put(e, 'intent', ARGV[31], 'intended', now)
        tell('create', ARGV[32])
        mine = (known or e.told) and 1 or 2
      elseif e.intent == ARGV[31] then
        mine = 1
      end
    end
  end
  local changed = next(changes) ~= nil
  save(entry, journal)
  if verdict == 'new' or moved or set.asked or set.token then expire(e, tonumber(ARGV[17]), tonumber(ARGV[18])) end
  if answer then return {verdict, -1, 0, now, rev, answer, e.token, e.meeting or ''} end
  if mine == 2 then return {verdict, fence, inherited, now, rev, {e.token}, mine} end
  return {verdict, fence, inherited, now, rev, changed and flattened(e) or flat, mine}
end

-- Lease up to ARGV[2] due records to ARGV[3] for ARGV[4] ms, and take what has vanished off the sets, a few off the index.
-- Answers now, when the next one is due ('' none), rev, then record, fence, inherited, entry for each.
function verbs.claim()
  local out = {now, '', redis.call('GET', KEYS[3]) or '0'}
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', due, '-inf', now, 'LIMIT', 0, ARGV[2])) do
    record, entry, journal = id, base .. 'r:' .. id, base .. 'j:' .. id
    local e = load(entry)
    if not e.rank then
      redis.call('ZREM', due, id)
      forget_parked(id)
    elseif leased(e) then
      redis.call('ZADD', due, e.lease, id)
    else
      local fence, inherited = grant(e, ARGV[3], tonumber(ARGV[4]))
      save(entry, journal)
      out[#out + 1] = id
      out[#out + 1] = fence
      out[#out + 1] = inherited
      out[#out + 1] = flattened(e)
    end
  end
  for _, id in ipairs(redis.call('ZRANGE', index, 0, 7)) do
    if redis.call('EXISTS', base .. 'r:' .. id) == 0 then redis.call('ZREM', index, id) end
  end
  local next = redis.call('ZRANGE', due, 0, 0, 'WITHSCORES')
  if next[2] then out[2] = next[2] end
  return out
end

-- Lengthen the lease with fence ARGV[3] by ARGV[4] ms. Answers 1, or 0 when it is somebody else's.
function verbs.renew()
  local e = load(entry)
  if e.fence ~= ARGV[3] or not e.owner then return 0 end
  put(e, 'lease', now + tonumber(ARGV[4]))
  save(entry, journal)
  redis.call('ZADD', due, now + tonumber(ARGV[4]), record)
  return 1
end

local function change(e, set, del, said)
  for i = 1, #set, 2 do
    local name, value = set[i], set[i + 1]
    if name == 'host_for' then hosted_by(base, e, value) else put(e, name, value) end
    if name == 'intent' then put(e, 'intended', now) end
    if name == 'state' and value ~= 'pending' and value ~= 'failed' then drop(e, 'noticed') end
  end
  drop(e, unpack(del))
  for i = 1, #said, 2 do tell(said[i], said[i + 1]) end
end

-- Vello is told the link with digest `link`, the booking's page if `hosted` is '1'; `answer` as in `told` below.
local function remember(e, link, hosted, answer)
  local told, kept = e.told or '', {}
  for digest in string.gmatch(told, '[^,]+') do
    if digest ~= link then kept[#kept + 1] = digest end
  end
  kept[#kept + 1] = link
  while #kept > 8 do table.remove(kept, 1) end
  put(e, 'told', table.concat(kept, ','))
  if hosted == '1' then put(e, 'hosted', '1') end
  if answer == '' or (hosted ~= '1' and e.hosted) then drop(e, 'answer') else put(e, 'answer', answer) end
  if string.match(told, '[^,]*$') == link then return end
  tell('told', hosted == '1' and "Vello was told the booking's page." or "Vello was told the meeting's own link.")
end

-- Write what a run found out; compare-and-set on the fence.
-- ARGV 3 fence  4 nonce of this commit  5 generation the run planned for  6 hold|done|retry|park|back
--      7 delay ms  8 lease ms  9 connection to park on  10 {set, del, journal, told}  11 retention s  12 tombstone s
--      13 '1' without the entry in the answer, '2' without it if Vello was told: then a fifth answer is 1
-- Answers ok | moved (Vello wants something newer: go round again, the lease is kept) | lost, now, rev, the entry.
function verbs.commit()
  local e, flat = load(entry)
  local mode, rev, verdict, known = ARGV[6], redis.call('GET', KEYS[3]) or '0', 'ok', false
  if e.nonce == ARGV[4] and e.fence == ARGV[3] then
    return {e.owner and mode ~= 'hold' and 'moved' or 'ok', now, rev, flat}
  end
  if e.fence ~= ARGV[3] or not e.owner then return {'lost', now, rev, flat} end
  local what, moved = cjson.decode(ARGV[10]), e.generation ~= ARGV[5]
  change(e, what.set, what.del, what.journal)
  drop(e, 'answer')
  put(e, 'nonce', ARGV[4])
  if mode == 'hold' or (mode == 'done' and moved) then
    verdict = mode == 'hold' and 'ok' or 'moved'
    put(e, 'lease', now + tonumber(ARGV[8]), 'state', 'pending')
    redis.call('ZADD', due, now + tonumber(ARGV[8]), record)
  else
    drop(e, 'owner', 'lease')
    if mode == 'done' then
      put(e, 'settled', ARGV[5])
      drop(e, 'attempts', 'refusals')
      -- Who waited may have given up and said the hosted link; that one stays.
      local told = what.told ~= cjson.null and what.told
      if told and (told[2] == '1' or not e.hosted) then
        remember(e, told[1], told[2], told[3])
        known = ARGV[13] == '2'
      end
    elseif moved then
      put_due(record, now)
    elseif mode == 'back' then
      put_due(record, now + tonumber(ARGV[7]))
    else
      count_on(e, 'attempts')
      if mode == 'retry' then
        put_due(record, now + tonumber(ARGV[7]))
      else
        local parked = base .. 'parked:' .. ARGV[9]
        redis.call('ZADD', due, now + PARKED, record)
        put(e, 'parked', ARGV[9])
        redis.call('ZADD', parked, redis.call('ZSCORE', index, record) or now_s, record)
        redis.call('EXPIRE', parked, tonumber(ARGV[12]))
        note_parked(ARGV[9], tonumber(ARGV[12]))
      end
    end
  end
  -- What writes comes first: a store that is full refuses a script as long as nothing was taken away.
  save(entry, journal)
  note_failed(base, index, record, e.state == 'failed')
  if mode == 'done' and not moved then redis.call('ZREM', due, record) end
  if ARGV[13] == '1' then return {verdict, now, rev, {}} end
  local over = e.erased and mode == 'done' and not moved and not holds(e)
  if over then return {verdict, now, rev, wipe()} end
  if mode == 'done' then expire(e, tonumber(ARGV[11]), tonumber(ARGV[12])) end
  return {verdict, now, rev, known and {} or flattened(e), known and 1 or 0}
end

-- Look at the record again now, whoever asks; ARGV 4 '1': what its meeting is like is in doubt. ARGV 3 text.
-- Answers 1, or 0 when there is no such record.
function verbs.nudge()
  local e = load(entry)
  if not e.rank then return 0 end
  unpark(e)
  count_on(e, 'generation')
  drop(e, 'attempts', 'refusals')
  if ARGV[4] == '1' then put(e, 'doubt', '1') end
  tell('asked', ARGV[3])
  save(entry, journal)
  if not leased(e) then put_due(record, now) end
  return 1
end

-- Hand over a meeting (ARGV 3 name, 4 envelope) that nobody knows of, or (9 '1') that may be, so that it is removed.
-- ARGV 8 text. A record that the store lost counts as over until Vello speaks of it.
function verbs.orphan()
  local erased, e = buried(ARGV[7]), load(entry)
  if e['x:' .. ARGV[3]] == ARGV[4] then return 1 end
  put(e, 'x:' .. ARGV[3], ARGV[4], 'state', 'pending')
  if not e.rank then put(e, 'rank', erased and '2' or '1', 'older', '1') end
  if erased then put(e, 'erased', '1') end
  if ARGV[9] == '1' then put(e, 'intended', now) end
  tell('orphan', ARGV[8])
  count_on(e, 'generation')
  save(entry, journal)
  expire(e, tonumber(ARGV[5]), tonumber(ARGV[6]))
  if not leased(e) then put_due(record, now) end
  return 1
end

-- How much waits in this shard. Answers how many are due, how many are scheduled, ms since the first was due.
function verbs.backlog()
  local first = redis.call('ZRANGE', due, 0, 0, 'WITHSCORES')
  local late = first[2] and math.max(0, now - tonumber(first[2])) or 0
  return {redis.call('ZCOUNT', due, '-inf', now), redis.call('ZCARD', due), late}
end
