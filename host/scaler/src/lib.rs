//! Decides how many origins each pool needs, and in which stage each one is.
//!
//! Pure: no clock, no I/O, no randomness. Time is an argument, so that replay, tests and the
//! live loop are one code. `now` is of a clock that nobody sets. The map, in the order a metric takes:
//!
//! - [`region`]: events in, actions out: [`Region::apply`], [`Region::next`];
//! - [`report`]: what makes an edge's report impossible;
//! - [`edges`]: who reported, when, what is a repeat, and what is not believed;
//! - [`missing`]: what stands in for edges that fell silent; [`usual`]: what an hour brings as a rule;
//! - [`series`]: the edges' reports as one series per pool, in which a gap is a gap;
//! - [`history`]: what is kept of a pool's series, in steps of 15 s and of a minute;
//! - [`lead`]: how long origins take from their launch to full capacity, learned;
//! - [`hint`]: what plugins ask for, by who asked;
//! - [`script`]: what policy plugins are asked, and answer;
//! - [`capacity`]: what one origin carries of requests, learned;
//! - [`signal`]: the demand by what the pool is measured by;
//! - [`policy`]: each looks at the pool and `now` and makes a [`Proposal`];
//! - [`decide`]: the largest proposal, then holds, steps, floor and ceiling, as a [`Decision`];
//! - [`foresight`]: what is to come of a count: violations, capacity;
//! - [`carried`]: what became of the counts that were asked for;
//! - [`budget`]: what a pool may cost in a month, and has cost;
//! - [`trial`]: what a pool that only thinks would have had, beside what ran;
//! - [`stage`]: booting, warming, serving, draining, stopped;
//! - [`pool`]: the state that one pool keeps from tick to tick;
//! - [`stamp`]: instants as JSON; `figure`: figures as records tell them;
//! - [`wall`]: the wall clock, which may be set, beside `now`, which goes on.
//!
//! And for pools whose demand is in units of one origin's capacity, 15 s at a time:
//!
//! - [`forecast`]: upper quantiles of the demand in the coming lead, learned online;
//! - [`replay`]: a pool that is only thought, its score, and the least that it could have cost;
//! - [`tune`]: what each headroom would have cost lately, and the blend of the best;
//! - [`engine`]: the decision of these three;
//! - [`checkpoint`]: what it learned, as bytes for a disk;
//! - [`peers`]: how other autoscalers would have decided.

pub mod budget;
pub mod capacity;
pub mod carried;
pub mod checkpoint;
pub mod decide;
pub mod decision;
pub mod edges;
pub mod engine;
mod figure;
pub mod forecast;
pub mod foresight;
pub mod hint;
pub mod history;
pub mod lead;
pub mod missing;
pub mod peers;
pub mod policy;
pub mod pool;
pub mod region;
pub mod replay;
pub mod report;
pub mod script;
pub mod series;
pub mod signal;
pub mod stage;
pub mod stamp;
pub mod trial;
pub mod tune;
pub mod usual;
pub mod wall;

pub use carried::Trouble;
pub use checkpoint::Checkpoint;
pub use decision::{Capacity, Clamp, Decision, EdgeAge, Inputs, Limit};
pub use hint::{Asked, Hinted};
pub use history::{Point, Points, Step};
pub use lead::LeadView;
pub use policy::{Proposal, ScheduleView, Source};
pub use region::{Actions, Applied, Event, PoolActions, PoolView, Region, Role};
pub use report::Refused;
pub use script::{Answer, Question};
pub use signal::scraped::Scraped;
pub use signal::{Demand, Reading};
pub use stage::{Gone, Observed, OriginView, Replaced, StageChange};
