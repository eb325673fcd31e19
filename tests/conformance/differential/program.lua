-- Runs a program of header and body operations that comes with the request, and logs what each of them
-- answered: the same as `guest/src/program.rs`.
local request, response = forebay.request, forebay.response
local maps = { ["0"] = request.headers, ["1"] = request.trailers, ["2"] = response.headers, ["3"] = response.trailers }
local sides = { ["0"] = request, ["1"] = response }

local function hex(bytes)
  return (bytes:gsub(".", function(c) return ("%02x"):format(c:byte()) end))
end

-- `6162~3` is `ababab`.
local function unwrapped(word)
  local digits, times = word:match("^(%x*)~(%d+)$")
  local bytes = (digits or word):gsub("%x%x", function(two) return string.char(tonumber(two, 16)) end)
  return bytes:rep(tonumber(times or 1))
end

-- What is long is told by its beginning, its length and a sum.
local function value(bytes)
  if #bytes <= 400 then
    return "=" .. hex(bytes)
  end
  local sum = 0
  for at = 1, #bytes do
    sum = (sum * 31 + bytes:byte(at)) % 4294967296
  end
  return ("=%s#%d#%.0f"):format(hex(bytes:sub(1, 64)), #bytes, sum)
end

local function refused(why)
  return "!" .. why.code
end

local function done(ok, why)
  return (ok or not why) and "ok" or refused(why)
end

local ops = {}

-- Both ways to ask: proxy-wasm has one, which joins what comes more than once.
function ops.get(map, name)
  local first, why = maps[map].get(name)
  local all, not_all = maps[map].get_all(name)
  if not all then
    return why and why.code == not_all.code and refused(why) or "get_all was refused, and get was not"
  elseif why or first ~= all[1] then
    return "get gave something else than get_all"
  end
  return first and value(table.concat(all, ",")) or "!NOT_FOUND"
end

function ops.pairs(map)
  local each, why = maps[map].pairs()
  if not each then
    return refused(why)
  end
  local all = {}
  for name, value in each do
    all[#all + 1] = name .. "\0" .. value .. "\0"
  end
  return value(table.concat(all))
end

function ops.set(map, name, value) return done(maps[map].set(name, value)) end
function ops.add(map, name, value) return done(maps[map].add(name, value)) end
function ops.remove(map, name) return done(maps[map].remove(name)) end

function ops.body(side, start, length)
  local bytes, why = sides[side].chunk()
  if not bytes then
    return refused(why)
  end
  return value(bytes:sub(math.min(start, #bytes) + 1, math.min(start + length, #bytes)))
end

function ops.write(side, start, length, bytes)
  local now = sides[side].chunk() or ""
  local from = math.min(start, #now)
  local to = math.min(from + length, #now)
  return done(sides[side].set_body(now:sub(1, from) .. bytes .. now:sub(to + 1)))
end

function ops.sleep() return done(forebay.sleep(0.001)) end

local function tell(callback, said)
  local id = forebay.ctx.get("id") or ""
  forebay.log.info(("told %s %s%s."):format(id, callback, #said > 0 and " " .. table.concat(said, " ") or ""))
end

-- What ends the callback: it returns only if it is refused.
local ends = {}

-- What is wrong in an answer is an error of the script.
function ends.respond(status, name, body, ...)
  local called, ok, why = pcall(forebay.respond, tonumber(status), { [name] = { ... } }, body)
  return called and done(ok, why) or "!BAD_ARGUMENT"
end
function ends.close() return done(forebay.close()) end
ends["continue"] = function() return done(forebay.continue()) end
local word_of = { respond = "responds", close = "closes", continue = "continues" }

local function run(callback, said)
  for operation in (forebay.ctx.get("program") or ""):gmatch("%S+") do
    local words = {}
    for word in (operation .. "."):gmatch("([^.]*)%.") do
      words[#words + 1] = word
    end
    if words[1] == callback then
      local arguments = {}
      for n = 3, #words do
        arguments[n - 2] = unwrapped(words[n])
      end
      if ends[words[2]] then
        local so_far = { unpack(said) }
        so_far[#so_far + 1] = word_of[words[2]]
        tell(callback, so_far)
        said[#said + 1] = ends[words[2]](unpack(arguments))
      elseif ops[words[2]] then
        said[#said + 1] = ops[words[2]](unpack(arguments))
      end
    end
  end
  tell(callback, said)
end

local function body(callback, side)
  return function(size, ends)
    if (" " .. (forebay.ctx.get("program") or "")):find(" " .. callback .. ".whole", 1, true) then
      return run(callback, { tostring(#side.body()) })
    end
    run(callback, ends and { tostring(size), "end" } or { tostring(size) })
  end
end

return {
  on_request_headers = function()
    forebay.ctx.set("id", request.headers.get("x-id"))
    forebay.ctx.set("program", request.headers.get("x-program"))
    run("Q", {})
  end,
  on_request_body = body("B", request),
  on_request_trailers = function() run("T", {}) end,
  on_response_headers = function() run("R", {}) end,
  on_response_body = body("S", response),
  on_response_trailers = function() run("U", {}) end,
  on_log = function() run("L", {}) end,
}
