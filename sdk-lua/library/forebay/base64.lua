---@meta forebay.base64
---Base64 (RFC 4648).
local base64 = {}

---@param bytes string
---@param options? { url?: boolean, padding?: boolean } the URL alphabet, which has no padding; no padding
---@return string text
function base64.encode(bytes, options) end

---Reads with padding and without.
---@param text string
---@param options? { url?: boolean }
---@return string? bytes
---@return ForebayError? why PARSE_FAILURE
function base64.decode(text, options) end

return base64
