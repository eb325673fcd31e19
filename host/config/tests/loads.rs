//! Files that are right load, and mean what they say.

use std::path::{Path, PathBuf};

use forebay_config as config;
use forebay_config::{PathMatch, RouteTo};

fn configs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../edge-configs")
}

#[test]
fn a_minimal_file_means_its_defaults() {
    let region = config::load(&configs().join("examples/minimal.yaml")).map_err(|e| e.to_string()).unwrap();
    let edge = region.edge.unwrap();
    assert!(region.aggregator.is_none());
    assert_eq!(edge.listeners.len(), 1);
    assert!(edge.listeners[0].http1 && edge.listeners[0].http2 && edge.listeners[0].tls.is_none());
    assert_eq!(edge.limits, config::EdgeLimits::default());
    assert_eq!(edge.drain, config::Edge::DRAIN);
    assert!(edge.workers > 0, "0 in the file is resolved");
    assert_eq!(region.log, config::Log::default());
    assert!(matches!(&region.routes[0].path, PathMatch::Prefix(path) if path == "/"));
    assert!(matches!(&region.routes[0].to, RouteTo::Pool(name) if name == "shop"));
    let shop = &region.pools["shop"];
    assert_eq!(shop.origins.len(), 2);
    assert_eq!(shop.timeouts, config::PoolTimeouts::default());
    assert!(shop.scaling.is_none());
}
