-- The functions of `table` that are replaced: LuaJIT's own run for long with nobody looking. And
-- those that OpenResty's LuaJIT has and upstream's lacks.
local host = ...
local library, wrong, fail, afford = host.library, host.wrong, host.fail, host.afford

local error, next, pcall, rawget, rawset, setmetatable, tonumber, tostring, type =
  error, next, pcall, rawget, rawset, setmetatable, tonumber, library.tostring, type
local floor, format, raw_concat, raw_insert, select, sub, find =
  math.floor, string.format, table.concat, table.insert, select, string.sub, host.find

-- table.sort: merges, so that an order function which contradicts itself does no harm.
local function compare(a, b)
  return a < b
end

local PLACE = "^%[forebay [^%]]*%]:%d+: "

-- What cannot be compared is an error with the place of the script, not with ours.
local function less(a, b)
  local kind = type(a)
  if kind == type(b) and (kind == "number" or kind == "string") then
    return a < b
  end
  local ok, result = pcall(compare, a, b)
  if ok then
    return result
  end
  if type(result) == "string" then
    local _, last = find(result, PLACE)
    if last then
      fail(sub(result, last + 1))
    end
  end
  error(result, 0)
end

local function insert_sorted(list, from, to, before)
  for i = from + 1, to do
    local value = rawget(list, i)
    local j = i - 1
    while j >= from and before(value, rawget(list, j)) do
      rawset(list, j + 1, rawget(list, j))
      j = j - 1
    end
    rawset(list, j + 1, value)
  end
end

local function merge(list, other, from, middle, to, before)
  local i, j = from, middle + 1
  for k = from, to do
    if j > to or (i <= middle and not before(list[j], list[i])) then
      other[k] = list[i]
      i = i + 1
    else
      other[k] = list[j]
      j = j + 1
    end
  end
end

local RUN = 12

function library.sort(list, before)
  if type(list) ~= "table" then
    wrong("table.sort", 1, "table", list, "a table")
  end
  if before == nil then
    before = less
  elseif type(before) ~= "function" then
    wrong("table.sort", 2, "order", before, "a function or nil")
  end
  local size = #list
  for from = 1, size, RUN do
    insert_sorted(list, from, from + RUN - 1 < size and from + RUN - 1 or size, before)
  end
  if size <= RUN then
    return
  end
  local here, there = {}, {}
  for i = 1, size do
    here[i] = rawget(list, i)
  end
  local width = RUN
  while width < size do
    for from = 1, size, 2 * width do
      local middle = from + width - 1 < size and from + width - 1 or size
      local to = from + 2 * width - 1 < size and from + 2 * width - 1 or size
      merge(here, there, from, middle, to, before)
    end
    here, there = there, here
    width = 2 * width
  end
  for i = 1, size do
    rawset(list, i, here[i])
  end
end

-- table.concat: of many a part at a time.
local WIDE = 4096

function library.concat(list, separator, from, to)
  if type(list) == "table" and (from == nil or type(from) == "number") and (to == nil or type(to) == "number") then
    local first, last = from or 1, to or #list
    if last - first >= WIDE and floor(first) == first and floor(last) == last then
      local parts, count = {}, 0
      for at = first, last, WIDE do
        local stop = at + WIDE - 1
        local ok, part = pcall(raw_concat, list, separator, at, stop < last and stop or last)
        if not ok then
          fail(part)
        end
        count = count + 1
        parts[count] = part
      end
      return library.concat(parts, separator)
    end
  end
  return raw_concat(list, separator, from, to)
end

-- table.insert: LuaJIT's own moves everything from the end to the position one by one, and nothing
-- stops it: to -2^31, and it never comes back.
function library.insert(list, ...)
  if select("#", ...) == 2 then
    local at = tonumber((...))
    if at and not (at >= 1 and at < 2147483648) then
      fail(format("table.insert: position %s; allowed: a number from 1", tostring(at)))
    end
  end
  return raw_insert(list, ...)
end

library.nkeys, library.clear = host.nkeys, host.clear
local new_table = host.new_table

function library.isempty(list)
  if type(list) ~= "table" then
    wrong("table.isempty", 1, "table", list, "a table")
  end
  return next(list) == nil
end

function library.isarray(list)
  if type(list) ~= "table" then
    wrong("table.isarray", 1, "table", list, "a table")
  end
  for key in next, list do
    if type(key) ~= "number" or key < 1 or floor(key) ~= key then
      return false
    end
  end
  return true
end

function library.clone(list)
  if type(list) ~= "table" then
    wrong("table.clone", 1, "table", list, "a table")
  end
  local copy = {}
  for key, value in next, list do
    copy[key] = value
  end
  return copy
end

function library.new(array, hash)
  array, hash = tonumber(array) or 0, tonumber(hash) or 0
  if not (array >= 0 and hash >= 0) then
    fail("table.new: sizes are 0 or more")
  end
  afford(array * 8)
  afford(hash * 24)
  return new_table(array, hash)
end
