-- Asks a pool whether a request may pass: 2xx passes, 401 and 403 are handed on, all else is 503.
local headers = forebay.request.headers

local settings = {
  target = "authz",
  path = "/check",
  timeout = 0.5,
  forward = { "authorization", "cookie" },
  accept = {},
}
local passed, refused, failed

local function is_list_of_names(value)
  if type(value) ~= "table" or not table.isarray(value) then
    return false
  end
  for _, name in ipairs(value) do
    if type(name) ~= "string" then
      return false
    end
  end
  return true
end

local plugin = {}

function plugin.on_configure(config)
  if config ~= "" and type(config) ~= "table" then
    return false, "config is " .. type(config) .. "; allowed: {target, path, timeout, forward, accept}"
  end
  for key, value in pairs(config == "" and {} or config) do
    local default = settings[key]
    if default == nil then
      return false, "unknown key " .. tostring(key) .. "; allowed: target, path, timeout, forward, accept"
    elseif type(value) ~= type(default) then
      return false, key .. " is " .. type(value) .. "; allowed: a " .. type(default)
    elseif type(value) == "table" and not is_list_of_names(value) then
      return false, key .. " must be a list of header names"
    end
    settings[key] = value
  end
  passed = forebay.metric.counter("passed_total")
  refused = forebay.metric.counter("refused_total")
  failed = forebay.metric.counter("failed_total")
end

local function question()
  local asked = {
    ["x-original-method"] = headers.get(":method"),
    ["x-original-path"] = headers.get(":path"),
  }
  for _, name in ipairs(settings.forward) do
    asked[name] = headers.get(name)
  end
  return { method = "GET", path = settings.path, headers = asked }
end

function plugin.on_request_headers()
  -- What only the answer may say, no client may say.
  for _, name in ipairs(settings.accept) do
    headers.remove(name)
  end
  local answer, why = forebay.http.call(settings.target, question(), { timeout = settings.timeout })
  if not answer then
    failed:increment()
    forebay.log.warn("not asked: " .. tostring(why))
    forebay.respond(503, { ["retry-after"] = "1" }, "authorization is not available\n")
  elseif answer.status >= 200 and answer.status < 300 then
    passed:increment()
    for _, name in ipairs(settings.accept) do
      local value = answer.headers[string.lower(name)]
      if value then
        headers.set(name, value)
      end
    end
  elseif answer.status == 401 or answer.status == 403 then
    refused:increment()
    forebay.respond(answer.status, { ["www-authenticate"] = answer.headers["www-authenticate"] }, "not allowed\n")
  else
    failed:increment()
    forebay.log.warn("the authority answered " .. answer.status)
    forebay.respond(503, { ["retry-after"] = "1" }, "authorization is not available\n")
  end
end

return plugin
