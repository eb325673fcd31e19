-- The script's globals: a list of what is allowed, made from LuaJIT's libraries and ours. Then
-- the real `_G` is emptied in place: nothing of the rest is referred to any more.
local host = ...
local library, forebay = host.library, host.forebay
local error, next, pcall, rawset, select, setmetatable, tostring, type =
  error, next, pcall, rawset, select, setmetatable, library.tostring, type
local format, concat, frozen, module, compile, fail =
  string.format, table.concat, host.frozen, host.module, host.compile, host.fail

local real = _G

local function take(from, names)
  local taken = {}
  for name in string.gmatch(names, "%S+") do
    taken[name] = from[name]
  end
  return taken
end

local globals = take(real, "assert error ipairs next pairs select tonumber type unpack pcall rawequal rawget rawset setmetatable getmetatable _VERSION")
globals.tostring, globals.xpcall = library.tostring, library.xpcall
globals.load, globals.loadstring = library.load, library.load
globals.forebay = forebay
globals.print = function(...)
  local parts = {}
  for i = 1, select("#", ...) do
    local text = tostring((select(i, ...)))
    if type(text) ~= "string" then
      fail("'tostring' must return a string to 'print'")
    end
    parts[i] = text
  end
  forebay.log.info(concat(parts, "\t"))
end

globals.bit, globals.math = real.bit, real.math
globals.os = take(real.os, "clock difftime")
-- LuaJIT's own reads the fields under a C frame, where a metamethod could neither wait nor end.
local raw_time = real.os.time
globals.os.time = function(date)
  if type(date) ~= "table" then
    return raw_time(date)
  end
  return raw_time {
    year = date.year, month = date.month, day = date.day,
    hour = date.hour, min = date.min, sec = date.sec, isdst = date.isdst,
  }
end

-- In place: these tables are also what methods of strings are looked up in.
local string, table = real.string, real.table
string.dump = nil
string.find, string.match, string.gmatch, string.gsub = host.find, host.match, library.gmatch, library.gsub
string.format, string.rep = library.format, library.rep
getmetatable("").__metatable = false
for _, name in next, { "sort", "concat", "insert", "nkeys", "isempty", "isarray", "clone", "new", "clear" } do
  table[name] = library[name]
end
globals.string, globals.table = string, table

globals.coroutine = {
  create = library.create,
  resume = library.resume,
  wrap = library.wrap,
  yield = library.yield,
  running = library.running,
  status = library.status,
  isyieldable = library.isyieldable,
}

-- Read-only once the plugin serves: see below.
local protect
local sub = string.sub

-- require: modules beside the plugin and those of sdk-lua, by name.
-- `loading` has the coroutine that loads a module: it may be ended, or wait, before it is done, and
-- then another exchange loads the module again.
-- `ffi` is there for trusted plugins of a build that has it.
local loaded, loading = { forebay = forebay, ffi = host.ffi }, {}
for name, module in next, host.kit do
  loaded[name] = module
end
local running, status = coroutine.running, coroutine.status

local function in_a_circle(name)
  local loader = loading[name]
  return loader ~= nil and (loader == running() or status(loader) == "normal")
end

function globals.require(name)
  if type(name) ~= "string" then
    host.wrong("require", 1, "name", name, "a string")
  end
  local found = loaded[name]
  if found ~= nil then
    return found
  elseif in_a_circle(name) then
    fail(format("require: module '%s' is being loaded: modules require each other in a circle", name))
  end
  local text, file = module(name)
  if not text then
    fail("require: " .. file)
  end
  local chunk, why = compile(text, file)
  if not chunk then
    error(why, 0)
  end
  loading[name] = running()
  local ok, result = pcall(chunk, name)
  loading[name] = nil
  if not ok then
    error(result, 0)
  end
  if result == nil then
    result = true
  elseif sub(file, 1, 10) == "=[forebay." then
    protect(result)
  end
  loaded[name] = result
  return result
end

-- Globals can be made while the plugin starts. After that they are read-only: what one exchange
-- writes, another would read.
local names = setmetatable({}, {
  __index = globals,
  __newindex = function(_, name, value)
    if frozen() then
      fail(format("global '%s' cannot be set after the start; allowed: a local of the file, or forebay.ctx",
        tostring(name)))
    end
    rawset(globals, name, value)
  end,
  __metatable = false,
})
globals._G = names
host.globals, host.named = names, globals

-- After the start libraries are read-only too. Each gives what it has to a table that nobody can
-- reach, and reads through to it.
local sealed = { [names] = true }
local contents = { [names] = globals }
local metatables = {}

local function refuse(_, name)
  fail(format("'%s' cannot be set in a library after the start; allowed: a local of the file, or forebay.ctx",
    tostring(name)))
end

local function seal(list, metatable)
  local content = {}
  for name, value in next, list do
    content[name] = value
  end
  for name in next, content do
    list[name] = nil
  end
  metatable.__index, metatable.__newindex = content, refuse
  contents[list] = content
end

-- A library that is required after the start is sealed at once.
function protect(list)
  local metatable = { __metatable = false }
  metatables[list], sealed[list] = metatable, true
  setmetatable(list, metatable)
  for _, value in next, list do
    if type(value) == "table" then
      protect(value)
    end
  end
  if frozen() then
    seal(list, metatable)
  end
end

for _, list in next, { string, table, globals.math, globals.bit, globals.os, globals.coroutine, forebay } do
  protect(list)
end
for _, module in next, host.kit do
  protect(module)
end

function host.seal()
  for list, metatable in next, metatables do
    seal(list, metatable)
  end
end

local insert = table.insert
function table.insert(list, ...)
  if sealed[list] and frozen() then
    refuse(list, (...))
  end
  return insert(list, ...)
end

-- What a library has is listed, though it is elsewhere now. Nobody gets the table itself.
local raw_pairs = pairs
function globals.pairs(list)
  local content = contents[list]
  if content == nil then
    return raw_pairs(list)
  end
  return function(_, name)
    return next(content, name)
  end, list, nil
end

function globals.rawset(list, ...)
  if sealed[list] and frozen() then
    refuse(list, (...))
  end
  return rawset(list, ...)
end

for name in next, real do
  real[name] = nil
end
