---@meta forebay.jwt
---JSON Web Tokens (RFC 7519).
local jwt = {}

---@class ForebayJwtOptions
---@field secret? string | ForebaySecret for HS256, HS384, HS512
---@field public_key? string PEM, for RS, PS, ES256, ES384, EdDSA
---@field jwks? string | table a set of JSON Web Keys, or one
---@field algorithms? string | string[] those that may be used; all that the key can
---@field issuer? string | string[]
---@field audience? string | string[]
---@field required? string | string[] claims that must be there; `exp`
---@field leeway? number seconds; 60

---@param token string
---@param options ForebayJwtOptions one of secret, public_key, jwks
---@return table? claims
---@return table | ForebayError header_or_why MALFORMED, ALGORITHM, KEY, SIGNATURE, CLAIM, EXPIRED, NOT_YET, ISSUER, AUDIENCE
function jwt.verify(token, options) end

---Claims and header of a token that nobody has verified.
---@param token string
---@return table? claims
---@return table | ForebayError header_or_why MALFORMED
function jwt.decode(token) end

return jwt
