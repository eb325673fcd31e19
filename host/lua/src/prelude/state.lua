-- What outlives an exchange and is shared by all workers: dictionaries, queues, token buckets. Objects hold a name, and
-- options are taken apart here, where a metamethod of the plugin runs under no frame of the host.
local host = ...
local forebay = host.forebay

local setmetatable, type = setmetatable, type
local wrong = host.wrong

-- The options of a call, whose allowed fields are said by `fields`.
local function options(given, name, index, fields)
  if given == nil then
    return {}
  elseif type(given) ~= "table" then
    wrong(name, index, "options", given, "a table {" .. fields .. "}, or nil")
  end
  return given
end

-- What all exchanges share is hidden: one that could write it would change what the next one calls.
local function class(methods)
  return { __index = methods, __metatable = false }
end

local dict_get, dict_set, dict_add = host["dict.get"], host["dict.set"], host["dict.add"]
local dict_incr, dict_delete, dict_cas = host["dict.incr"], host["dict.delete"], host["dict.cas"]

local Dict = class {
  get = function(self, key)
    return dict_get(self.name, key)
  end,
  set = function(self, key, value, given)
    if given == nil then
      return dict_set(self.name, key, value)
    end
    given = options(given, "dict.set", 4, "ttl, version")
    return dict_set(self.name, key, value, given.ttl, given.version)
  end,
  add = function(self, key, value, given)
    return dict_add(self.name, key, value, options(given, "dict.add", 4, "ttl").ttl)
  end,
  incr = function(self, key, by, given)
    given = options(given, "dict.incr", 4, "ttl, init")
    local init = given.init
    return dict_incr(self.name, key, by == nil and 1 or by, init == nil and 0 or init, given.ttl)
  end,
  delete = function(self, key)
    return dict_delete(self.name, key)
  end,
  cas = function(self, key, value, version, given)
    return dict_cas(self.name, key, value, version, options(given, "dict.cas", 5, "ttl").ttl)
  end,
}
forebay.dict = function(name)
  if type(name) ~= "string" then
    wrong("dict", 1, "name", name, "a string")
  end
  return setmetatable({ name = name }, Dict)
end

local queue_push, queue_pop = host["queue.push"], host["queue.pop"]

local Queue = class {
  push = function(self, item)
    return queue_push(self.name, item)
  end,
  pop = function(self)
    return queue_pop(self.name)
  end,
}
forebay.queue = function(name)
  if type(name) ~= "string" then
    wrong("queue", 1, "name", name, "a string")
  end
  return setmetatable({ name = name }, Queue)
end

local take = host["limit.take"]
forebay.limit = {
  take = function(bucket, key, cost)
    return take(bucket, key == nil and "" or key, cost == nil and 1 or cost)
  end,
}

local reserve, commit, release = host["tokens.reserve"], host["lease.commit"], host["lease.release"]

local function id(lease, name)
  if type(lease) ~= "table" then
    wrong(name, 1, "lease", lease, "a lease that tokens.reserve gave")
  end
  return lease.id
end
forebay.lease = {
  commit = function(lease, n)
    return commit(id(lease, "lease.commit"), n)
  end,
  release = function(lease)
    return release(id(lease, "lease.release"))
  end,
}
local Lease = class { commit = forebay.lease.commit, release = forebay.lease.release }
forebay.tokens = {
  reserve = function(bucket, n, key)
    local lease, why = reserve(bucket, n, key == nil and "" or key)
    if not lease then
      return nil, why
    end
    return setmetatable({ id = lease }, Lease)
  end,
}
