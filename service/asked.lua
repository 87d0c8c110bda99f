-- What admins ask of one record. Stands after ledger.lua in one script, and begins it.

-- Have a new meeting made in place of the one that stands; that one is removed afterwards. ARGV 3 text  4 its name
-- 5, 6 `made` and `generation` as they were when it was read.
-- Answers 1, 0 when there is no such record, -1 while somebody works on it or something is in doubt.
function verbs.recreate()
  local e = load(entry)
  if not e.rank then return 0 end
  if e['x:' .. ARGV[4]] then return 1 end
  if leased(e) or e.intent or not e.meeting then return -1 end
  if (e.made or '0') ~= ARGV[5] or (e.generation or '0') ~= ARGV[6] then return -1 end
  unpark(e)
  redis.call('HSET', entry, 'x:' .. ARGV[4], e.meeting, 'state', 'pending')
  redis.call('HDEL', entry, 'meeting', 'doubt', 'attempts', 'refusals', 'reason')
  redis.call('HINCRBY', entry, 'made', 1)
  redis.call('HINCRBY', entry, 'generation', 1)
  tell('asked', ARGV[3])
  put_due(record, now)
  return 1
end

-- Let go of a record (ARGV 4 '1'), whose meeting then stays where it is and is no longer ours, or take it back ('0').
-- ARGV 3 text. Answers as `recreate` does.
function verbs.release()
  local e = load(entry)
  if not e.rank then return 0 end
  if (e.released or '0') == ARGV[4] then return 1 end
  if leased(e) or e.intent then return -1 end
  unpark(e)
  if ARGV[4] == '1' then
    redis.call('HSET', entry, 'released', 1)
    redis.call('HDEL', entry, 'meeting', 'doubt')
  else
    redis.call('HDEL', entry, 'released')
  end
  redis.call('HSET', entry, 'state', 'pending')
  redis.call('HDEL', entry, 'attempts', 'refusals', 'reason')
  redis.call('HINCRBY', entry, 'made', 1)
  redis.call('HINCRBY', entry, 'generation', 1)
  tell('asked', ARGV[3])
  put_due(record, now)
  return 1
end

return verbs[verb]()
