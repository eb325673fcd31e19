-- `forebay.kv(name)`: a store of the region. Here tables become plain arguments (see api.lua).
local host = ...

local setmetatable, type = setmetatable, type
local format = string.format
local wrong, fail = host.wrong, host.fail
local get, set, incr, delete, eval = host["kv.get"], host["kv.set"], host["kv.incr"], host["kv.delete"], host["kv.eval"]

local function ttl(options, name)
  if options == nil then
    return nil
  elseif type(options) ~= "table" then
    wrong(name, 3, "options", options, "a table {ttl}, or nil")
  end
  local seconds = options.ttl
  if seconds ~= nil and type(seconds) ~= "number" then
    wrong(name, 3, "options.ttl", seconds, "a number of seconds, or nil")
  end
  return seconds
end

-- A copy that holds strings and numbers only.
local function texts(list, index, argument)
  if list == nil then
    return {}
  elseif type(list) ~= "table" then
    wrong("kv.eval", index, argument, list, "an array of strings, or nil")
  end
  local copy = {}
  for i = 1, #list do
    local kind = type(list[i])
    if kind ~= "string" and kind ~= "number" then
      fail(format("kv.eval: argument %d (%s[%d]) is %s; allowed: a string", index, argument, i, kind))
    end
    copy[i] = list[i]
  end
  return copy
end

-- What all exchanges share is hidden, as for `dict`.
local Kv = {}
function Kv:get(key)
  return get(self.name, key)
end
function Kv:set(key, value, options)
  return set(self.name, key, value, ttl(options, "kv.set"))
end
function Kv:incr(key, by, options)
  return incr(self.name, key, by == nil and 1 or by, ttl(options, "kv.incr"))
end
function Kv:delete(key)
  return delete(self.name, key)
end
function Kv:eval(script, keys, args)
  return eval(self.name, script, texts(keys, 2, "keys"), texts(args, 3, "arguments"))
end

local class = { __index = Kv, __metatable = false }
host.forebay.kv = function(name)
  if type(name) ~= "string" then
    wrong("kv", 1, "name", name, "a string")
  end
  return setmetatable({ name = name }, class)
end
