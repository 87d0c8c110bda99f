-- What is left of an erased record: a tomb, named by a keyed hash that only the services can make. Stands before
-- ledger.lua in one script; KEYS and ARGV are those of its verbs about one record.

local function tomb_of(hash)
  return string.sub(KEYS[1], 1, -4) .. 't:' .. hash
end

-- Late events about an erased record change nothing as long as its tomb is there.
local function bury(hash, seconds)
  redis.call('SET', tomb_of(hash), 1, 'EX', seconds)
end

local function buried(hash)
  return redis.call('EXISTS', tomb_of(hash)) == 1
end

-- Take away everything that names the record; answers what is left of the entry.
local function wipe()
  redis.call('DEL', KEYS[4], KEYS[5])
  redis.call('ZREM', KEYS[1], ARGV[2])
  redis.call('ZREM', KEYS[2], ARGV[2])
  redis.call('ZREM', string.sub(KEYS[1], 1, -4) .. 'failed', ARGV[2])
  return {}
end

