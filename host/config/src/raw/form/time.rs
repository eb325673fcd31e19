//! When schedules start.

use croner::errors::CronError;
use jiff::tz::TimeZone;

use super::{Wrong, defaults, form};
use crate::error::near_miss;

form! {
    /// When: minute, hour, day of month, month, day of week; seconds optional as a first field.
    CronText(String), "five cron fields such as 30 8 * * 1-5, or six with seconds first", {},
    |text| match crate::cron::parse(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(cron_wrong(&error)),
    }
}

/// In our words where the crate's would name its own types.
fn cron_wrong(error: &CronError) -> Wrong {
    match error {
        CronError::TimeSearchLimitExceeded | CronError::InvalidDate | CronError::InvalidTime => {
            Wrong::why("a time that never comes")
        }
        CronError::ComponentError(why) | CronError::IllegalCharacters(why) => {
            let (initial, rest) = why.split_at_checked(1).unwrap_or_default();
            Wrong::why(format!("{}{}", initial.to_lowercase(), rest.trim_end_matches('.')))
        }
        // The number of fields, which what is allowed says.
        CronError::InvalidPattern(_) | CronError::EmptyPattern => Wrong::default(),
    }
}

form! {
    /// An IANA time zone such as `Europe/Berlin`, or `UTC`.
    Zone(String), "an IANA time zone such as Europe/Berlin or UTC", {},
    |text| {
        if TimeZone::get(text).is_ok() {
            return Ok(text.to_owned());
        }
        let zones: Vec<String> = jiff::tz::db().available().map(|zone| zone.to_string()).collect();
        // Not a slip then: a slim image, which knows UTC alone.
        if zones.is_empty() {
            return Err(Wrong::why("this machine has no zones: install tzdata"));
        }
        Err(Wrong::near(near_miss(text, zones.iter().map(String::as_str))))
    }
}

defaults!(Zone);
