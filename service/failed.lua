-- Which records of a shard were given up: sorted set, record -> start of its meeting (s). Stands before ledger.lua in
-- one script. A record may leave the state by another way and stay here; whoever reads looks at its entry as well.

local FAILED_KEPT = 90 * 86400 -- s after the last failure: longer than any record lives on

local function note_failed(base, index, record, failed)
  local set = base .. 'failed'
  if not failed then redis.call('ZREM', set, record) return end
  redis.call('ZADD', set, redis.call('ZSCORE', index, record) or 0, record)
  redis.call('EXPIRE', set, FAILED_KEPT)
end
