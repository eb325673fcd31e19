---@meta forebay.hash
---Digests, HMAC, random bytes.
local hash = {}

---@alias ForebayDigestEncoding "hex" | "raw"

---For what is old; no longer safe against forgery.
---@param bytes string
---@param encoding? ForebayDigestEncoding
---@return string digest
function hash.sha1(bytes, encoding) end

---@param bytes string
---@param encoding? ForebayDigestEncoding
---@return string digest
function hash.sha256(bytes, encoding) end

---@param bytes string
---@param encoding? ForebayDigestEncoding
---@return string digest
function hash.sha384(bytes, encoding) end

---@param bytes string
---@param encoding? ForebayDigestEncoding
---@return string digest
function hash.sha512(bytes, encoding) end

---@param algorithm "sha1" | "sha256" | "sha384" | "sha512"
---@param key string
---@param bytes string
---@param encoding? ForebayDigestEncoding
---@return string tag
function hash.hmac(algorithm, key, bytes, encoding) end

---Compares in a time that says nothing of where they differ.
---@param a string
---@param b string
---@return boolean
function hash.equal(a, b) end

---@param n integer 1 to 4096
---@return string? bytes
---@return ForebayError? why INTERNAL_FAILURE
function hash.random(n) end

return hash
