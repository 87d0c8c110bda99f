-- A record's entry and journal. What a verb changes is gathered, and written at its end in a command for what is set, one
-- for what goes and one for the journal: within a script a command costs as much as ten fields. Stands before ledger.lua
-- in one script; whoever takes the next record saves this one first.

local JOURNAL_LINES = 50

local changes, lines = {}, {}

-- The entry at `key`, field -> value, and as the store answers it.
local function load(key)
  local flat, e = redis.call('HGETALL', key), {}
  for i = 1, #flat, 2 do e[flat[i]] = flat[i + 1] end
  return e, flat
end

-- An entry as the store would answer it.
local function flattened(e)
  local flat = {}
  for name, value in pairs(e) do
    flat[#flat + 1] = name
    flat[#flat + 1] = value
  end
  return flat
end

-- Have fields written: name and value in turns.
local function put(e, ...)
  local given = {...}
  for i = 1, #given, 2 do
    local value = given[i + 1]
    if type(value) == 'number' then value = string.format('%.17g', value) end
    e[given[i]], changes[given[i]] = value, value
  end
end

-- Have fields taken away.
local function drop(e, ...)
  for _, name in ipairs({...}) do
    if e[name] then e[name], changes[name] = nil, false end
  end
end

-- Have a counter counted on.
local function count_on(e, name)
  put(e, name, tonumber(e[name] or 0) + 1)
end

-- Write it all. What the journal's last line says already is not said again.
local function save(entry, journal)
  local set, gone, said = {}, {}, {}
  for name, value in pairs(changes) do
    if value then
      set[#set + 1] = name
      set[#set + 1] = value
    else
      gone[#gone + 1] = name
    end
  end
  local last = #lines > 0 and redis.call('LINDEX', journal, -1)
  last = last and cjson.decode(last) or {}
  for _, line in ipairs(lines) do
    if line.what ~= last.what or line.text ~= last.text then said[#said + 1], last = cjson.encode(line), line end
  end
  if #set > 0 then redis.call('HSET', entry, unpack(set)) end
  if #gone > 0 then redis.call('HDEL', entry, unpack(gone)) end
  if #said > 0 and redis.call('RPUSH', journal, unpack(said)) > JOURNAL_LINES then
    redis.call('LTRIM', journal, -JOURNAL_LINES, -1)
  end
  changes, lines = {}, {}
end
