-- `forebay.http`, `forebay.grpc`: what a plugin writes as tables becomes the plain arguments of the C functions.
local host = ...

local lower, type = string.lower, type
local wrong, flat, optional_text, refused = host.wrong, host.flat, host.optional_text, host.refused
local start_grpc = host["grpc.call"]
local start, start_all = host["http.call"], host["http.call_all"]

-- One callout as its parts, in the order that the C functions read them.
local function parts(name, target, request, options)
  if type(target) ~= "string" then
    wrong(name, 1, "target", target, "a string")
  end
  if request == nil then
    request = {}
  elseif type(request) ~= "table" then
    wrong(name, 2, "request", request, "a table {method, path, authority, headers, body, trailers}")
  end
  if options ~= nil and type(options) ~= "table" then
    wrong(name, 3, "options", options, "a table {timeout, retry}, or nil")
  end
  local timeout, retry = options and options.timeout, options and options.retry
  if timeout ~= nil and type(timeout) ~= "number" then
    wrong(name, 3, "options.timeout", timeout, "a number of seconds, or nil")
  end
  if retry ~= nil and type(retry) ~= "number" then
    wrong(name, 3, "options.retry", retry, "a number of times, or nil")
  end
  return target,
    optional_text(request.method, name, 2, "request.method") or "GET",
    optional_text(request.path, name, 2, "request.path") or "/",
    optional_text(request.authority, name, 2, "request.authority"),
    flat(request.headers, name, 2, true),
    optional_text(request.body, name, 2, "request.body"),
    timeout,
    retry,
    flat(request.trailers, name, 2)
end

-- The host lists an answer as status, headers and body, and a failure as code and message.
local function result(item)
  local status, headers = item[1], item[2]
  if type(status) ~= "number" then
    return refused(status, headers)
  end
  local named = {}
  for i = 1, #headers do
    local name, value = lower(headers[i][1]), headers[i][2]
    -- Repeated headers become one, as HTTP allows.
    named[name] = named[name] and named[name] .. ", " .. value or value
  end
  return { status = status, headers = named, body = item[3] }
end

host.forebay.http = {
  call = function(target, request, options)
    return start(parts("http.call", target, request, options))
  end,
  call_all = function(calls)
    if type(calls) ~= "table" then
      wrong("http.call_all", 1, "calls", calls, "an array of {target, request, options}")
    end
    local all = {}
    for i = 1, #calls do
      local one = calls[i]
      if type(one) ~= "table" then
        wrong("http.call_all", 1, "calls[" .. i .. "]", one, "a table {target, request, options}")
      end
      all[i] = { parts("http.call_all", one[1], one[2], one[3]) }
    end
    local list, why = start_all(all)
    if not list then
      return nil, why
    end
    local results = {}
    for i = 1, #list do
      results[i] = result(list[i])
    end
    return results
  end,
}

host.forebay.grpc = {
  call = function(target, request)
    if type(target) ~= "string" then
      wrong("grpc.call", 1, "target", target, "a string")
    end
    if type(request) ~= "table" then
      wrong("grpc.call", 2, "request", request, "a table {service, method, message, metadata, timeout}")
    end
    local service, method, timeout = request.service, request.method, request.timeout
    if type(service) ~= "string" then
      wrong("grpc.call", 2, "request.service", service, "a string, as in shop.v1.Stock")
    end
    if type(method) ~= "string" then
      wrong("grpc.call", 2, "request.method", method, "a string")
    end
    if timeout ~= nil and type(timeout) ~= "number" then
      wrong("grpc.call", 2, "request.timeout", timeout, "a number of seconds, or nil")
    end
    local message = optional_text(request.message, "grpc.call", 2, "request.message") or ""
    return start_grpc(target, service, method, message, flat(request.metadata, "grpc.call", 2, true), timeout)
  end,
}
