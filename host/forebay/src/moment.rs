//! Instants on the command line: `2026-01-31T18:00:00Z`, `18:00` (today, here), `-10m` (ago).

use jiff::civil::Time;
use jiff::{SignedDuration, Timestamp, Zoned};

const ALLOWED: &str = "an instant such as 2026-01-31T18:00:00Z, 18:00 (today, here), -10m or -7d (ago)";

pub fn parse(text: &str) -> Result<Timestamp, String> {
    read(text, &Zoned::now())
}

fn read(text: &str, now: &Zoned) -> Result<Timestamp, String> {
    let wrong = || format!("{ALLOWED}, not `{text}`");
    if let Some(ago) = text.strip_prefix('-') {
        // A day ago is 24 hours ago, whatever the clock did meanwhile.
        let days = ago.strip_suffix('d').and_then(|days| days.parse::<u32>().ok());
        let ago = match days {
            Some(days) => SignedDuration::from_hours(24 * i64::from(days)),
            None => ago.parse().map_err(|_| wrong())?,
        };
        return now.timestamp().checked_sub(ago).map_err(|_| wrong());
    }
    if let Ok(instant) = text.parse::<Timestamp>() {
        return Ok(instant);
    }
    // A day without an offset would be taken for midnight.
    let time: Time =
        if text.len() <= "18:00:00".len() { text.parse().map_err(|_| wrong())? } else { return Err(wrong()) };
    let here = now.date().to_datetime(time).to_zoned(now.time_zone().clone());
    here.map(|here| here.timestamp()).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instant_is_absolute_or_today_or_ago_and_nothing_else() {
        let now: Zoned = "2026-07-01T12:00:00+02:00[Europe/Berlin]".parse().unwrap();
        for (text, instant) in [
            ("2026-01-31T18:00:00Z", "2026-01-31T18:00:00Z"),
            ("2026-01-31T18:00:00+01:00", "2026-01-31T17:00:00Z"),
            ("18:30", "2026-07-01T16:30:00Z"),
            ("09:00:05", "2026-07-01T07:00:05Z"),
            ("-10m", "2026-07-01T09:50:00Z"),
            ("-1h 30m", "2026-07-01T08:30:00Z"),
            ("-7d", "2026-06-24T10:00:00Z"),
        ] {
            assert_eq!(read(text, &now).map(|at| at.to_string()).as_deref(), Ok(instant), "{text}");
        }
        for text in ["", "noon", "10m", "25:00", "2026-01-31", "2026-01-31T18:00", "-", "-ten", "-d", "-1.5d"] {
            let refused = read(text, &now).unwrap_err();
            assert!(refused.contains(&format!("`{text}`")) && refused.contains("-10m"), "{refused}");
        }
    }
}
