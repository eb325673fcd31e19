//! A region file as written: the keys of each section, what their values look like and what
//! holds where a key is not given. What the values mean together is [`crate::check`]'s business.
//!
//! - [`value`]: how a value is read, and the table that makes a section.
//! - [`form`]: values written as one text or number.
//! - `edge`, `plugin`, `budget`, `secret`, `route`, `pool`, `signal`, `scaling_budget`, `schedule`, `calendar`, `state`, `kv`, `lease`,
//!   `lead`, `per_origin`, `warm_pool`: the sections.
//! - `manifest`, `spec`: the files beside a plugin.

pub mod budget;
pub mod calendar;
pub mod edge;
pub mod form;
pub mod kv;
pub mod lead;
pub mod lease;
pub mod manifest;
pub mod per_origin;
pub mod plugin;
pub mod pool;
pub mod route;
pub mod scaling_budget;
pub mod schedule;
pub mod secret;
pub mod signal;
pub mod spec;
pub mod spec_grpc;
pub mod spec_scale;
pub mod state;
pub mod steps;
pub mod target;
pub mod value;
pub mod warm_pool;

use self::calendar::Calendar;
use self::edge::{Aggregator, Edge, Log};
use self::kv::Kv;
use self::plugin::Plugin;
use self::pool::Pool;
use self::route::Route;
use self::secret::Secret;
use self::state::{Bucket, Dict, Queue};
use self::target::Target;
use self::value::keys;

keys! {
    /// A region file: what one Forebay process runs.
    pub struct File {
        /// The data plane. Given if this process runs an edge.
        optional edge: Edge,
        /// The control plane of the region. Given if this process runs the aggregator.
        optional aggregator: Aggregator,
        /// What is logged, and how.
        section log: Log,
        /// Values that plugins may use and never read.
        list secrets: Secret,
        /// Code that routes name.
        list plugins: Plugin,
        /// Where requests go: the most specific path wins, then the first in the file.
        list routes: Route,
        /// Origins that serve the same, and how many of them there should be.
        list pools: Pool,
        /// Whom plugins may call besides the pools.
        list targets: Target,
        /// Dictionaries that plugins of all workers share, where the default does not fit.
        list dicts: Dict,
        /// Token buckets: how much of something each key may take.
        list buckets: Bucket,
        /// Key-value stores that plugins of every edge of the region share.
        list kv: Kv,
        /// Queues that plugins of all workers share, where the default does not fit.
        list queues: Queue,
        /// Days that are not like others, for the schedules of pools.
        list calendars: Calendar,
    }
}
