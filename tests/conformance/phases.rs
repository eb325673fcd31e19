//! Every hostcall in every phase: allowed or refused, as the table says, in both engines.

use abi::hostcall::{Hostcall, Phase, TABLE};
use harness::{Edge, Origin, Setup, list};

use crate::pair::{Engine, Plugin, SECRET, SECRET_FILE, on_both_engines, plugin, setup};

/// Tries every call in one phase and logs what came: `probe PHASE CALL CODE MESSAGE`.
pub const PROBE: &str = r#"
local plugin = {}
local phase, only

local maps = {
  ["request.headers"] = forebay.request.headers, ["request.trailers"] = forebay.request.trailers,
  ["response.headers"] = forebay.response.headers, ["response.trailers"] = forebay.response.trailers,
}
local operations = {
  get = function(map) return map.get("x-probe") end,
  get_all = function(map) return map.get_all("x-probe") end,
  pairs = function(map) return map.pairs() end,
  set = function(map) return map.set("x-probe", "1") end,
  add = function(map) return map.add("x-probe", "1") end,
  remove = function(map) return map.remove("x-probe") end,
}
local others = {
  ["request.body"] = function() return forebay.request.body() end,
  ["request.chunk"] = function() return forebay.request.chunk() end,
  ["request.body_chunks"] = function() return forebay.request.body_chunks() end,
  ["request.set_body"] = function() return forebay.request.set_body("") end,
  ["response.body"] = function() return forebay.response.body() end,
  ["response.chunk"] = function() return forebay.response.chunk() end,
  ["response.body_chunks"] = function() return forebay.response.body_chunks() end,
  ["response.set_event"] = function() return forebay.response.set_event(nil) end,
  ["response.set_body"] = function() return forebay.response.set_body("") end,
  ["origin.set_pool"] = function() return forebay.origin.set_pool("shop") end,
  ["origin.set_host"] = function() return forebay.origin.set_host("127.0.0.1:1") end,
  ["origin.exclude"] = function() return forebay.origin.exclude("127.0.0.1:1") end,
  ["origin.get"] = function() return forebay.origin.get() end,
  ["origin.stats"] = function() return forebay.origin.stats("shop") end,
  ["scale.hint"] = function() return forebay.scale.hint("shop", "hold", 1, 60) end,
  ["scale.view"] = function() return forebay.scale.view() end,
  ["scale.propose"] = function() return forebay.scale.propose(2, "probed") end,
  ["property.get"] = function() return forebay.property.get("plugin_name") end,
  ["ctx.get"] = function() return forebay.ctx.get("probed") end,
  ["ctx.set"] = function() return forebay.ctx.set("probed", "1") end,
  ["dict.get"] = function() return forebay.dict("probes"):get("a") end,
  ["dict.set"] = function() return forebay.dict("probes"):set("a", "1") end,
  ["queue.push"] = function() return forebay.queue("probes"):push("a") end,
  ["queue.pop"] = function() return forebay.queue("probes"):pop() end,
  ["limit.take"] = function() return forebay.limit.take("probes", "k") end,
  ["tokens.reserve"] = function() return forebay.tokens.reserve("probes", 1) end,
  ["lease.commit"] = function() return forebay.lease.commit({ id = 99 }, 1) end,
  ["lease.release"] = function() return forebay.lease.release({ id = 99 }) end,
  ["dict.add"] = function() return forebay.dict("probes"):add("a", "1") end,
  ["dict.incr"] = function() return forebay.dict("probes"):incr("a") end,
  ["dict.delete"] = function() return forebay.dict("probes"):delete("a") end,
  ["dict.cas"] = function() return forebay.dict("probes"):cas("a", "1", 0) end,
  ["metric.counter"] = function() return forebay.metric.counter("probe_total") end,
  ["metric.gauge"] = function() return forebay.metric.gauge("probe_level") end,
  ["metric.histogram"] = function() return forebay.metric.histogram("probe_bytes") end,
  ["log"] = function() return forebay.log.info("probe says so") end,
  ["trace.span"] = function() return forebay.trace.span("probe") end,
  ["limits.remaining"] = function() return forebay.limits.remaining() end,
  ["secret"] = function() return forebay.secret("billing") end,
  ["secret.hmac"] = function()
    local secret, why = forebay.secret("billing")
    if not secret then return nil, why end
    return secret:hmac("sha256", "data")
  end,
  ["now"] = function() return forebay.now() end,
  ["timer.every"] = function() return forebay.timer.every(0.05) end,
  ["abi.version"] = function() return forebay.abi.version() end,
  ["abi.has"] = function() return forebay.abi.has("now") end,
}
-- Last: in the log these end after the exchange.
local waits = {
  ["http.call"] = function() return forebay.http.call("side", { path = "/" }, { timeout = 1 }) end,
  ["grpc.call"] = function()
    return forebay.grpc.call("side", { service = "test.Echo", method = "Echo", timeout = 1 })
  end,
  ["http.call_all"] = function() return forebay.http.call_all { { "side", {}, { timeout = 1 } } } end,
  ["kv.get"] = function() return forebay.kv("probes"):get("a") end,
  ["kv.set"] = function() return forebay.kv("probes"):set("a", "1") end,
  ["kv.incr"] = function() return forebay.kv("probes"):incr("a") end,
  ["kv.delete"] = function() return forebay.kv("probes"):delete("a") end,
  ["kv.eval"] = function() return forebay.kv("probes"):eval("return 1") end,
  ["sleep"] = function() return forebay.sleep(0.001) end,
}
-- Where it is allowed it does not come back, and nothing after it is tried.
local last = { ["continue"] = function() return forebay.continue() end }
local ends = {
  ["respond"] = function() return forebay.respond(299, {}, "probed") end,
  ["close"] = function() return forebay.close() end,
}

local function try(call, f, argument)
  local fine, value, refusal = pcall(f, argument)
  local code, message = "OK", ""
  if not fine then
    code, message = "RAISED", tostring(type(value) == "table" and value.message or value)
  elseif type(refusal) == "table" and refusal.code then
    code, message = refusal.code, refusal.message
  end
  forebay.log.info("probe " .. phase .. " " .. call .. " " .. code .. " " .. message)
end

local function run(here, with_ends)
  if here ~= phase then return end
  if only then return try(only, ends[only]) end
  for name, map in pairs(maps) do
    for operation, f in pairs(operations) do try(name .. "." .. operation, f, map) end
  end
  for name, f in pairs(others) do try(name, f) end
  if with_ends then for name, f in pairs(ends) do try(name, f) end end
  for name, f in pairs(waits) do try(name, f) end
  for name, f in pairs(last) do try(name, f) end
end

function plugin.on_configure(config)
  phase, only = config:match("^probe (%S+) ?(%S*)")
  if only == "" then only = nil end
  if phase == "background" then forebay.timer.every(0.05) end
  run("start", true)
end
function plugin.on_request_headers() run("request") end
function plugin.on_origin_select() run("origin", true) end
function plugin.on_response_headers() run("response") end
function plugin.on_log() run("log", true) end
local ticked
function plugin.on_tick()
  if not ticked then ticked = true; run("background", true) end
end
function plugin.autoscale()
  if not ticked then ticked = true; run("scale", true) end
end
return plugin
"#;

/// A store for the probe. Nothing answers there: whether it is asked at all is the question.
pub const KV: &str = "kv: [{name: probes, url: \"redis://127.0.0.1:1\", scripts: true}]\n";

pub fn probe(words: &str) -> Plugin {
    plugin("probe", PROBE).words(&format!("probe {words}")).keys(
        "    capabilities: [\"callout:side\", \"dict:probes\", \"kv:probes\", \"limit:probes\", \"queue:probes\", \"secret:billing\", origin.select, \"scale.hint:shop\"]\n    limits: {log_lines: 10000, callouts: 100, cpu: 1s, start_cpu: 5s}",
    )
}

/// What one call got: Lua's code and message, or the number from Wasm.
pub struct Got {
    pub code: String,
    pub message: String,
}

/// Waits for the line about `call`, and reads it.
#[track_caller]
pub fn got(edge: &Edge, phase: &str, call: &str) -> Got {
    let mark = format!("probe {phase} {call} ");
    let line = edge.process.wait_for_log(&[&mark]);
    let rest = &line[line.find(&mark).expect("it has the mark") + mark.len()..];
    let rest = rest.split('"').next().unwrap_or_default();
    let (code, message) = rest.split_once(' ').unwrap_or((rest, ""));
    Got { code: code.to_owned(), message: message.to_owned() }
}

/// One import serves `property.get` everywhere and `ctx.get` where an exchange is: the host
/// cannot tell them apart.
fn allowed(engine: Engine, row: &Hostcall, phase: Phase) -> bool {
    row.phases.contains(phase) || engine == Engine::Wasm && row.lua == "ctx.get"
}

/// Whether a call never comes back to Lua here: one that ends the exchange, or the callback.
fn silent(engine: Engine, row: &Hostcall, phase: Phase) -> bool {
    let ends = matches!(row.lua, "respond" | "close") && matches!(phase, Phase::Request | Phase::Response);
    let continues = row.lua == "continue" && row.phases.contains(phase);
    engine == Engine::Lua && (ends || continues)
}

/// What is wrong with how `row` was answered in a phase, or in the callback of it that `at` names.
pub fn wrong(engine: Engine, edge: &Edge, row: &Hostcall, phase: Phase, at: &str) -> Option<String> {
    if silent(engine, row, phase) {
        let denied = format!("probe {} {} ", phase.name(), row.lua);
        return edge.process.log_has(&denied).then(|| format!("must be allowed: {denied}"));
    }
    let got = got(edge, at, row.lua);
    let seen = format!("{} in {at}: {} {}", row.lua, got.code, got.message);
    let refusal = format!("{}: not in phase {} (only in: {})", row.lua, phase.name(), row.phases.names());
    if allowed(engine, row, phase) {
        let refused = got.code == "PHASE_DENIED" || got.code == "101" || got.code == "RAISED";
        return (refused || edge.process.log_has(&refusal)).then(|| format!("must be allowed: {seen}"));
    }
    // One method of the host serves `get` and `get_all`: the refusal names the first.
    let of_get = refusal.replacen(".get_all:", ".get:", 1);
    let buffer = row.wasm == "proxy_get_buffer_bytes";
    let refused = match engine {
        Engine::Lua => got.code == "PHASE_DENIED" && (got.message == refusal || got.message == of_get),
        // As Envoy answers where there is no such buffer.
        _ if buffer => got.code == "1" || got.code == "2",
        // proxy-wasm has no code of its own for this; ours may use ours.
        _ if row.wasm.starts_with("forebay_") => got.code == "101",
        _ => got.code == "2",
    };
    (!refused).then(|| format!("must be refused with {refusal:?}: {seen}"))
}

#[track_caller]
fn matrix(engine: Engine, phase: Phase) {
    let (shop, side) = (Origin::saying("ok"), Origin::saying("side"));
    let setup = match phase {
        Phase::Scale => scripted(engine, &probe("scale"), &[&shop, &side]),
        _ => setup(&[(engine, probe(phase.name()))], shop.address, Some(side.address)),
    };
    let edge = setup.also(KV).start();
    if !matches!(phase, Phase::Start | Phase::Background | Phase::Scale) {
        assert_eq!(edge.get("/a").status, 200, "refusals end no exchange");
    }
    let ends_here = matches!(phase, Phase::Request | Phase::Response);
    let rows = TABLE.iter().filter(|row| !(ends_here && matches!(row.lua, "respond" | "close")));
    if phase == Phase::Log {
        side.wait_for_requests(1);
    }
    let wrong: Vec<_> = rows.filter_map(|row| wrong(engine, &edge, row, phase, phase.name())).collect();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    assert_eq!(edge.metrics().sum("forebay_plugin_faults_total", &[]), 0.0, "a refusal is no fault");
}

/// An edge and an aggregator, whose pool `shop` has the plugin as a script of its scaling.
fn scripted(engine: Engine, plugin: &Plugin, origins: &[&Origin; 2]) -> Setup {
    let [shop, side] = origins.map(|origin| list(&[origin.address]));
    let name = plugin.name;
    let setup = Setup::new(format!(
        "buckets: [{{name: probes, rate: 1000000}}]\nsecrets: [{{name: billing, file: {SECRET_FILE}}}]\nplugins:\n{}\
         routes: [{{name: all, pool: shop}}]\npools:\n  - name: shop\n    origins: {shop}\n    scaling: {{ceiling: 4, \
         scripts: [{name}], actuator: dry_run}}\n  - {{name: side, origins: {side}}}\n",
        plugin.entry(engine)
    ));
    setup.file(SECRET_FILE, format!("{SECRET}\n")).file(&format!("{name}.lua"), &plugin.lua).with_aggregator()
}

/// `respond` and `close`, which end the exchange where they are allowed.
#[track_caller]
fn ends(engine: Engine, phase: Phase) {
    for call in ["respond", "close"] {
        let shop = Origin::saying("ok");
        let plugin = probe(&format!("{} {call}", phase.name()));
        let edge = setup(&[(engine, plugin)], shop.address, Some(shop.address)).also(KV).start();
        let mut client = edge.connect();
        client.request("GET", "/a", &[], b"");
        match (call, client.try_response()) {
            ("respond", Ok(response)) => assert_eq!((response.status, response.text()), (299, "probed")),
            ("close", Err(_)) => {}
            (_, other) => panic!("{call} in {}: {other:?}", phase.name()),
        }
        let row = TABLE.iter().find(|row| row.lua == call).expect("a row");
        assert_eq!(wrong(engine, &edge, row, phase, phase.name()), None);
    }
}

on_both_engines! {
    fn each_call_in_start_is_as_the_table_says(engine) { matrix(engine, Phase::Start) }
    fn each_call_in_request_is_as_the_table_says(engine) { matrix(engine, Phase::Request); ends(engine, Phase::Request) }
    fn each_call_in_origin_is_as_the_table_says(engine) { matrix(engine, Phase::Origin) }
    fn each_call_in_response_is_as_the_table_says(engine) { matrix(engine, Phase::Response); ends(engine, Phase::Response) }
    fn each_call_in_log_is_as_the_table_says(engine) { matrix(engine, Phase::Log) }
    fn each_call_in_background_is_as_the_table_says(engine) { matrix(engine, Phase::Background) }
    fn each_call_in_scale_is_as_the_table_says(engine) { matrix(engine, Phase::Scale) }
}
