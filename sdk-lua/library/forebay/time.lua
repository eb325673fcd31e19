---@meta forebay.time
---Times as texts; seconds since 1970.
local time = {}

---`Sun, 22 Nov 2026 06:00:00 GMT` (RFC 9110).
---@param seconds number
---@return string? text
---@return ForebayError? why BAD_ARGUMENT: before the year 0
function time.http(seconds) end

---@param text string
---@return number? seconds
---@return ForebayError? why PARSE_FAILURE
function time.parse_http(text) end

---`2026-11-22T06:00:00Z` (RFC 3339).
---@param seconds number
---@return string text
function time.iso(seconds) end

---@param text string with a zone
---@return number? seconds
---@return ForebayError? why PARSE_FAILURE
function time.parse_iso(text) end

---@param seconds number
---@param form string strftime's conversions
---@param zone? string an IANA name; UTC
---@return string? text
---@return ForebayError? why NOT_FOUND: no such zone
function time.format(seconds, form, zone) end

return time
