--- URL and query encoding.
local url = {}

local byte, char, format, gsub, gmatch, sub, find =
  string.byte, string.char, string.format, string.gsub, string.gmatch, string.sub, string.find

local function percent(character)
  return format("%%%02X", byte(character))
end

--- Encodes a text for any part of a URL: all but letters, digits and `-._~`.
function url.encode(text)
  return (gsub(text, "[^%w%-%._~]", percent))
end

--- Decodes `%41`; what is no valid escape stays as it is. `+` stays a plus.
function url.decode(text)
  return (gsub(text, "%%(%x%x)", function(digits)
    return char(tonumber(digits, 16))
  end))
end

local function decode_query(text)
  return url.decode((gsub(text, "%+", " ")))
end

--- `a=1&b=2` as a table; of a repeated name the first value, unless `all` asks for arrays.
function url.decode_query(query, all)
  local fields = {}
  for pair in gmatch(query, "[^&]+") do
    local equals = find(pair, "=", 1, true)
    local name = decode_query(equals and sub(pair, 1, equals - 1) or pair)
    local value = equals and decode_query(sub(pair, equals + 1)) or ""
    if all then
      fields[name] = fields[name] or {}
      fields[name][#fields[name] + 1] = value
    elseif fields[name] == nil then
      fields[name] = value
    end
  end
  return fields
end

--- A table as `a=1&b=2`, names in order; an array gives its name once for each value.
function url.encode_query(fields)
  local names, pairs_out = {}, {}
  for name in pairs(fields) do
    names[#names + 1] = name
  end
  table.sort(names)
  for _, name in ipairs(names) do
    local values = fields[name]
    if type(values) ~= "table" then
      values = { values }
    end
    for _, value in ipairs(values) do
      pairs_out[#pairs_out + 1] = url.encode(tostring(name)) .. "=" .. url.encode(tostring(value))
    end
  end
  return table.concat(pairs_out, "&")
end

--- Splits a request's `:path` into the path and the query (nil if there is none).
function url.split(path)
  local mark = find(path, "?", 1, true)
  if not mark then
    return path, nil
  end
  return sub(path, 1, mark - 1), sub(path, mark + 1)
end

return url
