//! Who is in each pool now and in which stage, for the edges and for the metrics.

use jiff::Timestamp;
use scaler::{PoolView, Region};
use wire::{Membership, Stage};

/// The answer to an edge's report.
pub fn answer(region: &mut Region, edge: &str, now: Timestamp) -> Membership {
    region.answer(edge, now)
}

/// Sets a pool's gauges.
pub fn measure(pool: &str, view: &PoolView) {
    for stage in Stage::ALL {
        metrics::gauge!("forebay_aggregator_origins", "pool" => pool.to_string(), "stage" => stage.name())
            .set(view.capacity.get(stage));
    }
    if let Some(desired) = view.desired {
        metrics::gauge!("forebay_aggregator_origins_desired", "pool" => pool.to_string()).set(desired);
    }
    metrics::counter!("forebay_aggregator_origin_seconds_total", "pool" => pool.to_string())
        .absolute(view.origin_seconds as u64);
}
