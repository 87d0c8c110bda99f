-- What admins, and the sweep, ask of one record. Stands after ledger.lua in one script.

-- Have a new meeting made in place of the one that stands; that one is removed afterwards, and the host's link is
-- withdrawn: somebody may have it who should not. ARGV 3 text  4 its name  5, 6 `made` and `generation` as they were when it was read.
-- Answers 1, 0 when there is no such record, -1 while somebody works on it, or fell silent over it, or something is in
-- doubt.
function verbs.recreate()
  local e = load(entry)
  if not e.rank then return 0 end
  if e['x:' .. ARGV[4]] then return 1 end
  if e.owner or e.intent or not e.meeting then return -1 end
  if (e.made or '0') ~= ARGV[5] or (e.generation or '0') ~= ARGV[6] then return -1 end
  unpark(e)
  put(e, 'x:' .. ARGV[4], e.meeting, 'state', 'pending')
  drop(e, 'meeting', 'entrance', 'doubt', 'attempts', 'refusals', 'reason')
  withdraw(base, e)
  count_on(e, 'made')
  count_on(e, 'generation')
  tell('asked', ARGV[3])
  save(entry, journal)
  put_due(record, now)
  return 1
end

-- Let go of a record (ARGV 4 '1'), whose meeting then stays where it is and is no longer ours, or take it back ('0').
-- ARGV 3 text. Answers as `recreate` does.
function verbs.release()
  local e = load(entry)
  if not e.rank then return 0 end
  if (e.released or '0') == ARGV[4] then return 1 end
  if e.owner or e.intent or e.erased then return -1 end
  unpark(e)
  if ARGV[4] == '1' then
    put(e, 'released', 1)
    drop(e, 'meeting', 'entrance', 'doubt')
  else
    drop(e, 'released')
  end
  put(e, 'state', 'pending')
  drop(e, 'attempts', 'refusals', 'reason')
  count_on(e, 'made')
  count_on(e, 'generation')
  tell('asked', ARGV[3])
  save(entry, journal)
  put_due(record, now)
  return 1
end

-- Have a record take on a meeting that stands at a provider (ARGV 4 name, 5 envelope, 6 its generation, 7 digest of its
-- link, 8 '1' when it is in doubt); one it has already (ARGV 10 its name) is removed then. ARGV 3 text  9 `generation` as
-- it was when the record was read  11 whose the meeting is, see Placement.marked  12 `made` as it was then: a run that
-- made or replaced the meeting since moves no generation  13 who hosts the meeting.
-- Answers as `recreate` does.
function verbs.adopt()
  local e = load(entry)
  if not e.rank then return 0 end
  if e.meeting == ARGV[5] then return 1 end
  if e.owner or e.intent or e.released or e.erased or (e.generation or '0') ~= ARGV[9] then return -1 end
  if (e.meeting ~= nil) ~= (ARGV[10] ~= '') or (e.made or '0') ~= ARGV[12] then return -1 end
  unpark(e)
  if e.meeting then put(e, 'x:' .. ARGV[10], e.meeting) end
  put(e, 'meeting', ARGV[5], 'made', ARGV[6], 'marked', ARGV[11], 'state', 'pending', 'asked', e.asked or now_s)
  hosted_by(base, e, ARGV[13])
  drop(e, 'x:' .. ARGV[4], 'doubt', 'older', 'attempts', 'refusals', 'reason')
  if ARGV[8] == '1' then put(e, 'doubt', '1') end
  if e.foreign == ARGV[7] then
    drop(e, 'foreign')
    put(e, 'told', ARGV[7])
  end
  count_on(e, 'generation')
  tell('found', ARGV[3])
  save(entry, journal)
  put_due(record, now)
  return 1
end

-- What an event would be: the verdict of `accept`, and nothing else happens.
-- ARGV 3 realm  4 rank  5 version  6 changed  7 digest  8 hash of the record's tomb. Answers verdict, now, rev, the entry.
function verbs.weigh()
  local e, flat = load(entry)
  local rev = redis.call('GET', KEYS[3]) or '0'
  if e.realm and e.realm ~= ARGV[3] then return {'foreign', now, rev, {}} end
  if e.erased or (not e.rank and buried(ARGV[8])) then return {'erased', now, rev, {}} end
  local new = {rank = tonumber(ARGV[4]), version = tonumber(ARGV[5]), changed = tonumber(ARGV[6]), digest = ARGV[7]}
  return {compare(e, new), now, rev, flat}
end

-- Erase a record: what Vello said, its journal and its link go at once, the rest with the commit that removes its last
-- meeting. ARGV 3 hash of its tomb  4 tombstone s.
-- Answers `unknown`, `gone` when nothing is left of it, or `pending` while something stands at a provider.
function verbs.erase()
  local e = load(entry)
  if not e.rank then return buried(ARGV[3]) and 'gone' or 'unknown' end
  bury(ARGV[3], math.max(0, tonumber(e.ends or 0) - now_s) + tonumber(ARGV[4]))
  unpark(e)
  if e.token then redis.call('DEL', base .. 'm:' .. e.token) end
  if e.host_name then redis.call('DEL', base .. 'h:' .. e.host_name) end
  if not holds(e) and not leased(e) then
    wipe()
    return 'gone'
  end
  redis.call('DEL', journal)
  drop(e, 'wish', 'digest', 'foreign', 'ended', 'token', 'told', 'hosted', 'answer', 'asked', 'reason')
  drop(e, 'attempts', 'refusals', 'released', 'entrance', 'host', 'host_name', 'host_for', 'noticed')
  put(e, 'erased', '1', 'rank', '2', 'state', 'pending')
  count_on(e, 'generation')
  save(entry, journal)
  expire(e, 0, tonumber(ARGV[4]))
  if not leased(e) then put_due(record, now) end
  return 'pending'
end
