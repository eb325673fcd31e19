//! A plugin's own metrics, under the same names from both engines.

use harness::{Origin, PATIENCE, wait_until};

use crate::pair::{edge, in_every_language, on_both_engines, plugin};

const METRICS: &str = r#"
local plugin = {}
local hits, level, sizes
function plugin.on_configure()
  hits = forebay.metric.counter("case_hits_total")
  level = forebay.metric.gauge("case_level")
  sizes = forebay.metric.histogram("case_sizes_bytes")
end
function plugin.on_request_headers()
  hits:increment(2)
  level:set(7)
  sizes:record(300)
end
return plugin
"#;

const LABELS: &str = r#"
local plugin = {}
local many
function plugin.on_configure(words) many = tonumber(words:match("%d+")) or 0 end
function plugin.on_request_headers()
  local tell, counter = forebay.request.headers.set, forebay.metric.counter
  local function why(...)
    local metric, why = counter(...)
    return metric and "OK" or why.code
  end
  for method, by in pairs { GET = 1, POST = 2 } do
    counter("labelled_total", { status = 200, method = method }):increment(by)
  end
  forebay.metric.gauge("labelled_level", { side = "left" }):set(7)
  forebay.metric.histogram("labelled_bytes", { side = "left" }):record(300)
  tell("x-other-names", why("labelled_total", { method = "GET" }))
  tell("x-bad-name", why("labelled_total", { ["me-thod"] = "GET" }))
  tell("x-own-name", why("labelled_total", { plugin = "other" }))
  for n = 0, many - 1 do tell("x-last", why("many_total", { n = n })) end
end
return plugin
"#;

in_every_language! {
    counters_gauges_and_histograms_are_seen_by_an_operator,
}

on_both_engines! {
    fn each_set_of_labels_is_a_series_of_its_own(engine) {
        let origin = Origin::saying("ok");
        let edge = edge(engine, plugin("labels", LABELS), &origin);
        assert_eq!((edge.get("/a").status, edge.get("/b").status), (200, 200));
        let told = origin.last().headers;
        for name in ["x-other-names", "x-bad-name", "x-own-name"] {
            assert_eq!(told.get(name), Some("BAD_ARGUMENT"), "{name}");
        }
        let metrics = edge.metrics();
        let sum = |name: &str, labels: &[&str]| metrics.sum(name, labels);
        let own = "plugin=\"labels\"";
        assert_eq!(sum("forebay_plugin_labelled_total", &[own, "method=\"GET\"", "status=\"200\""]), 2.0);
        assert_eq!(sum("forebay_plugin_labelled_total", &[own, "method=\"POST\"", "status=\"200\""]), 4.0);
        assert_eq!(sum("forebay_plugin_labelled_level", &[own, "side=\"left\""]), 7.0);
        assert_eq!(sum("forebay_plugin_labelled_bytes_count", &[own, "side=\"left\""]), 2.0);
        assert!(!metrics.0.contains("plugin=\"other\""), "a plugin cannot count for another");
        assert!(!metrics.0.contains("forebay_plugin_metric_overflow_total"), "nothing was refused for want of room");
    }

    fn a_label_with_many_values_ends_at_the_limit_and_is_counted(engine) {
        let origin = Origin::saying("ok");
        let plugin = plugin("labels", LABELS).words("labels 20").keys("    limits: {metrics: 14}");
        let edge = edge(engine, plugin, &origin);
        assert_eq!(edge.get("/a").status, 200, "it ends no exchange");
        assert_eq!(origin.last().headers.get("x-last"), Some("LIMIT_EXCEEDED"));
        let metrics = edge.metrics();
        // Four with labels of their own, and ten of the twenty.
        assert_eq!(metrics.0.lines().filter(|line| line.starts_with("forebay_plugin_many_total{")).count(), 10);
        assert_eq!(metrics.sum("forebay_plugin_metric_overflow_total", &["plugin=\"labels\""]), 10.0);
        assert_eq!(edge.get("/b").status, 200);
        assert_eq!(edge.metrics().sum("forebay_plugin_labelled_total", &["method=\"GET\""]), 2.0, "what there is goes on");
    }

    fn counters_gauges_and_histograms_are_seen_by_an_operator(engine) {
        let origin = Origin::saying("ok");
        let edge = edge(engine, plugin("metrics", METRICS), &origin);
        for _ in 0..3 {
            assert_eq!(edge.get("/a").status, 200);
        }
        let metrics = wait_until("the plugin's counter", PATIENCE, || {
            let metrics = edge.metrics();
            (metrics.0.lines().any(|line| !line.starts_with('#') && line.contains("case_hits_total") && line.ends_with(" 6")))
                .then_some(metrics)
        });
        let line = |part: &str| metrics.0.lines().find(|line| !line.starts_with('#') && line.contains(part)).unwrap_or_default();
        assert!(line("case_level").ends_with(" 7"), "{}", metrics.0);
        assert!(metrics.0.lines().any(|l| l.contains("case_sizes_bytes") && l.contains("_count") && l.ends_with(" 3")), "{}", metrics.0);
        assert!(line("case_hits_total").contains("plugin=\"metrics\""), "{}", line("case_hits_total"));
    }
}
