//! A pool of a region file over what was recorded: all of its rules, in simulated time.

use harness::Folder;

use crate::{json, named, refused, region, said, two_days};

const SCHEDULE: &str = "schedules: [{name: working-day, cron: \"0 9 * * 1-5\", zone: Europe/Berlin, duration: 8h, \
                        floor: 8, lead: 3m}]";

/// Of `policy` in the first trace.
#[track_caller]
fn figure(report: &serde_json::Value, policy: &str, key: &str) -> f64 {
    let lines = report["traces"][0]["lines"].as_array().expect("lines");
    let line = lines.iter().find(|line| line["policy"] == policy).unwrap_or_else(|| panic!("{policy} in {lines:?}"));
    line[key].as_f64().expect("a number")
}

#[test]
fn two_policies_are_compared_with_all_of_their_rules() {
    let folder = Folder::new();
    let trace = folder.write("week.csv", two_days());
    let now = folder.write("now.yaml", region(""));
    let new = folder.write("new.yaml", region(SCHEDULE));
    let rivals = ["--against", "static,hpa:50", "--capacity", "70"];
    let arguments = [&["--trace", named(&trace), "--policy", named(&now), named(&new)][..], &rivals].concat();
    let report = json(&arguments);
    let policies: Vec<_> = report["traces"][0]["lines"].as_array().expect("lines").iter().collect();
    assert_eq!(policies.iter().map(|line| &line["policy"]).collect::<Vec<_>>(), ["now", "new", "static:100", "hpa:50"]);
    assert_eq!((&report["pool"], &report["requests_per_origin"]), (&"shop".into(), &70.0.into()));
    assert_eq!((&report["lead_seconds"], &report["boot_seconds"]), (&120.0.into(), &90.0.into()));
    // Tuesday is scored: 2 origins all day, 6 from noon on for an hour, and what stabilisation keeps of them.
    let now = figure(&report, "now", "cost");
    assert!((52.4..52.8).contains(&now), "{now}");
    // And 8 in place of 2 from 9 to 17 in Berlin, which is 8 to 16 here, with 3 minutes before it.
    let new = figure(&report, "new", "cost");
    assert!((96.0..97.2).contains(&new), "{new}");
    assert!(figure(&report, "new", "violation") < 0.3 * figure(&report, "now", "violation"));
    assert_eq!(report["traces"][0]["start"], "2026-03-02T00:00:00.000Z");
    assert_eq!(report["traces"][0]["learning_days"], 1.0);
    let notes = report["traces"][0]["notes"].to_string();
    assert!(notes.contains("2.0 days recorded: the first 1.0 are for learning"), "{notes}");
    assert_eq!(json(&arguments), report, "the same again");
}

#[test]
fn those_that_wait_in_a_warm_pool_are_billed_at_their_cost_and_spare_violations() {
    let folder = Folder::new();
    let trace = folder.write("week.csv", two_days());
    let now = folder.write("now.yaml", region(""));
    let new = folder.write("new.yaml", region("warm_pool: {size: 2, cost: 0.1}"));
    let arguments = ["--trace", named(&trace), "--policy", named(&now), named(&new), "--capacity", "70"];
    let report = json(&arguments);
    assert_eq!(figure(&report, "now", "waiting_hours"), 0.0);
    let waited = figure(&report, "new", "waiting_hours");
    assert!((47.0..=48.0).contains(&waited), "two of them for a day, but for when they had just joined: {waited}");
    let more = figure(&report, "new", "cost") - figure(&report, "now", "cost");
    assert!((4.7..6.0).contains(&more), "a tenth of that, and a few boots: {more}");
    assert!(figure(&report, "new", "violation") < 0.9 * figure(&report, "now", "violation"), "{report}");
    let text = said(&arguments);
    assert!(text.contains("new: one that waits in the warm pool costs 0.1 of one that serves"), "{text}");
    assert!(
        text.contains("new: 48 origin-hours waited in the warm pool") && !text.contains("now: 0 origin-hours"),
        "{text}"
    );
}

#[test]
fn each_decision_that_differs_is_explained_by_its_line() {
    let folder = Folder::new();
    let trace = folder.write("week.csv", two_days());
    let policy = folder.write("new.yaml", region(SCHEDULE));
    let arguments = ["--trace", named(&trace), "--policy", named(&policy), "--out", "explain"];
    let text = said(&arguments);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], "# week, new");
    assert!(lines.len() < 100, "only what differs: {}", lines.len());
    let up = lines.iter().find(|line| line.contains("shop: 2 -> 8")).expect("the schedule");
    assert!(up.starts_with("2026-03-02T07:57:00Z ") && up.contains("schedule working-day"), "{up}");
    // After five minutes in which nobody wanted more, in steps of two, which are more than 5 %.
    let down = lines.iter().find(|line| line.starts_with("2026-03-03T16:04:45Z ")).expect("its end");
    assert!(down.contains("shop: 8 -> 6") && down.contains("at most 2 or 5 % fewer at once"), "{down}");
    assert_eq!(said(&arguments), text, "the same again, byte for byte");
}

#[test]
fn a_rule_of_time_needs_to_know_when_it_was() {
    let folder = Folder::new();
    let trace = folder.write("rows.csv", two_days().replacen("time,rate", "t_seconds,rate", 1));
    let policy = folder.write("new.yaml", region(SCHEDULE));
    let arguments = ["--trace", named(&trace), "--policy", named(&policy)];
    let error = refused(&arguments);
    assert!(error.contains("rows: pool shop has schedules") && error.contains("--start INSTANT"), "{error}");
    let started = [&arguments[..], &["--start", "2026-03-02T00:00:00Z"]].concat();
    let cost = figure(&json(&started), "new", "cost");
    assert!((96.0..97.2).contains(&cost), "{cost}");
    // On Saturday and Sunday there is no working day.
    let weekend = [&arguments[..], &["--start", "2026-03-07T00:00:00Z"]].concat();
    assert!(figure(&json(&weekend), "new", "cost") < 53.0);
    let dated = folder.write("week.csv", two_days());
    let error = refused(&["--trace", named(&dated), "--policy", named(&policy), "--start", "2026-03-02T00:00:00Z"]);
    assert!(error.contains("it says itself when it began"), "{error}");
}

#[test]
fn a_mode_that_does_not_act_is_said_and_can_be_changed() {
    let folder = Folder::new();
    let trace = folder.write("week.csv", two_days());
    let policy = folder.write("pool.yaml", region("mode: shadow"));
    let arguments = ["--trace", named(&trace), "--policy", named(&policy)];
    let report = json(&arguments);
    assert!(report["traces"][0]["notes"].to_string().contains("the mode is shadow, so the count stands"), "{report}");
    assert_eq!(figure(&report, "pool", "actions_a_day"), 0.0);
    let report = json(&[&arguments[..], &["--mode", "on"]].concat());
    assert!(figure(&report, "pool", "actions_a_day") > 1.0);
    assert!(!report["traces"][0]["notes"].to_string().contains("the mode is"), "{report}");
    let error = refused(&[&arguments[..], &["--mode", "upp"]].concat());
    assert!(error.contains("on, up-only, advise, shadow, off, not `upp`"), "{error}");
}

#[test]
fn a_pool_that_cannot_be_meant_is_named_with_those_that_can() {
    let folder = Folder::new();
    let trace = folder.write("week.csv", two_days());
    let two = format!(
        "{}  - {{name: cart, origins: [\"127.0.0.1:1\"]}}\n",
        region("").replacen("pools: [", "pools:\n  - ", 1).replacen("}}]", "}}", 1)
    );
    let two = folder.write("two.yaml", two);
    let of = |pool: &str| refused(&["--trace", named(&trace), "--policy", named(&two), "--pool", pool]);
    assert!(of("shpo").contains("pool `shpo` is not there, perhaps `shop`; those with it: shop"), "{}", of("shpo"));
    assert!(of("cart").contains("pool `cart` has no `scaling`"), "{}", of("cart"));
    let broken = folder.write("broken.yaml", region("floor: many"));
    let error = refused(&["--trace", named(&trace), "--policy", named(&broken), "missing.yaml"]);
    assert!(error.contains("broken.yaml") && error.contains("missing.yaml"), "every file at once: {error}");
    let little = refused(&["--trace", named(&trace), "--policy", named(&two), "--capacity", "0.002"]);
    assert!(little.contains("origins at the peak: is --capacity what one of them carries?"), "{little}");
}

#[test]
fn a_longer_tick_is_coarser_and_near() {
    let folder = Folder::new();
    let trace = folder.write("week.csv", two_days());
    let policy = folder.write("pool.yaml", region(""));
    let arguments = ["--trace", named(&trace), "--policy", named(&policy)];
    let coarse = figure(&json(&[&arguments[..], &["--tick", "30s"]].concat()), "pool", "cost");
    let fine = figure(&json(&[&arguments[..], &["--tick", "5s"]].concat()), "pool", "cost");
    assert!(coarse != fine && (coarse / fine - 1.0).abs() < 0.01, "{coarse} and {fine}");
}

#[test]
fn signals_that_no_recording_has_are_left_out_and_named() {
    let folder = Folder::new();
    let trace = folder.write("week.csv", two_days());
    let own = "reactive: {requests_per_origin: 50, headroom: 1.0}";
    let with = |signals: &str| region("").replace(own, &format!("reactive: {{headroom: 1.0}}, signals: [{signals}]"));
    let flight = "{source: in_flight, name: busy, per_origin: 9}";
    let both = folder.write("both.yaml", with(&format!("{{source: requests, per_origin: 50}}, {flight}")));
    let report = json(&["--trace", named(&trace), "--policy", named(&both)]);
    let notes = report["traces"][0]["notes"].to_string();
    assert!(notes.contains("these signals are left out: busy (in_flight)"), "{notes}");
    let cost = figure(&report, "both", "cost");
    assert!((52.4..52.8).contains(&cost), "it goes by its requests: {cost}");
    let only = folder.write("only.yaml", with(flight));
    let error = refused(&["--trace", named(&trace), "--policy", named(&only), "--capacity", "50"]);
    assert!(error.contains("only requests are recorded, and pool shop goes by busy (in_flight)"), "{error}");
}

#[test]
fn a_script_of_the_pool_is_asked_in_each_tick_and_by_what_was_recorded() {
    let folder = Folder::new();
    let trace = folder.write("week.csv", two_days());
    // Seven origins while the load rises over what two carry, and three where it does not; never asked twice in a tick.
    folder.write(
        "surge.lua",
        "local last = 0\nfunction autoscale(metrics)\n  if metrics.now <= last then return 50, 'asked twice' end\n  \
         last = metrics.now\n  if (metrics.requests_per_second or 0) > 200 then return 7, 'a surge' end\n  \
         return 3, ('quiet at %d'):format(metrics.origins.desired)\nend\n",
    );
    let plugins = "plugins: [{name: surge, lua: surge.lua}]\n";
    let policy = folder.write("new.yaml", plugins.to_string() + &region("scripts: [surge]"));
    let plain = folder.write("plain.yaml", region(""));
    let arguments = ["--trace", named(&trace), "--policy", named(&policy), "--out", "explain"];
    let text = said(&arguments);
    assert!(text.lines().any(|line| line.contains("-> 7: script surge (a surge)")), "{text}");
    assert!(text.contains("script surge (quiet at ") && !text.contains("asked twice"), "{text}");
    assert!(!text.contains("silent") && !text.contains("no answer"), "{text}");
    assert_eq!(said(&arguments), text, "the same again, byte for byte");
    let both = ["--trace", named(&trace), "--policy", named(&policy), named(&plain)];
    let report = json(&both);
    let (scripted, plain) = (figure(&report, "new", "cost"), figure(&report, "plain", "cost"));
    assert!(scripted > plain + 20.0, "three in place of two all day: {scripted} and {plain}");
    folder.write("surge.lua", "return { on_tick = function() end }\n");
    let error = refused(&both);
    assert!(error.contains("plugin \"surge\" has no autoscale"), "{error}");
}
