//! Dictionaries: per machine, seen by every worker and by both engines, with versions.

use harness::{Origin, PATIENCE, wait_until};

use crate::pair::{Engine, Plugin, edge, in_every_language, on_both_engines, plugin, setup};

const DICT: &str = r#"
local plugin = {}
local dict = forebay.dict("visits")
function plugin.on_request_headers()
  local tell = forebay.request.headers.set
  local value, version = dict:get("KEY")
  tell("x-seen", value or "nil")
  local next = tostring((tonumber(value) or 0) + 1)
  tell("x-first", dict:set("KEY", next, { version = version }) and "ok" or "refused")
  tell("x-stale", value and dict:set("KEY", "lost", { version = version }) and "ok" or "refused")
end
return plugin
"#;

const CALLS: &str = r#"
local plugin = {}
local words = forebay.dict("words")
function plugin.on_request_headers()
  local all = {}
  local function note(value, why) all[#all + 1] = type(why) == "table" and why.code or tostring(value) end
  note(words:add("k", "1"))
  note(words:add("k", "2"))
  local value, version = words:get("k")
  note(value)
  note(words:cas("k", "3", version))
  note(words:cas("k", "4", version))
  note(words:incr("k", 4))
  note(words:incr("n", 2, { init = 40 }))
  note(words:set("w", "x"))
  note(words:incr("w", 1))
  note(words:delete("k"))
  note(words:get("k"))
  note(forebay.dict("others"):get("k"))
  forebay.request.headers.set("x-said", table.concat(all, " "))
end
return plugin
"#;

const BRIEF: &str = r#"
local plugin = {}
function plugin.on_request_headers()
  local words = forebay.dict("words")
  local ok, why = words:add("brief", "1", { ttl = 1 })
  forebay.request.headers.set("x-said", (ok and "true" or why.code) .. " " .. tostring((words:get("brief"))))
end
return plugin
"#;

/// Writes a hundred entries, and says how many are there then.
const MANY: &str = r#"
local plugin = {}
function plugin.on_request_headers()
  local small, there = forebay.dict("small"), 0
  for i = 100, 199 do small:set("k" .. i, string.rep("v", 36)) end
  for i = 100, 199 do there = there + (small:get("k" .. i) and 1 or 0) end
  forebay.request.headers.set("x-said", tostring(there))
end
return plugin
"#;

/// proxy-wasm's shared data is the dictionary of the plugin's own name; Lua names it.
fn dict(name: &'static str, key: &str) -> Plugin {
    Plugin { name, ..plugin("dict", &DICT.replace("KEY", key)) }
        .words(&format!("dict {key}"))
        .keys("    capabilities: [\"dict:visits\"]")
}

in_every_language! {
    a_value_is_kept_between_exchanges_and_a_stale_write_is_refused,
}

on_both_engines! {
    fn a_value_is_kept_between_exchanges_and_a_stale_write_is_refused(engine) {
        let origin = Origin::saying("ok");
        let edge = setup(&[(engine, dict("visits", "a"))], origin.address, None).workers(2).start();
        for seen in ["nil", "1", "2", "3"] {
            // A connection each: both workers take some.
            assert_eq!(edge.get("/a").status, 200);
            let told = origin.last().headers;
            assert_eq!((told.get("x-seen"), told.get("x-first")), (Some(seen), Some("ok")));
            assert_eq!(told.get("x-stale"), Some("refused"), "its version has moved on");
        }
    }

    fn each_call_says_what_it_found(engine) {
        let origin = Origin::saying("ok");
        let plugin = plugin("dict_calls", CALLS).keys("    capabilities: [\"dict:words\"]");
        let edge = edge(engine, plugin, &origin);
        assert_eq!(edge.get("/a").status, 200);
        let wanted = "true CAS_MISMATCH 1 true CAS_MISMATCH 7 42 true BAD_ARGUMENT true nil CAPABILITY_DENIED";
        assert_eq!(origin.last().headers.get("x-said"), Some(wanted));
    }

    fn a_value_is_gone_after_its_time_for_both_workers(engine) {
        let origin = Origin::saying("ok");
        let plugin = plugin("dict_brief", BRIEF).keys("    capabilities: [\"dict:words\"]");
        let edge = setup(&[(engine, plugin)], origin.address, None).workers(2).start();
        let added = || {
            assert_eq!(edge.get("/a").status, 200);
            let said = origin.last().headers.get("x-said").map(str::to_owned);
            assert!(matches!(said.as_deref(), Some("true 1" | "CAS_MISMATCH 1" | "CAS_MISMATCH nil")), "{said:?}");
            said.as_deref() == Some("true 1")
        };
        assert!(added(), "nothing was there");
        // Until then it is refused, which is no failure of the exchange.
        wait_until("the value's end", PATIENCE, || added().then_some(()));
    }

    fn a_dictionary_keeps_to_its_bytes_and_operators_see_it(engine) {
        let origin = Origin::saying("ok");
        let many = plugin("dict_many", MANY).keys("    capabilities: [\"dict:small\"]\n    limits: {cpu: 1s}");
        let setup = setup(&[(engine, many)], origin.address, None);
        let edge = setup.also("dicts: [{name: small, bytes: 4KiB}]\n").start();
        assert_eq!(edge.get("/a").status, 200);
        // Each entry has 4 bytes of key, 36 of value and 64 of its own: 39 of them fit.
        assert_eq!(origin.last().headers.get("x-said"), Some("39"));
        let metrics = edge.metrics();
        let of = |name: &str| metrics.sum(name, &["dict=\"small\""]);
        assert_eq!(of("forebay_dict_entries"), 39.0);
        assert_eq!(of("forebay_dict_bytes"), 39.0 * 104.0);
        assert_eq!(of("forebay_dict_evictions_total"), 61.0);
    }

    fn the_other_engine_sees_the_same_dictionary(engine) {
        let origin = Origin::saying("ok");
        // The engine under test comes first in the chain.
        let mut chain = [(Engine::Wasm, dict("visits", "b")), (Engine::Lua, dict("other", "b"))];
        if engine == Engine::Lua {
            chain.reverse();
        }
        let edge = setup(&chain, origin.address, None).start();
        // Both count on the same value: each exchange adds two, and the second one tells.
        for seen in ["1", "3", "5"] {
            assert_eq!(edge.get("/a").status, 200);
            assert_eq!(origin.last().headers.get("x-seen"), Some(seen));
        }
    }
}
