-- NAME: says on each response what its configuration gives, and counts what it did.
local text = require("text")

local response = forebay.response.headers
local greeting = "hello"
local greeted

local plugin = {}

function plugin.on_configure(config)
  if config ~= "" then
    if type(config) ~= "table" or type(config.greeting) ~= "string" then
      return false, "config must be { greeting: a text }"
    end
    greeting = text.line(config.greeting)
  end
  greeted = forebay.metric.counter("greeted_total")
end

function plugin.on_response_headers()
  response.set("x-NAME", greeting)
  greeted:increment()
end

return plugin
