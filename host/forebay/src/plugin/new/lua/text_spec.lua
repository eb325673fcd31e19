local text = require("text")

describe("a line", function()
  it("has no line ends in it", function()
    assert.are.equal("a b", text.line("a\r\nb"))
  end)

  it("has no blanks at its ends", function()
    assert.are.equal("a", text.line("  a "))
  end)
end)
