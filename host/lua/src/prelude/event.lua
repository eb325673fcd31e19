-- `forebay.response.set_event`: an event as a table becomes the plain arguments of the C function.
local host = ...

local type = type
local wrong, optional_text = host.wrong, host.optional_text
local name, set = "response.set_event", host["response.set_event"]

host.forebay.response.set_event = function(event)
  if event == nil then
    return set(false)
  elseif type(event) ~= "table" then
    wrong(name, 1, "event", event, "a table {event, data, id, retry}, or nil to drop it")
  end
  local retry = event.retry
  if retry ~= nil and type(retry) ~= "number" then
    wrong(name, 1, "event.retry", retry, "a number of milliseconds, or nil")
  end
  return set(
    true,
    optional_text(event.event, name, 1, "event.event"),
    optional_text(event.data, name, 1, "event.data"),
    optional_text(event.id, name, 1, "event.id"),
    retry
  )
end
