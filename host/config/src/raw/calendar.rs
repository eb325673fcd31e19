//! The section `calendars`.

use super::form::{Days, FilePath, Name};
use super::value::keys;
use crate::region::DayName;

keys! {
    /// Days that are not like others: by date, from an iCalendar file, or both.
    pub struct Calendar {
        /// A name, unique in the file; schedules use it.
        required name: Name,
        /// Days: 2026-12-24, 2026-12-24..2027-01-02, or "*-12-25" for every year.
        list dates: Days,
        /// An iCalendar file: the days that its events touch. Default: none.
        optional ical: FilePath,
        /// On these days cron rules see this weekday. Default: the day's own.
        optional r#use: DayName,
        /// Pools whose rules see it; needs `use`. Default: all.
        optional pools: super::value::List<Name>,
    }
}
