//! Dictionaries: per machine, seen by every worker and by both engines, with versions.

use harness::Origin;

use crate::pair::{Engine, Plugin, on_both_engines, plugin, setup};

const DICT: &str = r#"
local plugin = {}
local dict = forebay.dict("visits")
function plugin.on_request_headers()
  local tell = forebay.request.headers.set
  local value, version = dict:get("KEY")
  tell("x-seen", value or "nil")
  local next = tostring((tonumber(value) or 0) + 1)
  tell("x-first", dict:set("KEY", next, version) and "ok" or "refused")
  tell("x-stale", value and dict:set("KEY", "lost", version) and "ok" or "refused")
end
return plugin
"#;

/// proxy-wasm's shared data is the dictionary of the plugin's own name; Lua names it.
fn dict(name: &'static str, key: &str) -> Plugin {
    Plugin { name, ..plugin("dict", &DICT.replace("KEY", key)) }
        .words(&format!("dict {key}"))
        .keys("    capabilities: [\"dict:visits\"]")
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
