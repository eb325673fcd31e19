---@meta forebay.hex
---Hexadecimal digits.
local hex = {}

---@param bytes string
---@return string text in lower case
function hex.encode(bytes) end

---@param text string
---@return string? bytes
---@return ForebayError? why PARSE_FAILURE
function hex.decode(text) end

return hex
