-- What a plugin calls: the global `forebay`. Here tables are turned into plain arguments, so that
-- no metamethod of a plugin ever runs under a frame of the host; the C functions do the rest.
local host = ...

local ipairs, next, setmetatable, type = ipairs, next, setmetatable, type
local format = string.format
local tostring = host.library.tostring
local wrong, fail, secret_text = host.wrong, host.fail, host.secret_text

local refusal = {
  __tostring = function(self) return tostring(self.code) .. ": " .. tostring(self.message) end,
  __metatable = false,
}
host.refusal(refusal)

local forebay = {}
host.forebay = forebay

-- What the parts of this prelude that come after need of it.
host.refused = function(code, message)
  return setmetatable({ code = code, message = message }, refusal)
end

local function side(name)
  local may_loop, next_chunk = host[name .. ".body_chunks"], host[name .. ".body_chunks:next"]
  local part = {
    body = host[name .. ".body"],
    body_chunks = function()
      local may, why = may_loop()
      if not may then
        return nil, why
      end
      return next_chunk
    end,
    chunk = host[name .. ".chunk"],
    set_body = host[name .. ".set_body"],
  }
  for _, map in ipairs { "headers", "trailers" } do
    local prefix = name .. "." .. map .. "."
    local all = host[prefix .. "pairs"]
    part[map] = {
      get = host[prefix .. "get"],
      get_all = host[prefix .. "get_all"],
      set = host[prefix .. "set"],
      add = host[prefix .. "add"],
      remove = host[prefix .. "remove"],
      pairs = function()
        local list, why = all()
        if not list then
          return nil, why
        end
        local at = -1
        return function()
          at = at + 2
          return list[at], list[at + 1]
        end
      end,
    }
  end
  return part
end

forebay.request = side("request")
forebay.response = side("response")

-- Name -> value, or name -> array of values, as a flat array of strings. `secrets` may be among them.
local function flat(headers, name, index, secrets)
  if headers == nil then
    return nil
  end
  if type(headers) ~= "table" then
    wrong(name, index, "headers", headers, "a table")
  end
  local list, count = {}, 0
  local function put(key, value)
    local secret = secret_text(value)
    if secret and not secrets then
      fail(format("%s: header '%s' is a secret; allowed: in the headers of http.call", name, key))
    end
    value = secret or value
    local kind = type(value)
    if kind ~= "string" and kind ~= "number" then
      fail(format("%s: header '%s' is %s; allowed: a string, or an array of strings", name, key, kind))
    end
    list[count + 1], list[count + 2] = key, value
    count = count + 2
  end
  for key, value in next, headers do
    if type(key) ~= "string" then
      fail(format("%s: a header's name is %s; allowed: a string", name, type(key)))
    end
    if type(value) == "table" and not secret_text(value) then
      for _, one in ipairs(value) do
        put(key, one)
      end
    else
      put(key, value)
    end
  end
  return list
end

local function optional_text(value, name, index, argument)
  if value ~= nil and type(value) ~= "string" and type(value) ~= "number" then
    wrong(name, index, argument, value, "a string or nil")
  end
  return value
end

host.flat, host.optional_text = flat, optional_text

local respond = host.respond
function forebay.respond(status, headers, body)
  if type(status) ~= "number" then
    wrong("respond", 1, "status", status, "a number")
  end
  return respond(status, flat(headers, "respond", 2), optional_text(body, "respond", 3, "body"))
end

forebay.close = host.close
forebay["continue"] = host["continue"]

forebay.origin = {
  set_pool = host["origin.set_pool"],
  set_host = host["origin.set_host"],
  exclude = host["origin.exclude"],
  get = host["origin.get"],
  stats = host["origin.stats"],
}

local hint = host["scale.hint"]
forebay.scale = {
  hint = function(pool, kind, value, ttl, options)
    if options ~= nil and type(options) ~= "table" then
      wrong("scale.hint", 5, "options", options, "a table {due}, or nil")
    end
    return hint(pool, kind, value, ttl, options and options.due)
  end,
  view = host["scale.view"],
  propose = host["scale.propose"],
}

forebay.property = { get = host["property.get"] }

local ctx_set = host["ctx.set"]
forebay.ctx = {
  get = host["ctx.get"],
  set = function(key, value, options)
    if options ~= nil and type(options) ~= "table" then
      wrong("ctx.set", 3, "options", options, "a table {shared}, or nil")
    end
    return ctx_set(key, value, (options and options.shared) == true)
  end,
}

local increment, record, value = host["metric:increment"], host["metric:record"], host["metric:get"]

local function labels_of(labels)
  if labels == nil then
    return nil
  elseif type(labels) ~= "table" then
    wrong("metric", 2, "labels", labels, "a table of name = value, or nil")
  end
  local list, count = {}, 0
  for key, value in next, labels do
    local kind = type(value)
    if type(key) ~= "string" or kind ~= "string" and kind ~= "number" and kind ~= "boolean" then
      fail(format("metric: label '%s' is %s; allowed: a name, and a string, number or boolean", tostring(key), kind))
    end
    list[count + 1], list[count + 2] = key, tostring(value)
    count = count + 2
  end
  return list
end

local function metric(define, methods)
  -- Apart: a table that is its own __index is reached through any of its objects.
  local class = { __index = methods, __metatable = false }
  return function(name, labels)
    local id, why = define(name, labels_of(labels))
    if not id then
      return nil, why
    end
    return setmetatable({ id = id }, class)
  end
end

forebay.metric = {
  counter = metric(host["metric.counter"], {
    increment = function(self, n)
      return increment(self.id, n == nil and 1 or n, "counter:increment")
    end,
    get = function(self)
      return value(self.id)
    end,
  }),
  gauge = metric(host["metric.gauge"], {
    set = function(self, n)
      return record(self.id, n, "gauge:set")
    end,
    increment = function(self, n)
      return increment(self.id, n == nil and 1 or n, "gauge:increment")
    end,
    get = function(self)
      return value(self.id)
    end,
  }),
  histogram = metric(host["metric.histogram"], {
    record = function(self, n)
      return record(self.id, n, "histogram:record")
    end,
  }),
}

local log, log_level = host.log, host["log:level"]

local function fields_of(fields, name)
  if fields == nil then
    return nil
  elseif type(fields) ~= "table" then
    wrong("log." .. name, 2, "fields", fields, "a table of name = value, or nil")
  end
  local list, count = {}, 0
  for key, value in next, fields do
    local kind = type(value)
    if kind ~= "number" and kind ~= "boolean" then
      value = tostring(value)
    end
    list[count + 1], list[count + 2] = tostring(key), value
    count = count + 2
  end
  return list
end

forebay.log = {}
for number, name in ipairs { "trace", "debug", "info", "warn", "error", "critical" } do
  local level = number - 1
  forebay.log[name] = function(message, fields)
    -- Nothing is made into text that nobody keeps.
    if level >= log_level() then
      log(level, tostring(message), fields_of(fields, name))
    end
  end
end

forebay.limits = { remaining = host["limits.remaining"] }
forebay.secret = host.make_secret
forebay.now = host.now
forebay.sleep = host.sleep
forebay.timer = { every = host["timer.every"] }
forebay.abi = { version = host["abi.version"], has = host["abi.has"] }
