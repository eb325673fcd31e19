//! A plugin's log lines: at their level, with its name, and bounded.

use harness::Origin;

use crate::pair::{edge, in_every_language, on_both_engines, plugin};

const LOG: &str = r#"
local plugin = {}
function plugin.on_request_headers()
  forebay.log.debug("case log: a line of debug")
  forebay.log.info("case log: a line of info")
  forebay.log.warn("case log: a line of warn")
end
function plugin.on_log()
  forebay.log.info("case log: ended with " .. forebay.response.headers.get(":status"))
end
return plugin
"#;

const FIELDS: &str = r#"
local plugin = {}
function plugin.on_request_headers()
  forebay.log.info("case log: who it was", { user = 'ann "the" one', items = 3, paid = true })
end
return plugin
"#;

in_every_language! {
    lines_come_with_their_level_and_the_plugins_name,
    a_plugin_cannot_flood_the_log,
}

on_both_engines! {
    fn fields_stand_in_the_line_as_what_they_are(engine) {
        let origin = Origin::saying("ok");
        let edge = edge(engine, plugin("log_fields", FIELDS), &origin);
        assert_eq!(edge.get("/a").status, 200);
        let line = edge.process.wait_for_log(&["case log: who it was"]);
        let line: serde_json::Value = serde_json::from_str(&line).expect("a line is JSON");
        assert_eq!(line["fields"], serde_json::json!({ "user": "ann \"the\" one", "items": 3, "paid": true }));
        assert_eq!((line["plugin"].as_str(), line["level"].as_str()), (Some("log_fields"), Some("INFO")));
        assert!(line["request_id"].as_str().is_some_and(|id| !id.is_empty()), "{line}");
        assert!(line["timestamp"].as_str().is_some_and(|time| time.ends_with('Z')), "{line}");
    }

    fn lines_come_with_their_level_and_the_plugins_name(engine) {
        let origin = Origin::serve(|exchange| exchange.respond(207, &[], b"ok"));
        let edge = edge(engine, plugin("log", LOG), &origin);
        assert_eq!(edge.get("/a").status, 207);
        let line = edge.process.wait_for_log(&["case log: ended with 207"]);
        assert!(line.contains("INFO") && line.contains("log"), "{line}");
        edge.process.wait_for_log(&["case log: a line of info", "INFO"]);
        edge.process.wait_for_log(&["case log: a line of warn", "WARN"]);
        assert!(!edge.process.log_has("a line of debug"), "the filter of the file is info");
    }

    fn a_plugin_cannot_flood_the_log(engine) {
        let origin = Origin::saying("ok");
        let edge = edge(engine, plugin("log", LOG).keys("    limits: {log_lines: 4}"), &origin);
        for _ in 0..40 {
            assert_eq!(edge.get("/a").status, 200);
        }
        let lines = edge.process.log().iter().filter(|line| line.contains("case log: a line")).count();
        assert!((1..80).contains(&lines), "{lines} lines of 80 came, of 4 a second that may");
    }
}
