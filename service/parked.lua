-- Records that wait for a connection. Stands between ledger.lua and asked.lua in one script.

-- Make records due that were parked on connection ARGV[2]; ARGV 3.. record, ms from now, for each. They count as
-- parked until somebody takes them, and none gets later by being woken again. Answers how many.
function verbs.unpark()
  local count = 0
  for i = 3, #ARGV, 2 do
    record, entry, journal = ARGV[i], base .. 'r:' .. ARGV[i], base .. 'j:' .. ARGV[i]
    local e = load(entry)
    if e.parked ~= ARGV[2] then
      redis.call('ZREM', base .. 'parked:' .. ARGV[2], record)
    elseif not leased(e) then
      count = count + 1
      drop(e, 'attempts', 'refusals')
      tell('unparked', 'The connection works again, so this goes on.')
      save(entry, journal)
      redis.call('ZADD', due, 'LT', now + tonumber(ARGV[i + 1]), record)
      wake()
    end
  end
  return count
end
