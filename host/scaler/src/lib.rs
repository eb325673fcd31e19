//! Decides how many origins each pool needs, and in which stage each one is.
//!
//! Pure: no clock, no I/O, no randomness. Time is an argument, so that replay, tests and the
//! live loop are one code. The map, in the order a metric takes:
//!
//! - [`region`]: events in, actions out: [`Region::apply`], [`Region::next`];
//! - [`report`]: what makes an edge's report impossible;
//! - [`edges`]: who reported, when, and what is a repeat;
//! - [`series`]: the edges' reports as one series per pool, in which a gap is a gap;
//! - [`hint`]: what plugins ask for, by who asked;
//! - [`policy`]: each looks at the pool and `now` and makes a [`Proposal`];
//! - [`decide`]: the largest proposal, then holds, steps, floor and ceiling, as a [`Decision`];
//! - [`stage`]: booting, warming, serving, draining, stopped;
//! - [`pool`]: the state that one pool keeps from tick to tick;
//! - [`stamp`]: instants as JSON.

pub mod decide;
pub mod decision;
pub mod edges;
pub mod hint;
pub mod policy;
pub mod pool;
pub mod region;
pub mod report;
pub mod series;
pub mod stage;
pub mod stamp;

pub use decision::{Capacity, Clamp, Decision, EdgeAge, Inputs, Limit};
pub use hint::{Asked, Hinted};
pub use policy::{Proposal, ScheduleView, Source};
pub use region::{Actions, Applied, Event, PoolActions, PoolView, Region};
pub use report::Refused;
pub use stage::{Gone, Observed, OriginView, StageChange};
