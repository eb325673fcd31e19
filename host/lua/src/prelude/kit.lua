-- The modules of sdk-lua that the host does natively: their tables, by the name that a script
-- requires. What is asked of tables is done here, the rest in C.
local host = ...
local json_encode = host["forebay.json.encode"]
local setmetatable, type = setmetatable, type
local wrong, fail = host.wrong, host.fail

local function module(name, functions)
  local made = {}
  for function_name in string.gmatch(functions, "%S+") do
    made[function_name] = host[name .. "." .. function_name]
  end
  return made
end

-- Marks a table as an array, so that an empty one is written as [].
local array = { __metatable = false }
host["forebay.json.mark"](array)

local json = module("forebay.json", "encode decode")
json.null = host["forebay.json.null"]()
function json.array(list)
  if list == nil then
    list = {}
  elseif type(list) ~= "table" then
    wrong("json.array", 1, "list", list, "a table, or nil")
  end
  return setmetatable(list, array)
end

local jwt = module("forebay.jwt", "decode")
local verify = host["forebay.jwt.verify"]
function jwt.verify(token, options)
  if type(options) ~= "table" or type(options.jwks) ~= "table" then
    return verify(token, options)
  end
  local text, why = json_encode(options.jwks)
  if not text then
    fail("jwt.verify: option 'jwks': " .. why.message)
  end
  return verify(token, {
    jwks = text, secret = options.secret, public_key = options.public_key, algorithms = options.algorithms,
    issuer = options.issuer, audience = options.audience, required = options.required, leeway = options.leeway,
  })
end

host.kit = {
  ["forebay.base64"] = module("forebay.base64", "encode decode"),
  ["forebay.hash"] = module("forebay.hash", "sha1 sha256 sha384 sha512 hmac equal random"),
  ["forebay.hex"] = module("forebay.hex", "encode decode"),
  ["forebay.json"] = json,
  ["forebay.jwt"] = jwt,
  ["forebay.time"] = module("forebay.time", "http parse_http iso parse_iso format"),
}
