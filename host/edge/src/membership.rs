//! Who is in each pool now: listed origins, and those that the aggregator publishes; their
//! stage, health and share of traffic.

/// All pools of this edge.
#[derive(Default)]
pub struct Memberships {}
