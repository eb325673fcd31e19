-- The library functions that are replaced, because LuaJIT's own cannot be interrupted, recurse
-- on the C stack, or let a plugin's coroutine keep what the host must get. `host` holds the C
-- functions; everything is kept in upvalues, so that nothing a plugin changes is used here.
local host = ...

local assert, error, getmetatable, ipairs, next, pairs, pcall, rawequal, rawget, rawset, select, setmetatable, type =
  assert, error, getmetatable, ipairs, next, pairs, pcall, rawequal, rawget, rawset, select, setmetatable, type
local tonumber, unpack = tonumber, unpack
local raw_tostring, raw_format, raw_rep = tostring, string.format, string.rep
local sub, byte = string.sub, string.byte
local concat = table.concat
local create, raw_resume, raw_yield, raw_running, status =
  coroutine.create, coroutine.resume, coroutine.yield, coroutine.running, coroutine.status
local floor = math.floor
local entering, left, compile, step, tostring_of, afford = -- C functions
  host.entering, host.left, host.compile, host.step, host.tostring_of, host.afford

local library = {}
host.library = library

local fail = host.fail -- raises with the place in the script

local function wrong(name, index, argument, value, allowed)
  fail(raw_format("%s: argument %d (%s) is %s; allowed: %s", name, index, argument, type(value), allowed))
end
host.wrong = wrong

-- tostring: a `__tostring` runs as Lua calling Lua, never under a C frame.
local function tostring(...)
  local value = ...
  local kind = type(value)
  if kind == "table" or kind == "userdata" then
    local convert = tostring_of(value)
    if convert ~= nil then
      return convert(value)
    end
  elseif kind == "nil" and select("#", ...) == 0 then
    fail("bad argument #1 to 'tostring' (value expected)")
  end
  return raw_tostring(value)
end
library.tostring = tostring

local function plain(first, ...)
  if type(first) == "table" and tostring_of(first) ~= nil then
    first = tostring(first)
    -- LuaJIT would look for `__tostring` again, and call it under a C frame.
    if type(first) == "table" then
      fail("'__tostring' must return a string")
    end
  end
  if select("#", ...) == 0 then
    return first
  end
  return first, plain(...)
end

function library.format(form, ...)
  for i = 1, select("#", ...) do
    if type((select(i, ...))) == "table" then
      return raw_format(form, plain(...))
    end
  end
  return raw_format(form, ...)
end

function library.rep(text, count, separator)
  local kind = type(text)
  if kind ~= "string" and kind ~= "number" then
    wrong("string.rep", 1, "s", text, "a string")
  end
  count = tonumber(count) or wrong("string.rep", 2, "n", count, "a number")
  local size = #raw_tostring(text)
  if separator ~= nil then
    if type(separator) ~= "string" and type(separator) ~= "number" then
      wrong("string.rep", 3, "separator", separator, "a string")
    end
    size = size + #raw_tostring(separator)
  end
  -- Nothing often is nothing; LuaJIT's own would count all the way.
  if count < 1 or size == 0 then
    return ""
  end
  afford(size * count)
  if separator ~= nil then
    return raw_rep(text, count, separator)
  end
  return raw_rep(text, count)
end

function library.gmatch(text, pattern)
  if type(text) ~= "string" and type(text) ~= "number" then
    wrong("string.gmatch", 1, "s", text, "a string")
  end
  if type(pattern) ~= "string" and type(pattern) ~= "number" then
    wrong("string.gmatch", 2, "pattern", pattern, "a string")
  end
  local at = 1
  local function caught(first, last, ...)
    if first == nil then
      at = #text + 2
      return nil
    end
    -- After an empty match one character is passed over.
    at = last < first and first + 1 or last + 1
    return ...
  end
  text = raw_tostring(text)
  return function()
    return caught(step(text, pattern, at, false))
  end
end

-- gsub with a function or a table; with a text it is all in the host.
local gsub_text = host.gsub

local function replaced(by, kind, first, last, ...)
  if first == nil then
    return nil
  end
  local value
  if kind == "table" then
    value = by[(...)]
  else
    value = by(...)
  end
  if value and type(value) ~= "string" and type(value) ~= "number" then
    fail(raw_format("invalid replacement value (a %s)", type(value)))
  end
  return first, last, value
end

function library.gsub(text, pattern, by, most)
  local kind = type(by)
  if kind ~= "table" and kind ~= "function" then
    if kind ~= "string" and kind ~= "number" then
      wrong("string.gsub", 3, "replacement", by, "a string, function or table")
    end
    return gsub_text(text, pattern, by, most)
  end
  if type(text) ~= "string" and type(text) ~= "number" then
    wrong("string.gsub", 1, "s", text, "a string")
  end
  if type(pattern) ~= "string" and type(pattern) ~= "number" then
    wrong("string.gsub", 2, "pattern", pattern, "a string")
  end
  text, pattern = raw_tostring(text), raw_tostring(pattern)
  local size = #text
  if most == nil then
    most = size + 1
  else
    most = floor(tonumber(most) or wrong("string.gsub", 4, "n", most, "a number, or nil"))
  end
  local anchored = byte(pattern) == 94
  local out, parts, at, count = {}, 0, 1, 0
  while count < most do
    local first, last, value = replaced(by, kind, step(text, pattern, at, true, kind == "table"))
    if first == nil then
      break
    end
    count = count + 1
    if first > at then
      parts = parts + 1
      out[parts] = sub(text, at, first - 1)
    end
    parts = parts + 1
    out[parts] = value or sub(text, first, last)
    if last >= first then
      at = last + 1
    else
      -- An empty match: the character after it stands for itself.
      if first <= size then
        parts = parts + 1
        out[parts] = sub(text, first, first)
      end
      at = first + 1
    end
    if anchored or at > size + 1 then
      break
    end
  end
  if at <= size then
    parts = parts + 1
    out[parts] = sub(text, at)
  end
  return concat(out), count
end

-- xpcall: hooks are off in a handler that LuaJIT runs, so it runs after a pcall.
local function handled(handler, ok, ...)
  if ok then
    return true, ...
  end
  local fine, message = pcall(handler, ...)
  if not fine then
    message = "error in error handling"
  end
  return false, message
end

function library.xpcall(body, handler, ...)
  if type(handler) ~= "function" then
    wrong("xpcall", 2, "handler", handler, "a function")
  end
  return handled(handler, pcall(body, ...))
end

-- Coroutines. A yield that the host made (a wait, an end) goes up through every coroutine of the
-- plugin to the host. `FREE` marks the plugin's own coroutines; `HELD` those that wait for the
-- host, which nobody else may resume. What is in neither state is the host's.
local FREE, HELD = 1, 2
local own = setmetatable({}, { __mode = "k" })

function library.create(body)
  if type(body) ~= "function" then
    wrong("coroutine.create", 1, "body", body, "a function")
  end
  local co = create(body)
  own[co] = FREE
  return co
end

local settle

local function again(co, ...)
  own[co] = FREE
  entering()
  return raw_resume(co, ...)
end

function settle(co, ok, ...)
  if left() and ok then
    own[co] = HELD
    return settle(co, again(co, raw_yield()))
  end
  return ok, ...
end

local function resume(co, ...)
  if own[co] ~= FREE then
    if type(co) ~= "thread" then
      wrong("coroutine.resume", 1, "coroutine", co, "a coroutine")
    end
    return false, own[co] == HELD and "cannot resume a coroutine that waits for the host"
      or "cannot resume a coroutine of the host"
  end
  if not entering() then
    return false, "coroutines are nested too deep (100)"
  end
  return settle(co, raw_resume(co, ...))
end
library.resume = resume

local function unwrap(ok, ...)
  if ok then
    return ...
  end
  error((...), 0)
end

function library.wrap(body)
  if type(body) ~= "function" then
    wrong("coroutine.wrap", 1, "body", body, "a function")
  end
  local co = create(body)
  own[co] = FREE
  return function(...)
    return unwrap(resume(co, ...))
  end
end

function library.yield(...)
  if own[raw_running()] == nil then
    fail("attempt to yield from outside a coroutine")
  end
  return raw_yield(...)
end

function library.running()
  local co = raw_running()
  return own[co] and co or nil
end

function library.isyieldable()
  return own[raw_running()] ~= nil
end

function library.status(co)
  if type(co) ~= "thread" then
    wrong("coroutine.status", 1, "coroutine", co, "a coroutine")
  end
  return status(co)
end

-- load: text only, never bytecode.
function library.load(chunk, name, mode, environment)
  if type(chunk) == "function" then
    local parts, count, size = {}, 0, 0
    while true do
      local part = chunk()
      if part == nil or part == "" then
        break
      end
      if type(part) ~= "string" then
        return nil, "reader function must return a string"
      end
      count, size = count + 1, size + #part
      parts[count] = part
      if size > 65536 then
        return nil, "load: the text is longer than 65536 bytes"
      end
    end
    chunk = concat(parts)
    name = name or "=(load)"
  elseif type(chunk) == "number" then
    chunk = raw_tostring(chunk)
  elseif type(chunk) ~= "string" then
    wrong("load", 1, "chunk", chunk, "a string or function")
  end
  if mode ~= nil and mode ~= "t" and mode ~= "bt" then
    return nil, "attempt to load chunk with wrong mode: only text is loaded"
  end
  return compile(chunk, name or chunk, environment)
end
