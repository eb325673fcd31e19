//! Reports become points of 15 s and of a minute, and points become what a restarted region knows.

mod script;

use forebay_scaler as scaler;
use scaler::region::Applied;
use scaler::{Event, Point};
use script::*;

/// A region that hears of `edges` once a second for so long, 40 requests each.
fn heard(script: &mut Script, edges: &[&str], seconds: u64) {
    for _ in 0..seconds {
        script.pass();
        for edge in edges {
            script.report(edge, 40);
        }
    }
}

fn fine(script: &mut Script) -> Vec<Point> {
    script.region.points(script.now).remove("shop").map(|points| points.fine).unwrap_or_default()
}

#[test]
fn points_are_means_and_a_gap_is_a_gap() {
    let mut script = Script::new(scaling(), "2026-01-01T00:00:00Z");
    heard(&mut script, &["e1", "e2"], 15);
    (0..20).for_each(|_| script.pass());
    heard(&mut script, &["e1", "e2"], 5);
    let points = script.region.points(script.now).remove("shop").unwrap();
    let starts: Vec<_> = points.fine.iter().map(|point| point.at.to_string()).collect();
    assert_eq!(starts, ["2026-01-01T00:00:00Z", "2026-01-01T00:00:30Z"], "nobody reported in between");
    assert_eq!((points.fine[0].requests, points.fine[0].covered), (80.0, 1.0));
    assert!((points.fine[1].covered - 5.0 / 15.0).abs() < 1e-9, "{:?}", points.fine[1]);
    assert_eq!((points.minutes.len(), points.minutes[0].requests), (1, 80.0), "the gap is not zero");
    assert!((points.minutes[0].covered - 20.0 / 60.0).abs() < 1e-9);
    assert!(script.region.points(script.now).is_empty(), "nothing came since");
    heard(&mut script, &["e1"], 1);
    assert_eq!(fine(&mut script).len(), 1, "only what changed");
}

#[test]
fn an_edge_that_falls_silent_lowers_what_is_covered_and_not_the_share_of_the_other() {
    let mut script = Script::new(scaling(), "2026-01-01T00:00:00Z");
    heard(&mut script, &["e1", "e2"], 15);
    heard(&mut script, &["e1"], 15);
    let points = fine(&mut script);
    assert_eq!((points[0].requests, points[0].covered), (80.0, 1.0));
    assert_eq!((points[1].requests, points[1].covered), (40.0, 0.5), "e2 is missing, not idle");
}

#[test]
fn reports_that_overlap_cover_no_second_that_is_still_to_come() {
    let mut first = Script::new(scaling(), "2026-01-01T00:00:00Z");
    for _ in 0..6 {
        first.pass();
        for _ in 0..20 {
            first.report("e1", 10);
        }
    }
    let points = fine(&mut first);
    assert!(points.len() == 1 && points[0].requests == 10.0, "{points:?}");
    assert!((points[0].covered - 6.0 / 15.0).abs() < 1e-9, "{points:?}");
    // What was to come is heard of by whoever starts next, and is not thinned by what nobody saw.
    let mut second = Script::new(scaling(), "2026-01-01T00:00:06Z");
    second.apply(Event::Recalled { pool: "shop".into(), points });
    second.now += secs(6);
    heard(&mut second, &["e1"], 1);
    second.step();
    // Of the window's ten seconds three are of the run before, at 10, and one is of this one.
    assert_eq!(second.last().inputs.requests_per_second, Some((3.0 * 10.0 + 40.0) / 4.0));
}

#[test]
fn a_region_that_recalls_goes_on_with_the_step_that_was_cut_off() {
    let mut first = Script::new(scaling(), "2026-01-01T00:00:00Z");
    heard(&mut first, &["e1"], 20);
    let points = fine(&mut first);
    assert_eq!(points.len(), 2);

    let mut second = Script::new(scaling(), "2026-01-01T00:00:22Z");
    assert_eq!(second.apply(Event::Recalled { pool: "shop".into(), points: points.clone() }), Applied::Taken);
    assert_eq!(second.apply(Event::Recalled { pool: "shoq".into(), points }), Applied::Unknown);
    assert!(second.region.points(second.now).is_empty(), "what was recalled is no news");
    let view = second.region.pool("shop", second.now).unwrap();
    assert_eq!(view.inputs.requests_per_second, None, "it says nothing of who reports now");
    for _ in 0..3 {
        second.pass();
        second.report("e1", 80);
    }
    let points = second.region.points(second.now).remove("shop").unwrap();
    assert_eq!(points.fine.len(), 1);
    let (requests, covered) = (points.fine[0].requests, points.fine[0].covered);
    assert!((requests - (5.0 * 40.0 + 3.0 * 80.0) / 8.0).abs() < 1e-9, "five seconds of 40, three of 80: {requests}");
    assert!((covered - 8.0 / 15.0).abs() < 1e-9, "{covered}");
    let minute = points.minutes[0];
    assert!((minute.requests - (20.0 * 40.0 + 3.0 * 80.0) / 23.0).abs() < 1e-9, "{minute:?}");
    second.region.tell_points_again();
    assert_eq!(fine(&mut second).len(), 2, "the recalled step is told too");
}

#[test]
fn a_recalled_hour_steadies_the_first_decision() {
    let mut first = Script::new(scaling(), "2026-01-01T00:00:00Z");
    heard(&mut first, &["e1"], 15);
    let points = fine(&mut first);
    let mut second = Script::new(scaling(), "2026-01-01T00:00:15Z");
    second.apply(Event::Recalled { pool: "shop".into(), points });
    second.pass();
    second.report("e1", 0);
    let view = second.region.pool("shop", second.now).unwrap();
    let level = view.inputs.requests_per_second.unwrap();
    assert!(level > 30.0, "one second does not stand for the ten of the window: {level}");
}
