//! What a plugin can ask about the ABI itself.

use harness::Origin;

use crate::pair::{edge, on_both_engines, plugin};

const ABI: &str = r#"
local plugin = {}
function plugin.on_request_headers()
  local tell = forebay.request.headers.set
  tell("x-version", tostring(forebay.abi.version()))
  tell("x-has", forebay.abi.has("request.headers.get") and "yes" or "no")
  tell("x-has-not", forebay.abi.has("no.such") and "yes" or "no")
end
return plugin
"#;

on_both_engines! {
    fn a_plugin_learns_the_version_and_which_calls_exist(engine) {
        let origin = Origin::saying("ok");
        let edge = edge(engine, plugin("abi", ABI), &origin);
        assert_eq!(edge.get("/a").status, 200);
        let told = origin.last().headers;
        assert_eq!(told.get("x-version"), Some(abi::hostcall::VERSION.to_string().as_str()));
        assert_eq!((told.get("x-has"), told.get("x-has-not")), (Some("yes"), Some("no")));
    }
}
