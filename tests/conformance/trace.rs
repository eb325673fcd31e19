//! Spans: lines of the log that belong to the request's trace, which goes on to origin and callouts.

use harness::{Edge, Origin};
use serde_json::Value;

use crate::pair::{Engine, Plugin, on_both_engines, plugin, setup};

const TRACE: &str = r#"
local plugin = {}
local how
function plugin.on_configure(words) how = words:match("%S+$") end
function plugin.on_request_headers()
  local work, inner
  if how ~= "none" then
    work = assert(forebay.trace.span("work"))
    work:set("user", "ann")
    work:set("tries", 1)
    work:set("tries", 2)
    if how == "open" then return end
    inner = forebay.trace.span("inner")
  end
  forebay.http.call("side", { path = "/side" })
  if work then
    inner:finish()
    work:finish()
    assert(select(2, work:set("late", 1)).code == "NOT_FOUND")
  end
end
return plugin
"#;

const ID: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const ABOVE: &str = "00f067aa0ba902b7";

fn traced(how: &str) -> Plugin {
    plugin("trace", TRACE).words(&format!("trace {how}")).keys("    capabilities: [\"callout:side\"]")
}

struct Scene {
    shop: Origin,
    side: Origin,
    edge: Edge,
}

impl Scene {
    fn new(engine: Engine, how: &str) -> Scene {
        let (shop, side) = (Origin::saying("ok"), Origin::saying("there"));
        let edge = setup(&[(engine, traced(how))], shop.address, Some(side.address)).start();
        Scene { shop, side, edge }
    }

    #[track_caller]
    fn get(&self, headers: &[(&str, &str)]) {
        let mut client = self.edge.connect();
        client.request("GET", "/a", headers, b"");
        assert_eq!(client.response().status, 200);
    }

    /// The line of a span.
    #[track_caller]
    fn span(&self, name: &str) -> Value {
        let line = self.edge.process.wait_for_log(&["forebay::trace", &format!("\"message\":\"{name}\"")]);
        serde_json::from_str(&line).expect("a line is JSON")
    }
}

fn text<'a>(line: &'a Value, key: &str) -> &'a str {
    line[key].as_str().unwrap_or_else(|| panic!("no {key} in {line}"))
}

/// Trace, parent and flags of a `traceparent`.
#[track_caller]
fn parts(value: Option<&str>) -> (String, String, String) {
    let value = value.expect("a traceparent is sent");
    let parts: Vec<_> = value.split('-').collect();
    let ["00", id, parent, flags] = parts[..] else { panic!("{value}") };
    (id.to_owned(), parent.to_owned(), flags.to_owned())
}

on_both_engines! {
    fn spans_belong_to_the_trace_of_the_request(engine) {
        let scene = Scene::new(engine, "use");
        let above = format!("00-{ID}-{ABOVE}-01");
        scene.get(&[("traceparent", &above), ("tracestate", "a=1")]);
        let (work, inner) = (scene.span("work"), scene.span("inner"));
        assert_eq!((text(&work, "trace_id"), text(&work, "parent_id")), (ID, ABOVE));
        assert_eq!((text(&inner, "trace_id"), text(&inner, "parent_id")), (ID, text(&work, "span_id")));
        assert_eq!(work["fields"], serde_json::json!({ "user": "ann", "tries": 2 }));
        assert_eq!((text(&work, "plugin"), work["finished"].as_bool()), ("trace", Some(true)));
        let lasted = |line: &Value| line["duration_ms"].as_f64().expect("a number");
        assert!(lasted(&work) >= lasted(&inner) && lasted(&inner) > 0.0, "{work} {inner}");
        assert!(work["start"].as_f64().is_some_and(|start| start > 1.7e9), "{work}");
        let asked = scene.side.last().headers;
        let (id, parent, flags) = parts(asked.get("traceparent"));
        assert_eq!((id.as_str(), parent.as_str(), flags.as_str()), (ID, text(&inner, "span_id"), "01"));
        assert_eq!(asked.get("tracestate"), Some("a=1"));
        // Both spans have ended when the request goes on.
        assert_eq!(scene.shop.last().headers.get("traceparent"), Some(above.as_str()));
    }

    fn a_trace_is_begun_where_the_request_has_none(engine) {
        let scene = Scene::new(engine, "use");
        scene.get(&[("traceparent", "00-nonsense")]);
        let (work, inner) = (scene.span("work"), scene.span("inner"));
        assert!(work["parent_id"].is_null(), "the first of its trace: {work}");
        assert_eq!(text(&inner, "trace_id"), text(&work, "trace_id"));
        let (id, parent, flags) = parts(scene.side.last().headers.get("traceparent"));
        assert_eq!((id.as_str(), parent.as_str(), flags.as_str()), (text(&work, "trace_id"), text(&inner, "span_id"), "01"));
        let (id, parent, _) = parts(scene.shop.last().headers.get("traceparent"));
        assert_eq!((id.as_str(), parent.as_str()), (text(&work, "trace_id"), text(&work, "span_id")));
        scene.get(&[]);
        let (other, ..) = parts(scene.shop.last().headers.get("traceparent"));
        assert_ne!(other, id, "each exchange has its own");
    }

    fn a_trace_that_is_not_sampled_goes_on_without_lines(engine) {
        let scene = Scene::new(engine, "use");
        scene.get(&[("traceparent", &format!("00-{ID}-{ABOVE}-00"))]);
        let (id, _, flags) = parts(scene.side.last().headers.get("traceparent"));
        assert_eq!((id.as_str(), flags.as_str()), (ID, "00"));
        scene.edge.access_line("/a");
        assert!(!scene.edge.process.log_has("forebay::trace"));
    }

    fn a_span_that_was_not_finished_ends_with_its_exchange(engine) {
        let scene = Scene::new(engine, "open");
        scene.get(&[]);
        let work = scene.span("work");
        assert_eq!(work["finished"].as_bool(), Some(false), "{work}");
        let (id, parent, _) = parts(scene.shop.last().headers.get("traceparent"));
        assert_eq!((id.as_str(), parent.as_str()), (text(&work, "trace_id"), text(&work, "span_id")));
    }

    fn a_callout_carries_the_requests_trace_without_any_span(engine) {
        let scene = Scene::new(engine, "none");
        let above = format!("00-{ID}-{ABOVE}-01");
        scene.get(&[("traceparent", &above)]);
        assert_eq!(scene.side.last().headers.get("traceparent"), Some(above.as_str()));
        scene.get(&[]);
        assert_eq!(scene.side.last().headers.get("traceparent"), None, "none is made up");
        assert_eq!(scene.shop.last().headers.get("traceparent"), None);
    }
}
