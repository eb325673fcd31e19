//! Answers without an origin, and ends without an answer.

use harness::Origin;

use crate::pair::{edge, in_every_language, on_both_engines, plugin};

const RESPOND: &str = r#"
local plugin = {}
function plugin.on_request_headers()
  forebay.respond(403, { ["x-why"] = { "told", "twice" } }, "no entry")
end
return plugin
"#;

const RESPOND_LATE: &str = r#"
local plugin = {}
function plugin.on_response_headers()
  forebay.respond(418, { ["x-why"] = "late" }, "another")
end
return plugin
"#;

const CONTINUE: &str = r#"
local plugin = {}
local function deep(n)
  if n == 0 then forebay.continue() end
  pcall(coroutine.wrap(function() deep(n - 1) end))
  forebay.respond(500, {}, "not reached")
end
function plugin.on_request_headers()
  forebay.request.headers.set("x-before", "yes")
  deep(5)
  forebay.request.headers.set("x-after", "yes")
end
return plugin
"#;

const CLOSE: &str = r#"
local plugin = {}
function plugin.on_request_headers()
  forebay.close()
end
return plugin
"#;

in_every_language! {
    a_plugin_answers_in_place_of_the_origin,
    a_plugin_answers_in_place_of_what_the_origin_said,
    a_plugin_lets_its_side_go_on_from_within,
    a_plugin_ends_an_exchange_without_an_answer,
}

on_both_engines! {
    fn a_plugin_answers_in_place_of_the_origin(engine) {
        let origin = Origin::saying("never");
        let edge = edge(engine, plugin("respond", RESPOND), &origin);
        let mut client = edge.connect();
        for body in [&b""[..], b"a body that nobody reads"] {
            client.request("POST", "/a", &[], body);
            let response = client.response();
            assert_eq!((response.status, response.text()), (403, "no entry"));
            assert_eq!(response.headers.all("x-why"), ["told", "twice"]);
            assert_eq!(response.header("content-length"), Some("8"));
        }
        assert_eq!(origin.requests(), 0, "the origin is not asked");
    }

    fn a_plugin_answers_in_place_of_what_the_origin_said(engine) {
        let origin = Origin::serve(|exchange| exchange.respond(200, &[("x-origin", "yes")], b"the origin's"));
        let edge = edge(engine, plugin("respond_late", RESPOND_LATE), &origin);
        let response = edge.get("/a");
        assert_eq!((response.status, response.text()), (418, "another"));
        assert_eq!(response.header("x-why"), Some("late"));
        assert_eq!(response.header("x-origin"), None, "nothing of the origin's answer is left");
        assert_eq!(edge.get("/a").status, 418, "the connection to the origin can be used again");
    }

    fn a_plugin_lets_its_side_go_on_from_within(engine) {
        let origin = Origin::saying("ok");
        let edge = edge(engine, plugin("continue", CONTINUE), &origin);
        for _ in 0..3 {
            assert_eq!(edge.get("/a").text(), "ok");
            let told = origin.last().headers;
            assert_eq!((told.get("x-before"), told.get("x-after")), (Some("yes"), None));
        }
        assert_eq!(edge.metrics().sum("forebay_plugin_faults_total", &[]), 0.0);
    }

    fn a_plugin_ends_an_exchange_without_an_answer(engine) {
        let origin = Origin::saying("never");
        let edge = edge(engine, plugin("close", CLOSE), &origin);
        let mut client = edge.connect();
        client.request("GET", "/a", &[], b"");
        let error = client.try_response().expect_err("there is no answer");
        assert!(matches!(error.kind(), std::io::ErrorKind::UnexpectedEof | std::io::ErrorKind::ConnectionReset));
        assert_eq!(origin.requests(), 0);
    }
}
