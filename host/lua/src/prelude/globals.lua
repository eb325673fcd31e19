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
    parts[i] = tostring((select(i, ...)))
  end
  forebay.log.info(concat(parts, "\t"))
end

globals.bit, globals.math = real.bit, real.math
globals.os = take(real.os, "clock time difftime")

-- In place: these tables are also what methods of strings are looked up in.
local string, table = real.string, real.table
string.dump = nil
string.find, string.match, string.gmatch, string.gsub = host.find, host.match, library.gmatch, library.gsub
string.format, string.rep = library.format, library.rep
getmetatable("").__metatable = false
table.sort = library.sort
for _, name in next, { "nkeys", "isempty", "isarray", "clone", "new", "clear" } do
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

-- require: modules beside the plugin and those of sdk-lua, by name.
local loaded, LOADING = { forebay = forebay }, {}
function globals.require(name)
  if type(name) ~= "string" then
    host.wrong("require", 1, "name", name, "a string")
  end
  local found = loaded[name]
  if found == LOADING then
    fail(format("require: module '%s' is being loaded: modules require each other in a circle", name))
  elseif found ~= nil then
    return found
  end
  local text, file = module(name)
  if not text then
    fail("require: " .. file)
  end
  local chunk, why = compile(text, file)
  if not chunk then
    error(why, 0)
  end
  loaded[name] = LOADING
  local ok, result = pcall(chunk, name)
  if not ok then
    loaded[name] = nil
    error(result, 0)
  end
  if result == nil then
    result = true
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
host.globals = names

for name in next, real do
  real[name] = nil
end
