--- Reading `cookie` and writing `set-cookie`.
local cookie = {}

local find, gmatch, match, sub = string.find, string.gmatch, string.match, string.sub

--- A `cookie` header as a table; of a repeated name the first counts, as in browsers.
function cookie.parse(header)
  local cookies = {}
  for pair in gmatch(header or "", "[^;]+") do
    local equals = find(pair, "=", 1, true)
    if equals then
      local name = match(sub(pair, 1, equals - 1), "^%s*(.-)%s*$")
      local value = match(sub(pair, equals + 1), '^%s*"?(.-)"?%s*$')
      if name ~= "" and cookies[name] == nil then
        cookies[name] = value
      end
    end
  end
  return cookies
end

local ATTRIBUTES = {
  { "path", "Path" },
  { "domain", "Domain" },
  { "max_age", "Max-Age" },
  { "expires", "Expires" },
  { "same_site", "SameSite" },
}

--- A `set-cookie` header: `path domain max_age expires same_site secure http_only` as options.
function cookie.format(name, value, options)
  if find(name, "[^%w!#$%%&'*+%-.^_`|~]") or name == "" then
    error("cookie.format: '" .. name .. "' is no name of a cookie", 2)
  end
  if find(value, '[%c%s",;\\]') then
    error("cookie.format: the value has a character that a cookie cannot hold: encode it (forebay.url)", 2)
  end
  local parts = { name .. "=" .. value }
  options = options or {}
  for _, attribute in ipairs(ATTRIBUTES) do
    local setting = options[attribute[1]]
    if setting ~= nil then
      parts[#parts + 1] = attribute[2] .. "=" .. tostring(setting)
    end
  end
  if options.secure then
    parts[#parts + 1] = "Secure"
  end
  if options.http_only then
    parts[#parts + 1] = "HttpOnly"
  end
  return table.concat(parts, "; ")
end

return cookie
