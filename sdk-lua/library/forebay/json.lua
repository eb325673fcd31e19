---@meta forebay.json
---JSON (RFC 8259).
local json = {}

---What `null` is in Lua.
---@type lightuserdata
json.null = nil

---@param value any
---@param options? { sorted?: boolean } keys in order
---@return string? text
---@return ForebayError? why BAD_ARGUMENT
function json.encode(value, options) end

---@param text string
---@return any value
---@return ForebayError? why PARSE_FAILURE, with line and column
function json.decode(text) end

---Marks a table as an array, so that an empty one is written as `[]`.
---@param list? table
---@return table list
function json.array(list) end

return json
