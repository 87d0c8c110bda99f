-- The order of what Vello says about one record. Stands before ledger.lua in one script.

local DAY = 86400

-- 'new' applies, 'old' is stale, 'same' is a repeat. A total order for events with a version, so that every
-- order of arrival ends in the same state; see DESIGN "Order".
local function compare(e, new)
  if e.rank == '2' then
    if new.rank < 2 then return 'old' end
    return new.version and new.version > tonumber(e.version or -1) and 'new' or 'same'
  end
  if new.rank == 2 or not e.rank then return 'new' end
  local version, changed, rank = tonumber(e.version or nil), tonumber(e.changed or nil), tonumber(e.rank)
  -- A cancellation that named neither version nor time stands where it arrived. What Vello wrote in the day before
  -- is older than it, however late it comes; a clock that is further off than a day says nothing.
  local ended = tonumber(e.ended or nil)
  if ended and new.changed and ended - DAY < new.changed and new.changed < ended then return 'old' end
  if new.version and version and new.version ~= version then return new.version > version and 'new' or 'old' end
  if new.changed and changed and new.changed ~= changed then return new.changed > changed and 'new' or 'old' end
  local partial = new.digest == '' and (version or not new.version)
  if new.rank == rank and (partial or new.digest == e.digest) then return 'same' end
  if not (new.version and version) then return 'new' end
  if new.rank ~= rank then return new.rank > rank and 'new' or 'old' end
  return new.digest > (e.digest or '') and 'new' or 'old'
end

