//! When schedules start, and which days calendars have.

use croner::errors::CronError;
use jiff::civil::{Date, DateTime};
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
        if let Some(near) = abbreviation(text) {
            return Err(Wrong { near: Some(near.to_owned()), ..Wrong::why("an abbreviation, which tells no place and no clock changes") });
        }
        if let Some(offset) = offset(text) {
            return Err(Wrong { near: offset, ..Wrong::why("an offset, which knows of no clock changes") });
        }
        if TimeZone::get(text).is_ok() {
            return Ok(text.to_owned());
        }
        let zones: Vec<String> = jiff::tz::db().available().map(|zone| zone.to_string()).collect();
        // Not a slip then: a slim image, which knows UTC alone.
        if zones.is_empty() {
            return Err(Wrong::why("this machine has no zones: install tzdata"));
        }
        Err(Wrong::near(near_zones(text, &zones)))
    }
}

defaults!(Zone);

/// Places of an abbreviation. Some are zones of old as well, which only a few mean: `EST` has no summer.
fn abbreviation(text: &str) -> Option<&'static str> {
    Some(match text.to_ascii_uppercase().as_str() {
        "CET" | "CEST" | "MET" | "MEZ" | "MESZ" => "Europe/Berlin\" or \"Europe/Paris",
        "EET" | "EEST" => "Europe/Athens\" or \"Europe/Helsinki",
        "WET" | "WEST" => "Europe/Lisbon",
        "BST" => "Europe/London",
        "MSK" => "Europe/Moscow",
        "EST" | "EDT" | "ET" => "America/New_York\" or \"America/Toronto",
        "CST" | "CDT" | "CT" => "America/Chicago\" or \"America/Mexico_City",
        "MST" | "MDT" | "MT" => "America/Denver\" or \"America/Phoenix",
        "PST" | "PDT" | "PT" => "America/Los_Angeles\" or \"America/Vancouver",
        "HST" => "Pacific/Honolulu",
        "IST" => "Asia/Kolkata\" or \"Asia/Jerusalem",
        "JST" => "Asia/Tokyo",
        "KST" => "Asia/Seoul",
        "SGT" => "Asia/Singapore",
        "AEST" | "AEDT" => "Australia/Sydney\" or \"Australia/Brisbane",
        "NZST" | "NZDT" => "Pacific/Auckland",
        _ => return None,
    })
}

/// `UTC+2`, `GMT-5`, `+02:00`; and the zone of that offset, whose name has the other sign.
fn offset(text: &str) -> Option<Option<String>> {
    let upper = text.trim().to_ascii_uppercase();
    let rest = upper.strip_prefix("UTC").or_else(|| upper.strip_prefix("GMT")).unwrap_or(&upper).trim_start();
    let (sign, number) = (rest.chars().next().filter(|c| "+-".contains(*c))?, rest.get(1..)?);
    let (hours, minutes) = number.split_once(':').unwrap_or(match number.len() {
        4 => number.split_at_checked(2)?,
        _ => (number, "0"),
    });
    let (hours, minutes) = (hours.trim().parse::<u8>().ok()?, minutes.parse::<u8>().ok()?);
    let turned = if sign == '+' { '-' } else { '+' };
    let name = if hours == 0 { "UTC".to_owned() } else { format!("Etc/GMT{turned}{hours}") };
    Some((minutes == 0 && TimeZone::get(&name).is_ok()).then_some(name))
}

/// A zone of nearly this name; else a few whose place has it.
fn near_zones(text: &str, zones: &[String]) -> Option<String> {
    let near = near_miss(text, zones.iter().map(String::as_str));
    let bare = text.rsplit('/').next().unwrap_or_default().trim().replace(' ', "_");
    let places = zones.iter().filter_map(|zone| Some((zone.rsplit_once('/')?.1, zone)));
    let same: Vec<_> = places.clone().filter(|(place, _)| place.eq_ignore_ascii_case(&bare)).collect();
    let few: Vec<_> = if same.is_empty() && near.is_none() {
        let close = near_miss(&bare, places.clone().map(|(place, _)| place))?;
        places.filter(|(place, _)| *place == close).collect()
    } else {
        same
    };
    if few.is_empty() {
        return near;
    }
    let mut few: Vec<_> = few.into_iter().map(|(_, zone)| zone.as_str()).collect();
    few.truncate(3);
    Some(few.join("\" or \""))
}

form! {
    /// A local time: a date, `T` and a time, the seconds optional.
    Moment(DateTime), "a local time such as 2026-11-27T18:00 or 2026-11-27T18:00:30",
    { "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}(:[0-9]{2})?$" },
    |text| {
        let zoned = text.ends_with(['Z', 'z']) || text.get(16..).is_some_and(|rest| rest.contains(['+', '-']));
        let local: String = text.chars().take_while(|c| !"Zz+[".contains(*c)).take(19).collect();
        let near = local.replacen([' ', 't'], "T", 1);
        let near = near.rfind('-').filter(|end| *end > 10).map_or(near.as_str(), |end| &near[..end]).to_owned();
        match moment(text) {
            Some(at) => Ok(at),
            None if zoned && moment(&near).is_some() => {
                Err(Wrong { near: Some(near), ..Wrong::why("the rule's zone says which time it is") })
            }
            None => Err(Wrong::near((near != text && moment(&near).is_some()).then_some(near))),
        }
    }
}

fn moment(text: &str) -> Option<DateTime> {
    let shaped = text.len() == 16 || text.len() == 19;
    let plain = text.bytes().all(|c| c.is_ascii_digit() || b"-T:".contains(&c));
    (shaped && plain && text.as_bytes()[10] == b'T').then(|| text.parse().ok()).flatten()
}

/// Days of a calendar.
#[derive(Clone, Debug, PartialEq)]
pub enum DaysText {
    One(Date),
    /// Both ends included.
    Range(Date, Date),
    /// Month and day.
    Yearly(i8, i8),
}

/// Days of one range: ten years, past any use.
const LONGEST: i32 = 3660;

form! {
    /// Days: a date, two with `..` between them, or `*-` with month and day for every year.
    Days(DaysText), "2026-12-24, 2026-12-24..2027-01-02, or \"*-12-25\" for every year",
    { "pattern": "^([0-9]{4}-[0-9]{2}-[0-9]{2}(\\.\\.[0-9]{4}-[0-9]{2}-[0-9]{2})?|\\*-[0-9]{2}-[0-9]{2})$" },
    |text| {
        if let Some((from, to)) = text.split_once("..") {
            let (Some(from), Some(to)) = (day(from), day(to)) else {
                return Err(Wrong::default());
            };
            if to < from {
                return Err(Wrong { near: Some(format!("{to}..{from}")), ..Wrong::why("it ends before it begins") });
            }
            if (to - from).get_days() > LONGEST {
                return Err(Wrong::why("longer than ten years"));
            }
            return Ok(DaysText::Range(from, to));
        }
        match text.strip_prefix("*-") {
            // Of a leap year: 29 February is a day.
            Some(rest) => match day(&format!("2024-{rest}")) {
                Some(day) => Ok(DaysText::Yearly(day.month(), day.day())),
                None => Err(Wrong::default()),
            },
            None => day(text).map(DaysText::One).ok_or_else(|| {
                let yearly = day(&format!("2024-{text}")).map(|_| format!("*-{text}"));
                Wrong::near(yearly)
            }),
        }
    }
}

/// `2026-12-24` and nothing else that the library takes for a date.
fn day(text: &str) -> Option<Date> {
    let shaped = text.len() == 10 && text.bytes().all(|c| c.is_ascii_digit() || c == b'-');
    shaped.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_written_in_one_way() {
        assert_eq!(moment("2026-11-27T18:00"), Some(jiff::civil::date(2026, 11, 27).at(18, 0, 0, 0)));
        assert_eq!(moment("2026-11-27T18:00:30"), Some(jiff::civil::date(2026, 11, 27).at(18, 0, 30, 0)));
        for bad in ["2026-11-27", "2026-11-27 18:00", "2026-02-30T18:00", "2026-11-27T24:00", "2026-11-27T18:00Z", "äö"]
        {
            assert_eq!(moment(bad), None, "{bad}");
        }
    }

    #[test]
    fn offsets_are_known_and_turned_to_the_zone_that_has_them() {
        assert_eq!(offset("UTC+2"), Some(Some("Etc/GMT-2".to_owned())));
        assert_eq!(offset("gmt -05:00"), Some(Some("Etc/GMT+5".to_owned())));
        assert_eq!(offset("+0530"), Some(None), "no zone has it all year and a name of that kind");
        assert_eq!(offset("UTC+0"), Some(Some("UTC".to_owned())));
        for none in ["UTC", "GMT", "Etc/GMT+2", "Europe/Berlin", "+", "UTC+", "UTC+x", "-ä", ""] {
            assert_eq!(offset(none), None, "{none}");
        }
    }
}
