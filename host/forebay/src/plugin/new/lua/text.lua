-- What the plugin does with texts: a module of its own, so that it can be tested alone.
local text = {}

-- One line, without blanks at its ends: what a header's value may be.
function text.line(value)
  return (value:gsub("%c+", " "):gsub("^ +", ""):gsub(" +$", ""))
end

return text
