//! The list `schedules` of a pool's `scaling`.

use super::form::{Count, CronText, Moment, Name, Period, Ratio, Span, Zone};
use super::value::keys;
use crate::region;

keys! {
    /// A window and what holds in it: at least one of floor, ceiling, exact, target and multiply.
    pub struct Schedule {
        /// A name, unique in the pool; decisions use it.
        required name: Name,
        /// The start of each window. One of `cron` and `at`.
        optional cron: CronText,
        /// The start of the only window, as a local time.
        optional at: Moment,
        /// An IANA time zone such as Europe/Berlin or UTC, which all times and days of the rule are read in.
        required zone: Zone,
        /// How long the window lasts.
        required duration: Period,
        /// The fewest origins in the window. Default: those of the pool.
        optional floor: Count,
        /// The most origins in the window. Default: those of the pool.
        optional ceiling: Count,
        /// So many origins, no more and no fewer. Default: none.
        optional exact: Count,
        /// Requests a second that one origin should carry in the window. Default: those of `reactive`.
        optional target: Ratio,
        /// A factor on what `reactive` proposes in the window. Default: none.
        optional multiply: Ratio,
        /// How long before the window what asks for more takes effect. Default: the lead of `scaling`.
        optional lead: Span,
        /// How long before that the number of origins rises, one by one.
        default ramp_up: Span = region::Schedule::RAMP,
        /// How long after the window it falls again.
        default ramp_down: Span = region::Schedule::RAMP,
        /// A calendar: fires on its days only. Default: on all days.
        optional on: Name,
        /// A calendar: fires on none of its days. Default: on all days.
        optional except: Name,
    }
}
