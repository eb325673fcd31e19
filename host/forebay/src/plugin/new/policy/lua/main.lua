-- NAME: how many origins a pool should have, and why. The fields of `metrics` are in the SDK's page on policies.
local each = 100

local plugin = {}

function plugin.on_configure(config)
  if config == "" then return end
  if type(config) ~= "table" or type(config.requests_per_origin) ~= "number" or config.requests_per_origin <= 0 then
    return false, "config must be { requests_per_origin: a number over 0 }"
  end
  each = config.requests_per_origin
end

function plugin.autoscale(metrics)
  local load = metrics.requests_per_second
  if not load then
    return nil -- Unknown, which is not zero: the pool's other rules decide.
  end
  return load / each, ("%.0f requests/s at %g per origin"):format(load, each)
end

return plugin
