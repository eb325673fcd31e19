//! Edge and aggregator as processes of their own, with origins that the aggregator really
//! starts: what happens when one of them goes away and comes back.
//!
//! - [`region`]: the three files that a test here writes
//! - [`calendar`]: a calendar's file changes
//! - [`clock`]: the wall clock is set under them
//! - [`farewell`]: an edge ends in order, or is killed
//! - [`hints`]: a plugin's hint has origins started before their load comes
//! - [`signals`]: what is no request has origins started too
//! - [`pair`]: two aggregators that share a lease; [`lease`]: which of them acts, whatever is lost
//! - [`lapsed`]: what the last to lead does where the lease's store is silent
//! - [`script`]: a policy plugin proposes
//! - [`outage`]: the aggregator dies, the edge goes on; it comes back and adopts what runs

mod calendar;
mod clock;
mod farewell;
mod hints;
mod lapsed;
mod lease;
mod outage;
mod pair;
mod region;
mod script;
mod signals;
