-- A policy by thresholds, as rules of other autoscalers have it: one signal, more origins above `high`, fewer
-- below `low`. See README.md.
local plugin = {}

local settings = { signal = "cpu", high = 70, low = 30, step = 1 }

function plugin.on_configure(config)
  if config == "" then return end
  if type(config) ~= "table" then
    return false, "a map of signal, high, low and step"
  end
  for key, value in pairs(config) do
    if settings[key] == nil then
      return false, ("unknown key %s; allowed: signal, high, low, step"):format(key)
    end
    local wanted = key == "signal" and "string" or "number"
    if type(value) ~= wanted then
      return false, ("%s is a %s; allowed: a %s"):format(key, type(value), wanted)
    end
    settings[key] = value
  end
  if settings.low >= settings.high then
    return false, ("low %g is not under high %g"):format(settings.low, settings.high)
  end
end

-- What one origin has, as the thresholds mean it; nil: unknown.
local function each(metrics)
  local serving, name = metrics.origins.serving, settings.signal
  if serving == 0 then return nil end
  local signal = metrics.signals and metrics.signals[name]
  if signal then
    -- In percent of what the region file says that an origin carries.
    return signal.origins and 100 * signal.origins / serving
  elseif name == "requests" then
    return metrics.requests_per_second and metrics.requests_per_second / serving
  elseif name == "in_flight" then
    return metrics.in_flight and metrics.in_flight / serving
  end
end

function plugin.autoscale(metrics)
  local value = each(metrics)
  if not value then
    return nil -- The other rules decide.
  end
  local origins = metrics.origins
  local seen = ("%s %.4g"):format(settings.signal, value)
  if value > settings.high then
    if origins.booting + origins.warming > 0 then
      -- What was added does not serve yet: it is in no reading.
      return origins.desired, ("%s, over %g, and more are starting"):format(seen, settings.high)
    end
    return origins.desired + settings.step, ("%s, over %g"):format(seen, settings.high)
  elseif value < settings.low then
    return math.max(origins.desired - settings.step, 0), ("%s, under %g"):format(seen, settings.low)
  end
  return origins.desired, ("%s, within %g and %g"):format(seen, settings.low, settings.high)
end

return plugin
