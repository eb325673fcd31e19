-- Stamps requests with the time they came in, marks responses, and counts both.
local request, response = forebay.request.headers, forebay.response.headers
local format, now = string.format, forebay.now

local header, value = "x-served-by", "forebay"
local requests, responses

local plugin = {}

function plugin.on_configure(config)
  if config ~= "" then
    if type(config) ~= "table" then
      return false, "config is " .. type(config) .. "; allowed: {header, value}"
    end
    for key, setting in pairs(config) do
      if key ~= "header" and key ~= "value" then
        return false, "unknown key " .. tostring(key) .. "; allowed: header, value"
      elseif type(setting) ~= "string" or setting == "" then
        return false, key .. " must be a string that is not empty"
      end
    end
    header, value = config.header or header, config.value or value
  end
  requests = forebay.metric.counter("requests_total")
  responses = forebay.metric.counter("responses_total")
end

function plugin.on_request_headers()
  -- An earlier edge may have stamped it: the first stamp is the one that counts.
  if not request.get("x-request-start") then
    request.set("x-request-start", format("t=%.3f", now()))
  end
  request.set("x-forebay", "request-stamp")
  requests:increment()
end

function plugin.on_response_headers()
  response.set(header, value)
  responses:increment()
end

return plugin
