//! When schedules start: one reading of cron for the checker and for the scaler.

use croner::Cron;
use croner::errors::CronError;
use croner::parser::{CronParser, Seconds, Year};
use jiff::civil::date;
use jiff::tz::TimeZone;

/// Five fields, or six with seconds first. Day of month and day of week are alternatives, as cron
/// has always read them. The error also says that a time never comes (30 February).
pub fn parse(text: &str) -> Result<Cron, CronError> {
    let cron = CronParser::builder().seconds(Seconds::Optional).year(Year::Disallowed).build().parse(text)?;
    // Any start will do, as the search looks years ahead; a leap year lies in it.
    let start = date(2024, 1, 1).to_zoned(TimeZone::UTC).expect("a fixed date is a time in UTC");
    cron.find_next_occurrence(&start, true)?;
    Ok(cron)
}
