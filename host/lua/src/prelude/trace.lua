-- `forebay.trace`: spans. A span is known to the host by its number, within its own exchange.
local host = ...

local setmetatable, type = setmetatable, type
local tostring = host.library.tostring
local wrong = host.wrong
local begin, set, finish = host["trace.span"], host["trace:set"], host["trace:finish"]

local methods = {}
local Span = { __index = methods, __metatable = false }

function methods:set(key, value)
  local kind = type(value)
  if kind ~= "number" and kind ~= "boolean" then
    value = tostring(value)
  end
  return set(self.id, key, value)
end

function methods:finish()
  return finish(self.id)
end

host.forebay.trace = {
  span = function(name)
    if type(name) ~= "string" then
      wrong("trace.span", 1, "name", name, "a string")
    end
    local id, why = begin(name)
    if not id then
      return nil, why
    end
    return setmetatable({ id = id }, Span)
  end,
}
