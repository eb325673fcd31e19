//! The region that the fleet reports on.

use std::fmt::Write;
use std::path::Path;

use crate::Size;

/// Each pool has listed origins, a reactive and a predictive rule and a schedule; nothing is started.
pub fn of(folder: &Path, size: Size) -> config::Region {
    let mut text = String::from("aggregator: {address: '127.0.0.1:0', journal: d.jsonl}\npools:\n");
    for pool in 0..size.pools {
        let origins: Vec<String> = (0..size.origins).map(|origin| format!("'{}'", address(pool, origin))).collect();
        writeln!(
            text,
            "  - {{name: {}, origins: [{}], scaling: {{ceiling: 2000, actuator: dry_run, \
             reactive: {{requests_per_origin: 100}}, predictive: {{requests_per_origin: 120}}, \
             schedules: [{{name: evening, cron: '0 18 * * *', zone: Europe/Berlin, duration: 4h, floor: 12}}]}}}}",
            name(pool),
            origins.join(", ")
        )
        .expect("a string takes all");
    }
    let file = folder.join("region.yaml");
    std::fs::write(&file, text).expect("a region file");
    match config::load(&file) {
        Ok(region) => region,
        Err(errors) => panic!("{errors}"),
    }
}

pub fn name(pool: usize) -> String {
    format!("pool-{pool:02}")
}

pub fn address(pool: usize, origin: usize) -> String {
    format!("10.{}.{}.{}:8080", 1 + pool / 200, pool % 200, 1 + origin)
}
