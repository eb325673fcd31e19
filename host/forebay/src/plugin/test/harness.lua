-- Runs one file of unit tests, `describe / it / assert` as busted users know them, in the sandbox
-- and with the host of the plugin. What stands in place of SPEC is the file's module. A request
-- for /list answers with the tests' names, one for /<number> runs that test.
local error, getmetatable, ipairs, next, pairs, pcall = error, getmetatable, ipairs, next, pairs, pcall
local rawequal, setmetatable, tostring, type = rawequal, setmetatable, tostring, type
local format, gmatch, gsub, lower, match = string.format, string.gmatch, string.gsub, string.lower, string.match
local concat, insert, sort = table.concat, table.insert, table.sort
local truth = assert

local tests = {}
-- Of the describe that is being read, outermost first: its name, before_each, after_each.
local open = {}

local function group(name, body)
  if type(name) ~= "string" or type(body) ~= "function" then
    error("describe takes a name and a function", 2)
  end
  insert(open, { name = name, before = {}, after = {} })
  body()
  open[#open] = nil
end

local function it(name, body)
  if type(name) ~= "string" or type(body) ~= "function" then
    error("it takes a name and a function; a test that does not run must not look like one that passes", 2)
  end
  local test = { body = body, groups = {} }
  local names = {}
  for i, one in ipairs(open) do
    test.groups[i], names[i] = one, one.name
  end
  insert(names, name)
  test.name = gsub(concat(names, " "), "%c", " ")
  insert(tests, test)
end

local function hook(list)
  return function(body)
    local inner = open[#open]
    if not inner then
      error(list .. "_each stands outside of any describe", 2)
    end
    insert(inner[list], body)
  end
end

local function absent(name, why)
  return function()
    error(name .. ": " .. why, 2)
  end
end

_G.describe, _G.context, _G.it = group, group, it
_G.before_each, _G.after_each = hook("before"), hook("after")
_G.pending = absent("pending", "not supported: a test that does not run must not look like one that passes")
for _, name in ipairs { "setup", "teardown", "lazy_setup", "lazy_teardown", "strict_setup", "strict_teardown" } do
  _G[name] = absent(name, "not supported: use before_each and after_each")
end
for _, name in ipairs { "spy", "stub", "mock" } do
  local why = absent(name, "not supported: pass a function of your own")
  _G[name] = setmetatable({}, { __index = why, __call = why })
end

local function show(value, depth, seen)
  depth, seen = depth or 0, seen or {}
  if type(value) == "string" then
    return format("%q", value)
  elseif type(value) ~= "table" then
    return tostring(value)
  elseif seen[value] then
    return "<the same table again>"
  elseif depth > 8 then
    return "{...}"
  end
  seen[value] = true
  local keys = {}
  for key in next, value do
    insert(keys, key)
  end
  sort(keys, function(a, b)
    if type(a) == type(b) and (type(a) == "number" or type(a) == "string") then
      return a < b
    end
    return type(a) < type(b)
  end)
  local pad, lines = ("  "):rep(depth + 1), {}
  for _, key in ipairs(keys) do
    local name = type(key) == "string" and match(key, "^[%a_][%w_]*$") or "[" .. show(key, depth + 1, seen) .. "]"
    insert(lines, pad .. name .. " = " .. show(value[key], depth + 1, seen))
  end
  seen[value] = nil
  if #lines == 0 then
    return "{}"
  end
  return "{\n" .. concat(lines, "\n") .. "\n" .. ("  "):rep(depth) .. "}"
end

local function same(a, b, met)
  if rawequal(a, b) then
    return true
  end
  if type(a) ~= "table" or type(b) ~= "table" then
    return a == b
  end
  met = met or {}
  if met[a] == b then
    return true
  end
  met[a] = b
  for key, value in next, a do
    if not same(value, b[key], met) then
      return false
    end
  end
  for key in next, b do
    if a[key] == nil then
      return false
    end
  end
  return true
end

local function without_place(message)
  return type(message) == "string" and (gsub(message, "^[^\n]-:%d+: ", "", 1)) or message
end

-- Each gives whether it holds, what is expected, and what was found.
local checks = {}

function checks.equal(expected, found)
  return expected == found, show(expected), show(found)
end

function checks.same(expected, found)
  return same(expected, found), show(expected), show(found)
end

checks["true"] = function(found)
  return found == true, "true", show(found)
end
checks["false"] = function(found)
  return found == false, "false", show(found)
end
checks["nil"] = function(found)
  return found == nil, "nil", show(found)
end

function checks.truthy(found)
  return not not found, "something that is true", show(found)
end

function checks.falsy(found)
  return not found, "nil or false", show(found)
end

function checks.error(body, expected)
  local ok, message = pcall(body)
  if expected == nil or ok then
    return not ok, "an error" .. (expected ~= nil and " " .. show(expected) or ""), ok and "none" or show(message)
  end
  local holds = same(expected, message) or same(expected, without_place(message))
  return holds, "an error " .. show(expected), show(without_place(message))
end

function checks.error_matches(body, pattern)
  local ok, message = pcall(body)
  return not ok and match(tostring(message), pattern) ~= nil, "an error that matches " .. show(pattern),
    ok and "none" or show(message)
end

function checks.matches(pattern, found)
  return type(found) == "string" and match(found, pattern) ~= nil, "a text that matches " .. show(pattern), show(found)
end

function checks.near(expected, found, tolerance)
  local holds = type(found) == "number" and found >= expected - tolerance and found <= expected + tolerance
  return holds, expected .. " +- " .. tolerance, show(found)
end

for _, kind in ipairs { "string", "number", "boolean", "table", "function", "thread", "userdata" } do
  checks[kind] = function(found)
    return type(found) == kind, "a " .. kind, show(found)
  end
end

local alias = {
  equals = "equal", errors = "error", match = "matches", match_error = "error_matches",
}
local fillers = { is = true, are = true, was = true, were = true, has = true, have = true, to = true, be = true, does = true }

local function known()
  local names = {}
  for name in pairs(checks) do
    insert(names, name)
  end
  sort(names)
  return concat(names, ", ")
end

-- `assert.is_not.equal`, `assert.are_not_equal`, `assert.has_no.errors`: words in any form.
local function chain(words)
  return setmetatable({}, {
    __index = function(_, key)
      if type(key) ~= "string" then
        return nil
      end
      local all = words .. "_" .. lower(key)
      local negated, rest = false, {}
      for word in gmatch(all, "[^_]+") do
        if word == "not" or word == "no" then
          negated = not negated
        elseif not fillers[word] then
          insert(rest, word)
        end
      end
      local name = concat(rest, "_")
      if name == "" then
        return chain(all)
      end
      local check = checks[alias[name] or name]
      if not check then
        error(format("assert: no assertion %q; there are: %s, each with not or no before it", name, known()), 2)
      end
      return function(...)
        local holds, expected, found = check(...)
        if holds == negated then
          local message = format("%s%s\nexpected  %s%s\nfound     %s", negated and "not " or "", gsub(name, "_", " "),
            negated and "not " or "", expected, found)
          error(message, 2)
        end
        return ...
      end
    end,
    __call = function(_, ...)
      return truth(...)
    end,
  })
end

assert = chain("")

require(SPEC)

local function run(test)
  local after = {}
  local ok, why = pcall(function()
    for _, one in ipairs(test.groups) do
      for _, body in ipairs(one.after) do
        insert(after, 1, body)
      end
      for _, body in ipairs(one.before) do
        body()
      end
    end
    test.body()
  end)
  for _, body in ipairs(after) do
    local cleaned, problem = pcall(body)
    if ok and not cleaned then
      ok, why = false, "after_each: " .. tostring(problem)
    end
  end
  return ok, why
end

return {
  on_request_headers = function()
    local path = forebay.request.headers.get(":path")
    if path == "/list" then
      local names = {}
      for i, test in ipairs(tests) do
        names[i] = test.name
      end
      forebay.respond(200, {}, concat(names, "\n"))
    end
    local ok, why = run(tests[tonumber(match(path, "%d+"))])
    forebay.respond(ok and 200 or 500, {}, ok and "" or (type(why) == "table" and show(why) or tostring(why)))
  end,
}
