//! The plugins that are soaked, and what a request may ask of each.

/// What a request asks the plugin to do: its word, how often it comes beside the others, the status that
/// must come, and the verdict if it is a fault.
pub struct Kind {
    pub word: &'static str,
    pub weight: u32,
    pub status: u16,
    pub verdict: Option<&'static str>,
}

const fn kind(word: &'static str, weight: u32, status: u16, verdict: Option<&'static str>) -> Kind {
    Kind { word, weight, status, verdict }
}

/// A plugin, which is also the name of its route.
pub struct Plugin {
    pub name: &'static str,
    pub kinds: &'static [Kind],
    /// A fault ends the instance that others are in.
    pub collateral: bool,
    /// Its entry in the region file, behind the name and before what all have; the guest stands for `GUEST`.
    pub entry: &'static str,
}

pub const PLUGINS: [Plugin; 3] = [
    Plugin { name: "soaked", kinds: &LUA, collateral: false, entry: "lua: soaked.lua" },
    Plugin { name: "shared", kinds: &WASM, collateral: true, entry: "wasm: GUEST\n    config: soak" },
    Plugin {
        name: "apart",
        kinds: &WASM,
        collateral: false,
        entry: "wasm: GUEST\n    config: soak\n    isolation: exchange",
    },
];

const LUA: [Kind; 12] = [
    kind("work", 700, 200, None),
    kind("wait", 60, 200, None),
    kind("callout", 60, 200, None),
    kind("answer", 60, 418, None),
    kind("garbage", 50, 200, None),
    kind("compile", 20, 200, None),
    // The callout's target refuses: the plugin is told, and answers by itself.
    kind("unavailable", 20, 424, None),
    kind("loop", 10, 503, Some("CPU")),
    kind("hostile", 4, 503, Some("CPU")),
    kind("grow", 3, 503, Some("MEMORY")),
    kind("error", 10, 503, Some("TRAP")),
    kind("oversleep", 1, 503, Some("WALL")),
];

/// `guest/src/soak.rs` of the conformance suite.
const WASM: [Kind; 13] = [
    kind("work", 600, 200, None),
    kind("wait", 100, 200, None),
    kind("callout", 80, 200, None),
    kind("slow", 40, 200, None),
    // The callout's time is up before its answer comes.
    kind("late", 20, 424, None),
    kind("unavailable", 20, 424, None),
    kind("answer", 60, 418, None),
    kind("loop", 2, 503, Some("CPU")),
    kind("grow", 2, 503, Some("MEMORY")),
    kind("recurse", 2, 503, Some("TRAP")),
    kind("error", 2, 503, Some("TRAP")),
    kind("trap", 2, 503, Some("TRAP")),
    kind("oversleep", 1, 503, Some("WALL")),
];

/// `soaked.lua`.
pub const TEXT: &str = r#"
local hits = forebay.metric.counter("hits_total")
local seen = forebay.dict("seen")
local does = {}

function does.work(id)
  local t = {}
  for i = 1, 40 do t[i] = (i * #id) % 23 end
  table.sort(t)
  forebay.request.headers.set("x-made", table.concat(t, ","):gsub("%d+", "n"))
  seen:set("last", id)
  assert(seen:get("last"))
  hits:increment()
end
function does.wait() forebay.sleep(0.004) end
function does.callout(id)
  local answer = assert(forebay.http.call("side", { path = "/side", headers = { ["x-id"] = id } }, { timeout = 20 }))
  assert(answer.status == 200, answer.status)
end
function does.answer(id) forebay.respond(418, { ["x-id"] = id }, "short") end
function does.garbage(id)
  for i = 1, 300 do local _ = { id .. i, tostring(i), { i } } end
  coroutine.wrap(function() coroutine.yield(id) end)()
end
function does.compile(id) assert(load("local x = 0 for i = 1, 100 do x = x + i % " .. #id .. " end return x"))() end
function does.unavailable(id)
  local answer, why = forebay.http.call("gone", { path = "/" }, { timeout = 20 })
  assert(not answer and why.code == "UNAVAILABLE", tostring(why))
  forebay.respond(424, { ["x-id"] = id }, why.code)
end
does["loop"] = function() while true do pcall(function() while true do end end) end end
function does.hostile() string.find(string.rep("a", 40), string.rep("a?", 40) .. string.rep("a", 40) .. "b") end
function does.grow() local t = {} while true do t[#t + 1] = string.rep(#t % 10, 900000) end end
function does.error() error("asked for") end
function does.oversleep() forebay.sleep(30) end

return {
  on_request_headers = function()
    local id = forebay.request.headers.get("x-id")
    forebay.ctx.set("id", id)
    does[forebay.request.headers.get("x-do")](id)
  end,
  on_response_headers = function()
    forebay.response.headers.set("x-id", forebay.ctx.get("id") or forebay.response.headers.get("x-id"))
  end,
  on_log = function() forebay.ctx.get("id") end,
}
"#;
