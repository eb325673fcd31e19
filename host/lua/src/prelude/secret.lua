-- `forebay.secret`: handles to values that never enter this VM. What stands for one in the headers
-- of a callout is kept here, by handle, out of the script's reach.
local host = ...

local setmetatable, type = setmetatable, type
local wrong, fail = host.wrong, host.fail
local mark_of, hmac = host.secret, host["secret:hmac"]

local kept = setmetatable({}, { __mode = "k" })
local methods = {}
local Secret = { __index = methods, __metatable = false }

local function handle(name, text)
  local self = setmetatable({}, Secret)
  kept[self] = { name = name, text = text }
  return self
end

function Secret.__tostring(self)
  local secret = kept[self]
  return secret and "secret(" .. secret.name .. ")" or "secret"
end

-- "Bearer " .. forebay.secret("key") is a handle again, with the text before it.
function Secret.__concat(before, self)
  local kind, secret = type(before), kept[self]
  if not secret or kind ~= "string" and kind ~= "number" then
    fail("a secret can only stand behind a text: \"Bearer \" .. secret")
  end
  return handle(secret.name, before .. secret.text)
end

function methods:hmac(algorithm, data)
  local secret = kept[self]
  if not secret then
    wrong("secret:hmac", 0, "self", self, "a secret, as in secret:hmac(algorithm, data)")
  end
  return hmac(secret.name, algorithm, data)
end

-- What stands for a handle, or nil if it is none.
function host.secret_text(value)
  local secret = kept[value]
  return secret and secret.text
end

-- For what is asked of the host by the secret's name.
function host.secret_name(value)
  local secret = kept[value]
  return secret and secret.name
end

function host.make_secret(name)
  local mark, why = mark_of(name)
  if not mark then
    return nil, why
  end
  return handle(name, mark)
end
