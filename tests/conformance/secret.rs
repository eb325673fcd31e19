//! Secrets: used in callouts and as keys, and shown by nothing.

use harness::{Edge, Origin, PATIENCE, wait_until};

use crate::pair::{Engine, Plugin, SECRET, SECRET_FILE, on_both_engines, plugin, setup};

const USE: &str = r#"
local plugin = {}
local function hex(bytes)
  return (bytes:gsub(".", function(c) return string.format("%02x", c:byte()) end))
end
local how
function plugin.on_configure(words) how = words:match("%S+$") end

local function call(headers)
  local answer, why = forebay.http.call("side", { path = "/side", headers = headers })
  forebay.request.headers.set("x-status", answer and tostring(answer.status) or "refused")
end

local ways = {}
function ways.use(key)
  local tell = forebay.request.headers.set
  if key then
    tell("x-hmac", hex(key:hmac("sha256", "data")))
    tell("x-none", select(2, key:hmac("sha1", "data")).code)
    call { authorization = "Bearer " .. key, ["x-key"] = key, ["x-list"] = { "a", key } }
  end
end
-- Every way to a text that there is. What comes of each is told to whoever looks.
function ways.leak(key)
  local seen = {}
  local function tell(text)
    seen[#seen + 1] = tostring(text)
    forebay.log.info("leak " .. tostring(text))
  end
  tell(key)
  tell("Bearer " .. key)
  tell(string.format("%s %s", key, "Bearer " .. key))
  for name, value in pairs(key) do tell(name); tell(value) end
  tell(#key); tell(key.name); tell(key.value); tell(key[1]); tell(getmetatable(key)); tell(rawget(key, "text"))
  for _, try in ipairs {
    function() return key .. "behind" end,
    function() return table.concat({ key }) end,
    function() return tostring(key):upper() end,
    function() return forebay.request.headers.set("x-mark", key) end,
    function() return forebay.request.headers.add("x-mark", "Bearer " .. key) end,
    function() return forebay.ctx.set("key", key, { shared = true }) end,
    function() return forebay.dict("secret"):set("key", key) end,
    function() return forebay.metric.counter("c", { key = key }) end,
    function() return forebay.metric.counter(key) end,
    function() return require("forebay.json").encode(key) end,
    function() return require("forebay.json").encode({ key = key }) end,
    function() return key:hmac("sha256", key) end,
    function() return forebay.http.call("side", { path = "/" .. key }) end,
    function() return forebay.http.call("side", { body = key }) end,
    function() return forebay.http.call(key, {}) end,
    function() return forebay.respond(500, { ["x-mark"] = key }) end,
    function() return forebay.respond(500, { ["x-mark"] = { key } }, key) end,
    function() return error(key) end,
  } do
    local fine, value, why = pcall(try)
    tell(value)
    tell(type(why) == "table" and why.message or why)
  end
  forebay.ctx.set("key", key)
  tell(forebay.ctx.get("key"))
  forebay.log.info("leak fields", { key = key })
  forebay.respond(500, { ["x-seen"] = "yes" }, table.concat(seen, "\n"))
end
function ways.share() end
function ways.steal() call { ["x-key"] = "forebay-secret-" .. ("0"):rep(32) } end
-- Its end is a fault, whose report has the error and the traceback.
function ways.raise(key) error(key) end

function plugin.on_request_headers()
  local key, why = forebay.secret("billing")
  if not key then forebay.request.headers.set("x-refused", why.code) end
  ways[how](key)
end
return plugin
"#;

const GRANTS: &str = "    capabilities: [\"callout:side\", \"secret:billing\"]";

fn uses(how: &str) -> Plugin {
    plugin("secret", USE).words(&format!("secret {how}"))
}

/// Nowhere where a client, an operator or another plugin looks.
#[track_caller]
fn nothing_shows_it(edge: &Edge) {
    for view in ["/config", "/plugins", "/metrics", "/"] {
        assert!(!edge.admin(view).text().contains(SECRET), "{view}");
    }
    assert!(edge.admin("/config").text().contains(SECRET_FILE), "where it comes from is said");
    assert!(!edge.process.log_has(SECRET), "the log");
}

/// Whether a request's head holds the value.
fn has_seen(origin: &Origin) -> bool {
    format!("{:?}", origin.seen()).contains(SECRET)
}

on_both_engines! {
    fn a_secret_stands_in_the_headers_of_a_callout(engine) {
        let (shop, side) = (Origin::saying("ok"), Origin::saying("there"));
        let edge = setup(&[(engine, uses("use").keys(GRANTS))], shop.address, Some(side.address)).start();
        assert_eq!(edge.get("/a").status, 200);
        let asked = side.last().headers;
        assert_eq!(asked.get("authorization"), Some(format!("Bearer {SECRET}").as_str()));
        assert_eq!(asked.get("x-key"), Some(SECRET));
        let list: Vec<_> = asked.0.iter().filter(|(name, _)| name == "x-list").map(|(_, value)| value.as_str()).collect();
        assert_eq!(list, ["a", SECRET]);
        assert_eq!(shop.last().headers.get("x-status"), Some("200"));
        assert!(!has_seen(&shop), "the origin of the exchange sees nothing of it");
        nothing_shows_it(&edge);
    }

    fn a_digest_is_keyed_by_the_secret(engine) {
        let (shop, side) = (Origin::saying("ok"), Origin::saying("there"));
        let edge = setup(&[(engine, uses("use").keys(GRANTS))], shop.address, Some(side.address)).start();
        assert_eq!(edge.get("/a").status, 200);
        let told = shop.last().headers;
        let digest = "8b8871dd64facaa4de7cc1eb0fa5da1ceee86ec0d12ca7df6fcba329c1b4fd9c";
        assert_eq!(told.get("x-hmac"), Some(digest), "HMAC-SHA256 of \"data\"");
        assert_eq!(told.get("x-none"), Some("BAD_ARGUMENT"), "there is no such algorithm here");
    }

    fn a_secret_that_was_not_granted_is_refused(engine) {
        let (shop, side) = (Origin::saying("ok"), Origin::saying("there"));
        let plugin = uses("use").keys("    capabilities: [\"callout:side\"]");
        let edge = setup(&[(engine, plugin)], shop.address, Some(side.address)).start();
        assert_eq!(edge.get("/a").status, 200);
        assert_eq!(shop.last().headers.get("x-refused"), Some("CAPABILITY_DENIED"));
        assert!(!has_seen(&side), "nobody was sent it");
        nothing_shows_it(&edge);
    }

    fn no_way_to_read_a_secret_leads_to_it(engine) {
        let (shop, side) = (Origin::saying("ok"), Origin::saying("there"));
        let edge = setup(&[(engine, uses("leak").keys(GRANTS))], shop.address, Some(side.address)).start();
        let response = edge.get("/a");
        assert_eq!(response.status, 500, "it came to its end");
        assert!(!format!("{response:?}").contains(SECRET) && !response.text().contains(SECRET));
        assert_eq!(side.requests(), 0, "no callout was made of it");
        assert!(!has_seen(&shop));
        edge.process.wait_for_log(&["leak"]);
        nothing_shows_it(&edge);
    }

    fn what_stands_for_a_secret_is_only_text_to_another_plugin(engine) {
        let (shop, side) = (Origin::saying("ok"), Origin::saying("there"));
        let mut thief = plugin("thief", USE).words("secret steal").keys("    capabilities: [\"callout:side\"]");
        thief.lua = thief.lua.replace("forebay.secret(\"billing\")", "true");
        let owner = uses("share").keys(GRANTS);
        let edge = setup(&[(engine, owner), (engine, thief)], shop.address, Some(side.address)).start();
        assert_eq!(edge.get("/a").status, 200);
        let key = side.last().headers.get("x-key").map(str::to_owned);
        assert!(key.is_some_and(|key| key.starts_with("forebay-secret-")), "the mark went out as it is");
        assert!(!has_seen(&side));
        nothing_shows_it(&edge);
    }

    fn a_reload_brings_the_value_that_the_file_has_then(engine) {
        let (shop, side) = (Origin::saying("ok"), Origin::saying("there"));
        let edge = setup(&[(engine, uses("use").keys(GRANTS))], shop.address, Some(side.address)).start();
        assert_eq!(edge.get("/a").status, 200);
        assert_eq!(side.last().headers.get("x-key"), Some(SECRET));
        edge.folder().write(SECRET_FILE, "another-one");
        edge.process.signal("HUP");
        wait_until("the new value", PATIENCE, || {
            assert_eq!(edge.get("/a").status, 200);
            (side.last().headers.get("x-key") == Some("another-one")).then_some(())
        });
        nothing_shows_it(&edge);
    }
}

/// Lua alone: a trap of a guest has no value.
#[test]
fn a_secret_that_is_raised_is_not_in_the_report_of_the_fault() {
    let (shop, side) = (Origin::saying("ok"), Origin::saying("there"));
    let plugin = uses("raise").keys(GRANTS);
    let edge = setup(&[(crate::pair::Engine::Lua, plugin)], shop.address, Some(side.address)).start();
    assert_eq!(edge.get("/a").status, 503);
    edge.process.wait_for_log(&["forebay::fault", "an error value that is a table"]);
    nothing_shows_it(&edge);
}

#[test]
fn a_secret_goes_to_no_target_but_its_own() {
    let (shop, side) = (Origin::saying("ok"), Origin::saying("there"));
    let plugin = uses("use").keys(GRANTS);
    let region = format!(
        "secrets: [{{name: billing, file: {SECRET_FILE}, targets: [shop]}}]\nplugins:\n{}routes:\n  - name: all\n    \
         plugins: [secret]\n    pool: shop\npools:\n  - name: shop\n    origins: {}\n  - name: side\n    origins: {}\n",
        plugin.entry(crate::pair::Engine::Lua),
        harness::list(&[shop.address]),
        harness::list(&[side.address]),
    );
    let setup = harness::Setup::new(region).file(SECRET_FILE, SECRET).file("secret.lua", &plugin.lua);
    let edge = setup.start();
    assert_eq!(edge.get("/a").status, 200);
    assert_eq!(shop.last().headers.get("x-status"), Some("refused"));
    assert_eq!(side.requests(), 0);
    nothing_shows_it(&edge);
}

#[test]
fn the_version_that_stands_in_has_the_value_that_the_file_has_then() {
    let (shop, side) = (Origin::saying("ok"), Origin::saying("there"));
    let keys = format!(
        "{GRANTS}\n    on_fault: last_good\n    crash_budget: {{faults: 2, within: 1h, back_off: 1h, most: 1h}}"
    );
    let setup = setup(&[(Engine::Lua, uses("use").keys(&keys))], shop.address, Some(side.address));
    let mut edge = setup.workers(2).start();
    edge.process.expect_error("forebay-secret-");
    assert_eq!(edge.get("/a").status, 200);
    assert_eq!(side.last().headers.get("x-key"), Some(SECRET));
    // A version that fails in every exchange: the one before it takes over.
    let file = edge.folder().path().join("region.yaml");
    let text = std::fs::read_to_string(&file).expect("it is there").replace("secret use", "secret raise");
    edge.folder().write("region.yaml", text);
    edge.process.signal("HUP");
    wait_until("the version that fails", PATIENCE, || {
        assert_eq!(edge.get("/a").status, 200);
        (edge.metrics().sum("forebay_plugin_faults_total", &["plugin=\"secret\""]) >= 2.0).then_some(())
    });
    let asked = side.seen().len();
    assert_eq!(edge.get("/a").status, 200);
    assert_eq!((side.seen().len(), side.last().headers.get("x-key")), (asked + 1, Some(SECRET)));
    let digest = shop.last().headers.get("x-hmac").expect("it keys a digest").to_owned();
    edge.folder().write(SECRET_FILE, "another-one");
    edge.process.signal("HUP");
    wait_until("the new value", PATIENCE, || {
        assert_eq!(edge.get("/a").status, 200);
        (side.last().headers.get("x-key") == Some("another-one")).then_some(())
    });
    for _ in 0..10 {
        assert_eq!(edge.get("/a").status, 200);
        assert_eq!(side.last().headers.get("x-key"), Some("another-one"), "on both workers");
        assert_ne!(shop.last().headers.get("x-hmac"), Some(&*digest));
    }
    nothing_shows_it(&edge);
}
