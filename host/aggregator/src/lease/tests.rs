//! Every transition of the lease, on a clock of their own.

use super::*;

const TTL: Duration = Duration::from_secs(6);

fn ms(ms: u64) -> Moment {
    Moment::from_millis(ms)
}

/// A lease that was granted with token 7, asked for at second 10 and answered 100 ms later.
fn leading() -> Lease {
    let mut lease = Lease::new(TTL, 0);
    let ask = lease.next(ms(10_000)).unwrap();
    assert_eq!(ask, Ask::Acquire { above: 0 });
    lease.answered(ask, ms(10_000), Some(Answer::Granted { token: 7 }), ms(10_100));
    lease
}

#[test]
fn a_lease_counts_from_when_it_was_asked_for_and_ends_before_the_server_ends_it() {
    let mut lease = leading();
    assert_eq!(lease.token(ms(10_100)), Some(7));
    assert_eq!(lease.token(ms(15_399)), Some(7));
    assert_eq!(lease.token(ms(15_400)), None, "6 s after it was sent, less a tenth");
    assert_eq!(lease.next(ms(15_400)), Ok(Ask::Acquire { above: 7 }));
}

#[test]
fn a_third_of_it_later_it_is_renewed_and_goes_on_under_the_same_token() {
    let mut lease = leading();
    assert!(lease.next(ms(11_999)).is_err());
    let ask = lease.next(ms(12_000)).unwrap();
    assert_eq!(ask, Ask::Renew { token: 7 });
    lease.answered(ask, ms(12_000), Some(Answer::Renewed), ms(12_900));
    assert_eq!(lease.token(ms(17_399)), Some(7));
    assert_eq!(lease.token(ms(17_400)), None);
    assert_eq!(lease.next(ms(14_000)), Ok(Ask::Renew { token: 7 }));
}

#[test]
fn an_answer_that_is_older_than_the_lease_grants_nothing() {
    let mut lease = Lease::new(TTL, 0);
    let ask = lease.next(ms(0)).unwrap();
    lease.answered(ask, ms(0), Some(Answer::Granted { token: 7 }), ms(5_400));
    assert_eq!(lease.token(ms(5_400)), None, "the process slept: another may lead by now");
    assert_eq!(lease.next(ms(6_000)), Ok(Ask::Acquire { above: 7 }));
}

#[test]
fn a_renewal_that_is_heard_of_after_the_end_revives_nothing() {
    let mut lease = leading();
    let ask = lease.next(ms(15_300)).unwrap();
    lease.answered(ask, ms(15_300), Some(Answer::Renewed), ms(15_500));
    assert_eq!(lease.token(ms(15_500)), None);
    assert_eq!(lease.next(ms(16_100)), Ok(Ask::Acquire { above: 7 }), "what comes next has a new token");
}

#[test]
fn without_an_answer_it_leads_to_the_end_of_what_it_has_and_asks_on() {
    let mut lease = leading();
    let mut asked = 0;
    for now in (12_000..15_400).step_by(100) {
        assert_eq!(lease.token(ms(now)), Some(7), "{now}");
        if let Ok(ask) = lease.next(ms(now)) {
            lease.answered(ask, ms(now), None, ms(now));
            asked += 1;
        }
    }
    assert!((6..=8).contains(&asked), "each half second: {asked}");
    assert_eq!(lease.token(ms(15_400)), None);
}

#[test]
fn what_was_lost_ends_at_once_and_is_asked_for_anew() {
    let mut lease = leading();
    lease.answered(Ask::Renew { token: 7 }, ms(12_000), Some(Answer::Lost), ms(12_010));
    assert_eq!(lease.token(ms(12_010)), None);
    assert_eq!(lease.next(ms(12_010)), Ok(Ask::Acquire { above: 7 }));
}

#[test]
fn who_waits_asks_when_the_lease_may_end_and_each_half_second() {
    let mut lease = Lease::new(TTL, 0);
    let held = |rest| Some(Answer::Held { rest: ms(rest), highest: 3 });
    lease.answered(Ask::Acquire { above: 0 }, ms(0), held(4_000), ms(0));
    assert_eq!(lease.next(ms(0)), Err(ms(500)));
    assert_eq!(lease.next(ms(500)), Ok(Ask::Acquire { above: 3 }), "it has heard of 3");
    lease.answered(Ask::Acquire { above: 3 }, ms(500), held(120), ms(500));
    assert_eq!(lease.next(ms(619)), Err(ms(620)));
    assert_eq!(lease.next(ms(620)), Ok(Ask::Acquire { above: 3 }));
    assert_eq!(lease.token(ms(620)), None);
}

#[test]
fn who_hears_of_a_higher_token_leads_no_more() {
    let mut lease = leading();
    lease.heard(7, ms(10_200));
    lease.heard(3, ms(10_200));
    assert_eq!(lease.token(ms(10_200)), Some(7), "its own and older ones are none");
    lease.heard(9, ms(10_200));
    assert_eq!(lease.token(ms(10_200)), None);
    assert_eq!(lease.next(ms(10_200)), Ok(Ask::Acquire { above: 9 }));
    lease.answered(Ask::Acquire { above: 9 }, ms(10_200), Some(Answer::Granted { token: 8 }), ms(10_210));
    assert_eq!(lease.token(ms(10_210)), None, "a server that lost its count grants nothing");
    lease.answered(Ask::Acquire { above: 9 }, ms(10_300), Some(Answer::Granted { token: 10 }), ms(10_310));
    assert_eq!(lease.token(ms(10_310)), Some(10));
}

/// Its lease has ended at 15.4 s, and so has each question since.
fn silent() -> Lease {
    let mut lease = leading();
    let ask = lease.next(ms(15_400)).unwrap();
    lease.answered(ask, ms(15_400), None, ms(15_700));
    lease
}

#[test]
fn the_last_to_lead_lapses_a_whole_ttl_after_its_end_if_nobody_answers() {
    let mut lease = silent();
    assert_eq!((lease.lapsed(ms(15_700)), lease.lapsed(ms(21_399))), (None, None), "others may be granted it");
    assert_eq!((lease.lapsed(ms(21_400)), lease.token(ms(21_400))), (Some(7), None));
    assert_eq!(lease.next(ms(21_400)), Ok(Ask::Acquire { above: 7 }), "it asks on");
    lease.answered(Ask::Acquire { above: 7 }, ms(21_400), Some(Answer::Granted { token: 8 }), ms(21_500));
    assert_eq!((lease.lapsed(ms(21_500)), lease.token(ms(21_500))), (None, Some(8)), "and leads again");
    let asleep = leading();
    assert_eq!(asleep.lapsed(ms(60_000)), None, "who was paused has not asked yet");
}

#[test]
fn who_knows_that_another_may_have_led_since_does_not_lapse() {
    let late = ms(90_000);
    let mut lease = silent();
    lease.heard(8, ms(30_000));
    assert_eq!(lease.lapsed(late), None, "a higher token has acted");
    for answer in [Answer::Held { rest: ms(3_000), highest: 7 }, Answer::Held { rest: ms(3_000), highest: 9 }] {
        let mut lease = silent();
        lease.answered(Ask::Acquire { above: 7 }, ms(16_000), Some(answer), ms(16_010));
        assert_eq!(lease.lapsed(late), None, "it answered");
        lease.answered(Ask::Acquire { above: 9 }, ms(20_000), None, ms(20_300));
        assert_eq!(lease.lapsed(late), None, "and whoever has it may have been granted another since");
    }
    let mut lease = leading();
    lease.answered(Ask::Renew { token: 7 }, ms(12_000), Some(Answer::Lost), ms(12_010));
    lease.answered(Ask::Acquire { above: 7 }, ms(12_010), None, ms(12_300));
    assert_eq!(lease.lapsed(late), None, "it was lost, and not to silence");
    let mut lease = Lease::new(TTL, 7);
    lease.answered(Ask::Acquire { above: 7 }, ms(0), None, ms(300));
    assert_eq!(lease.lapsed(late), None, "an earlier run led");
}

#[test]
fn a_token_that_nobody_can_count_on_from_is_not_believed() {
    let mut lease = leading();
    lease.heard(u64::MAX, ms(10_200));
    assert_eq!(lease.token(ms(10_200)), Some(7), "a damaged file ends no lease");
    assert_eq!(lease.next(ms(15_400)), Ok(Ask::Acquire { above: 7 }));
    let mut lease = Lease::new(TTL, MOST_TOKEN);
    assert_eq!(lease.next(ms(0)), Ok(Ask::Acquire { above: 0 }), "nor does one of a journal keep it from asking");
}

#[test]
fn who_ends_leads_no_more() {
    let mut lease = leading();
    lease.end();
    lease.answered(Ask::Release, ms(10_200), None, ms(10_300));
    assert_eq!(lease.lapsed(ms(60_000)), None);
    assert_eq!(lease.token(ms(10_200)), None);
}
