//! The data plane: requests -> plugins -> origins. One worker per core: one thread, one
//! current-thread runtime, its own listener (`SO_REUSEPORT`), plugin instances and origin
//! connections. No lock is held across a plugin or an await.
//!
//! The path of a request, in order:
//!
//! - [`listen`]: accept, TLS, connection permit
//! - [`serve`]: HTTP in; takes the current [`snapshot`] once for each request
//! - [`route`]: finds the route; pure
//! - [`exchange`]: the state of one exchange; implements `abi::Host`
//! - [`instances`]: this worker's warm instances of each plugin
//! - [`chain`]: tells each plugin the events, in order
//! - [`origin`]: picks an origin, connects, sends, retries what may be; health; warm-up
//! - [`reject`]: the only place where a refusal becomes a status, a body and a detail
//! - [`telemetry`]: one outcome per exchange
//!
//! Beside it: [`worker`] (what a thread owns), [`body`], [`wheel`] (coarse timers), [`callout`],
//! [`dict`], [`membership`] and [`report`] (the aggregator), [`admin`].

pub mod body;
pub mod reject;
