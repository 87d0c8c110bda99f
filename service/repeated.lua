-- Most of what comes repeats a question whose answer holds: a few fields tell. Stands before ledger.lua in one script,
-- whose `accept` would answer the same, and at the beginning of one of its own.

-- Answers what Vello was told, as `accept` does, or nil where there is more to look at.
local function repeated(rev_key, entry, realm, version, changed, digest, now)
  local rev = redis.call('GET', rev_key) or '0'
  local e = redis.call('HMGET', entry, 'answer', 'generation', 'realm', 'rank', 'version', 'changed', 'digest', 'lease',
    'asked', 'ended', 'settings', 'token', 'meeting')
  local good = e[1] and e[2] .. ':' .. rev .. ':'
  local same = good and (e[3] or '') == realm and e[4] == '0' and (e[5] or '') == version and (e[6] or '') == changed
    and e[7] == digest and not e[10] and e[11] == rev
  if not same or string.sub(e[1], 1, #good) ~= good then return nil end
  if tonumber(e[8] or 0) > now or now - tonumber(e[9] or 0) * 1000 >= 61000 then return nil end
  return {'same', -2, 0, now, rev, string.sub(e[1], #good + 1), e[12], e[13] or ''}
end

