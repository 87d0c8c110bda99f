-- What is known of a record from elsewhere than the ledger: a meeting that stands at a provider, a link that Vello has.
-- Stands before ledger.lua in one script; what `accept` is told of it:
-- ARGV 20 envelope of a meeting or ''  21 its generation  22 digest of its link  23 '1' when it is in doubt
--      24 the token in the record's link, when that is a page of ours, or ''  25 digest of that link
--      26 '1' when the record is older than the store  27.. see note.lua  30 whose the meeting is, see Placement.marked
--      33 who hosts it, '' nobody

-- The link token a record gets: the one of the page that Vello has already, unless it is another record's.
local function token_for(base, record)
  local named = ARGV[24]
  if named ~= '' and (redis.call('GET', base .. 'm:' .. named) or record) == record then return named end
  return ARGV[13]
end

local function told_too(e, set, link)
  local told = set.told or e.told or ''
  if not (',' .. told .. ','):find(',' .. link .. ',', 1, true) then
    set.told = told == '' and link or (told .. ',' .. link)
  end
end

-- Add to the fields that `accept` is about to write what is known from elsewhere. `held`: the record has a meeting, or
-- may have. Answers whether it took a meeting on; whoever works on the record, to make one, loses it then.
local function recall(base, record, e, set, held, now_s)
  local live = (set.rank or e.rank) == '0'
  if live and not e.rank and ARGV[26] == '1' then set.older = '1' end
  -- Vello has a page of ours for a record that is new here: it asked before the store was lost.
  if live and ARGV[24] ~= '' and not e.token and token_for(base, record) == ARGV[24] then
    set.token, set.hosted = ARGV[24], '1'
    set.asked = set.asked or e.asked or tostring(now_s)
    redis.call('SET', base .. 'm:' .. set.token, record, 'EX', DAY)
    told_too(e, set, ARGV[25])
  end
  if ARGV[20] == '' or held or e.released or tonumber(e.made or 0) > tonumber(ARGV[21]) then return false end
  local foreign = set.foreign or e.foreign or ''
  if live and foreign ~= '' and foreign ~= ARGV[22] then return false end
  set.meeting, set.made, set.marked, set.older = ARGV[20], ARGV[21], ARGV[30], ''
  hosted_by(base, e, ARGV[33])
  if ARGV[23] == '1' then set.doubt = '1' end
  if foreign == ARGV[22] then
    set.foreign = ''
    told_too(e, set, ARGV[22])
  end
  if live then set.asked = set.asked or e.asked or tostring(now_s) end
  drop(e, 'owner', 'lease')
  return true
end
