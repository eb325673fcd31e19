//! A plugin's own metrics, under the same names from both engines.

use harness::{Origin, PATIENCE, wait_until};

use crate::pair::{edge, on_both_engines, plugin};

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

on_both_engines! {
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
