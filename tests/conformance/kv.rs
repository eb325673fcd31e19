//! Key-value stores: on a real Redis server, in both engines.

use harness::redis::Reply;
use harness::{Origin, PATIENCE, Redis, wait_until};

use crate::pair::{Plugin, on_both_engines, plugin, setup};

const KV: &str = r#"
local plugin = {}
local how
local main = forebay.kv("main")
local KEY, VALUE = "key\0\255\r\n", "\0value\255\r\n"

local function escape(text)
  return (text:gsub("[%c\128-\255]", function(c)
    local names = { ["\r"] = "\\r", ["\n"] = "\\n" }
    return names[c] or ("\\x%02x"):format(c:byte())
  end))
end
local function show(value, why)
  if why then return why.code end
  if type(value) == "table" then
    local all = {}
    for i, item in ipairs(value) do all[i] = show(item) end
    return "[" .. table.concat(all, ",") .. "]"
  end
  return type(value) == "string" and escape(value) or tostring(value)
end

local function all()
  local minute = { ttl = 60 }
  return table.concat({
    show(main:get(KEY)), show(main:set(KEY, VALUE, minute)), show(main:get(KEY)),
    show(main:incr("count")), show(main:incr("count", -43, minute)), show(main:incr(KEY, 1, minute)),
    show(main:delete(KEY)), show(main:delete(KEY)),
    show(main:eval(
      "return {KEYS[1], ARGV[1], redis.call('GET', KEYS[2]), {1, {'deep', {}}}, redis.call('GET', 'none')}",
      { "k", "count" }, { "\255" })),
    show(main:eval("return redis.call('NONSENSE')")),
    show(main:set(KEY, VALUE, { ttl = 0 })),
  }, "|")
end

function plugin.on_configure(words) how = words:match("^kv (%S+)") end
function plugin.on_request_headers()
  local tell = forebay.request.headers.set
  if how == "all" then
    tell("x-kv", all())
  elseif how == "get" then
    tell("x-kv", show(main:get("k")))
  elseif how == "spend" then
    while true do main:get("k") end
  end
end
function plugin.on_response_headers()
  if how == "response" then forebay.response.headers.set("x-seen", show(main:incr("seen"))) end
end
function plugin.on_log()
  if how == "log" then main:incr("logged") end
end
return plugin
"#;

fn kv(how: &str) -> Plugin {
    plugin("kv", KV).words(&format!("kv {how}")).keys("    capabilities: [\"kv:main\"]")
}

/// Of the region file: the store `main` there, with more keys.
fn store(redis: &Redis, keys: &str) -> String {
    format!("kv: [{{name: main, url: \"{}\", timeout: 20s{keys}}}]\n", redis.url())
}

on_both_engines! {
    fn each_call_does_what_it_says_with_any_bytes(engine) {
        let (origin, redis) = (Origin::saying("ok"), Redis::start());
        let keys = store(&redis, ", scripts: true, prefix: \"p:\"");
        let edge = setup(&[(engine, kv("all"))], origin.address, None).also(&keys).start();
        redis.ask(&["SET", "p:count", "41"]);
        assert_eq!(edge.get("/a").status, 200);
        assert_eq!(
            origin.last().headers.get("x-kv"),
            Some("nil|true|\\x00value\\xff\\r\\n|42|-1|BAD_ARGUMENT|true|false|\
                  [p:k,\\xff,-1,[1,[deep,[]]],false]|BAD_ARGUMENT|BAD_ARGUMENT")
        );
        let Reply::Int(left) = redis.ask(&["PTTL", "p:count"]) else { panic!("a time to live") };
        assert!((1..=60_000).contains(&left), "{left} ms");
        assert_eq!(redis.ask(&["DBSIZE"]), Reply::Int(1), "nothing stands beside the prefix, nor what was deleted");
        let calls = |call: &str, outcome: &str| {
            let labels = [format!("call=\"{call}\""), format!("outcome=\"{outcome}\"")];
            edge.metrics().sum("forebay_kv_calls_total", &["kv=\"main\"", &labels[0], &labels[1]])
        };
        assert_eq!((calls("kv.get", "ok"), calls("kv.incr", "ok"), calls("kv.incr", "refused")), (2.0, 2.0, 1.0));
        assert_eq!(edge.metrics().sum("forebay_kv_breaker_open", &["kv=\"main\""]), 0.0);
    }

    fn a_key_is_written_as_it_is(engine) {
        let (origin, redis) = (Origin::saying("ok"), Redis::start());
        let edge = setup(&[(engine, kv("get"))], origin.address, None).also(&store(&redis, "")).start();
        for (value, shown) in [(&b"\0\xff"[..], "\\x00\\xff"), (b"", ""), (b"plain", "plain")] {
            redis.ask_bytes(&[b"SET", b"k", value]);
            assert_eq!(edge.get("/a").status, 200);
            assert_eq!(origin.last().headers.get("x-kv"), Some(shown));
        }
        redis.ask(&["DEL", "k"]);
        assert_eq!(edge.get("/a").status, 200);
        assert_eq!(origin.last().headers.get("x-kv"), Some("nil"), "what is missing is no error");
        redis.ask(&["LPUSH", "k", "1"]);
        assert_eq!(edge.get("/a").status, 200);
        assert_eq!(origin.last().headers.get("x-kv"), Some("BAD_ARGUMENT"), "a list is no value");
    }

    fn the_response_waits_for_a_store_and_the_log_does_not(engine) {
        let (origin, redis) = (Origin::saying("ok"), Redis::start());
        let edge = setup(&[(engine, kv("response"))], origin.address, None).also(&store(&redis, "")).start();
        for seen in ["1", "2"] {
            assert_eq!(edge.get("/a").header("x-seen"), Some(seen));
        }
        let edge = setup(&[(engine, kv("log"))], origin.address, None).also(&store(&redis, "")).start();
        assert_eq!(edge.get("/a").status, 200);
        wait_until("what the log has asked", PATIENCE, || {
            (redis.ask(&["GET", "logged"]) == Reply::Bytes("1".into())).then_some(())
        });
    }

    fn more_calls_than_the_limit_are_callout(engine) {
        let (origin, redis) = (Origin::saying("ok"), Redis::start());
        let plugin = kv("spend").keys("    limits: {kv_calls: 5}");
        let edge = setup(&[(engine, plugin)], origin.address, None).also(&store(&redis, "")).start();
        assert_eq!(edge.get("/a").status, 503);
        assert_eq!(edge.metrics().sum("forebay_plugin_faults_total", &["verdict=\"CALLOUT\""]), 1.0);
        assert_eq!(origin.requests(), 0);
        assert_eq!(edge.metrics().sum("forebay_kv_calls_total", &["outcome=\"ok\""]), 5.0, "and not one more is asked");
    }

    fn a_store_that_was_not_granted_is_not_reached(engine) {
        let (origin, redis) = (Origin::saying("ok"), Redis::start());
        redis.ask(&["SET", "k", "secret"]);
        let keys = format!("{}  - {{name: other, url: \"{}\"}}\n", "kv:\n", redis.url());
        let keys = format!("{keys}  - {{name: main, url: \"{}\"}}\n", redis.url());
        let plugin = Plugin { keys: "    capabilities: [\"kv:other\"]\n".to_owned(), ..kv("get") };
        let edge = setup(&[(engine, plugin)], origin.address, None).also(&keys).start();
        let before = redis.info("total_commands_processed");
        assert_eq!(edge.get("/a").status, 200);
        assert_eq!(origin.last().headers.get("x-kv"), Some("CAPABILITY_DENIED"));
        assert_eq!(redis.info("total_commands_processed"), before + 1, "only this question was asked");
    }

    fn a_store_takes_no_scripts_unless_it_says_so(engine) {
        let (origin, redis) = (Origin::saying("ok"), Redis::start());
        let edge = setup(&[(engine, kv("all"))], origin.address, None).also(&store(&redis, "")).start();
        assert_eq!(edge.get("/a").status, 200);
        let told = origin.last();
        let told: Vec<_> = told.headers.get("x-kv").expect("it was told").split('|').collect();
        assert_eq!(told[8..10], ["CAPABILITY_DENIED", "CAPABILITY_DENIED"]);
    }
}
