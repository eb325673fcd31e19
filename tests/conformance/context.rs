//! What an exchange knows of itself, and what plugins of one chain leave for each other.

use harness::Origin;

use crate::pair::{Engine, edge, in_every_language, on_both_engines, plugin, setup};

const PROPERTY: &str = r#"
local plugin = {}
function plugin.on_request_headers()
  local function tell(name, path)
    forebay.request.headers.set(name, tostring((forebay.property.get(path))))
  end
  tell("x-p-path", "request.path")
  tell("x-p-method", "request.method")
  tell("x-p-host", "request.host")
  tell("x-p-none", "no.such")
end
return plugin
"#;

const SET: &str = r#"
local plugin = {}
function plugin.on_request_headers()
  forebay.ctx.set("greeting", "hello", { shared = true })
end
return plugin
"#;

const GET: &str = r#"
local plugin = {}
function plugin.on_request_headers()
  forebay.request.headers.set("x-greeting", tostring((forebay.ctx.get("greeting"))))
  forebay.request.headers.set("x-nothing", tostring((forebay.ctx.get("nothing"))))
end
return plugin
"#;

/// One plugin leaves a word, a later one of the same chain finds it; another exchange does not.
fn a_word_is_left(from: Engine, to: Engine) {
    let origin = Origin::saying("ok");
    let chain = [(from, plugin("ctx_set", SET)), (to, plugin("ctx_get", GET))];
    let edge = setup(&chain, origin.address, None).start();
    assert_eq!(edge.get("/a").status, 200);
    let told = origin.last().headers;
    assert_eq!((told.get("x-greeting"), told.get("x-nothing")), (Some("hello"), Some("nil")));
    // The other way round: nobody has set it before this one asks.
    let chain = [(to, plugin("ctx_get", GET)), (from, plugin("ctx_set", SET))];
    let edge = setup(&chain, origin.address, None).start();
    for _ in 0..2 {
        edge.get("/b");
        assert_eq!(origin.last().headers.get("x-greeting"), Some("nil"), "nothing is left for other exchanges");
    }
}

in_every_language! {
    properties_are_read_by_their_path,
    a_later_plugin_finds_what_an_earlier_one_left,
    a_plugin_of_the_other_engine_finds_it_too,
}

on_both_engines! {
    fn properties_are_read_by_their_path(engine) {
        let origin = Origin::saying("ok");
        let edge = edge(engine, plugin("property_get", PROPERTY), &origin);
        let mut client = edge.connect();
        client.request("PUT", "/a?b=c", &[("Host", "shop.test")], b"");
        assert_eq!(client.response().status, 200);
        let told = origin.last().headers;
        assert_eq!(told.get("x-p-path"), Some("/a?b=c"));
        assert_eq!(told.get("x-p-method"), Some("PUT"));
        assert_eq!(told.get("x-p-host"), Some("shop.test"));
        assert_eq!(told.get("x-p-none"), Some("nil"));
    }

    fn a_later_plugin_finds_what_an_earlier_one_left(engine) {
        a_word_is_left(engine, engine);
    }

    fn a_plugin_of_the_other_engine_finds_it_too(engine) {
        let other = if engine == Engine::Lua { Engine::Wasm } else { Engine::Lua };
        a_word_is_left(engine, other);
    }
}
