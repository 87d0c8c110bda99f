-- The links that lead to a record. Stands between ledger.lua and asked.lua in one script.

-- ARGV 2 a link token, or the name of a host's link  3 which of the two: m|h.
-- Answers the record, now, rev, the entry.
function verbs.resolve()
  local found = redis.call('GET', base .. ARGV[3] .. ':' .. ARGV[2]) or ''
  local _, flat = load(base .. 'r:' .. found)
  return {found, now, redis.call('GET', KEYS[3]) or '0', flat}
end

-- Remember that Vello was told the link with digest ARGV[3]; ARGV[4] '1' when it is the hosted one. ARGV[5]:
-- generation:revision:what, the answer that holds as long as neither moves ('' none).
function verbs.told()
  local e = load(entry)
  if not next(e) then return 0 end
  remember(e, ARGV[3], ARGV[4], ARGV[5])
  save(entry, journal)
  return 1
end

-- Give a record that has a link a host's link as well, if it has none; a name that was lost leads to it again.
-- ARGV 3 its name  4 its envelope  5 who hosts the meeting now, '' nobody. Answers the envelope of the one that stands, '' where there is no link.
function verbs.host()
  local e = load(entry)
  if not e.token or e.erased then return '' end
  if not e.host then
    put(e, 'host', ARGV[4], 'host_name', ARGV[3])
    if ARGV[5] ~= '' and not e.host_for then put(e, 'host_for', ARGV[5]) end
    save(entry, journal)
  end
  redis.call('SET', base .. 'h:' .. e.host_name, record, 'EX', math.max(1, redis.call('TTL', entry)))
  return e.host
end

