//! A calendar's file is read again when it changes, by the aggregator that runs.

use harness::{Client, Folder, PATIENCE, Port, Process, wait_until};
use serde_json::Value;

/// One event of whole days, the last of which is not one of them.
fn days(from: &str, to: &str) -> String {
    format!(
        "BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\nUID:1\r\nDTSTART;VALUE=DATE:{from}\r\nDTEND;VALUE=DATE:{to}\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"
    )
}

#[test]
fn a_calendar_that_changes_is_taken_at_once_and_one_that_cannot_be_read_is_not() {
    let (folder, port) = (Folder::new(), Port::free());
    let control = port.address;
    folder.write("days.ics", days("20200101", "20200102"));
    folder.write(
        "region.yaml",
        format!(
            "aggregator: {{address: \"{control}\", region: test, tick: 200ms}}\ncalendars: [{{name: days, ical: days.ics}}]\n\
             pools:\n  - name: shop\n    scaling:\n      floor: 1\n      ceiling: 4\n      stabilisation: 0s\n      actuator: dry_run\n      \
             schedules: [{{name: event, cron: \"* * * * *\", on: days, zone: UTC, duration: 5m, exact: 3, lead: 0s}}]\n"
        ),
    );
    let mut aggregator = Process::start(&["run", "-c", "region.yaml"], folder.path());
    let explain = || -> Option<Value> {
        let mut client = Client::try_connect(control).ok()?;
        client.request("GET", "/v1/pools/shop/explain", &[("Connection", "close")], b"");
        let explained: Value = serde_json::from_slice(&client.try_response().ok()?.body).ok()?;
        explained["decision"]["to"].is_u64().then_some(explained)
    };
    let first = wait_until("a decision", PATIENCE, explain);
    assert_eq!((&first["decision"]["to"], &first["schedules"][0]["phase"]), (&1.into(), &"waiting".into()));
    assert_eq!(first["schedules"][0]["next_start"], Value::Null, "its only day is long gone");

    folder.write("days.ics", days("20200101", "20991231"));
    let then = wait_until("the calendar's new days", PATIENCE, || explain().filter(|now| now["decision"]["to"] == 3));
    let rule = &then["schedules"][0];
    assert_eq!((&rule["phase"], &rule["holds"]), (&"window".into(), &serde_json::json!(["floor", "ceiling"])));
    assert_eq!((&rule["on"], &rule["floor"], &rule["ceiling"]), (&"days".into(), &3.into(), &3.into()));

    folder.write("days.ics", "BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\n");
    aggregator.expect_error("reload refused");
    aggregator.wait_for_log(&["days.ics:2", "VEVENT begins and never ends"]);
    let still = explain().expect("it answers");
    assert_eq!((&still["decision"]["to"], &still["schedules"][0]["phase"]), (&3.into(), &"window".into()));
}
