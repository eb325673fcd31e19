-- The filter that the benches run in every language: three header reads, two writes and a find
-- on the request; one set and one remove on the response.
local request, response = forebay.request.headers, forebay.response.headers
local find = string.find

return {
  on_request_headers = function()
    local host = request.get(":authority") or ""
    local agent = request.get("user-agent") or ""
    local id = request.get("x-id") or ""
    request.set("x-edge", host .. "/" .. id)
    request.set("x-seen", find(agent, "bot", 1, true) and "bot" or "human")
  end,

  on_response_headers = function()
    response.set("x-served-by", "forebay")
    response.remove("server")
  end,
}
