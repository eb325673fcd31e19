-- The modules of sdk-lua that the host does natively: their tables, by the name that a script
-- requires. What is asked of tables is done here, the rest in C.
local host = ...
local json_encode = host["forebay.json.encode"]
local setmetatable, type = setmetatable, type
local wrong, fail, secret_name = host.wrong, host.fail, host.secret_name

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
  local jwks, secret = type(options) == "table" and options.jwks, type(options) == "table" and options.secret
  local held = type(secret) == "table" and secret_name(secret) or nil
  if type(jwks) ~= "table" and not held then
    return verify(token, options)
  end
  if type(jwks) == "table" then
    local text, why = json_encode(jwks)
    if not text then
      fail("jwt.verify: option 'jwks': " .. why.message)
    end
    jwks = text
  end
  if held then
    secret = nil
  end
  return verify(token, {
    jwks = jwks, secret = secret, held_secret = held, public_key = options.public_key, algorithms = options.algorithms,
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
