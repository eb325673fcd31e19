//! The dictionary against a plain model, its clock in the test's hand, and many threads at once.

use super::*;

const T0: Duration = Duration::from_secs(1000);

fn after(seconds: u64) -> Duration {
    T0 + Duration::from_secs(seconds)
}

fn set<'a>(value: &'a [u8]) -> DictWrite<'a> {
    DictWrite::Set { value, ttl: None, version: None }
}

fn set_for(value: &[u8], seconds: u64) -> DictWrite<'_> {
    DictWrite::Set { value, ttl: Some(Duration::from_secs(seconds)), version: None }
}

fn dict() -> Dict {
    Dict::new(config::Dict::BYTES)
}

fn value(dict: &Dict, key: &[u8], now: Duration) -> Option<String> {
    dict.get(key, now).ok().map(|(value, _)| String::from_utf8(value.to_vec()).unwrap())
}

fn status<T: std::fmt::Debug>(answer: Answer<T>) -> Status {
    answer.unwrap_err().status
}

/// What its shards hold, counted afresh.
fn counted(dict: &Dict) -> usize {
    dict.parts.iter().map(|part| part.shard.lock().unwrap().bytes()).sum()
}

#[test]
fn a_write_with_a_stale_version_is_refused() {
    let dict = dict();
    dict.write(b"k", set(b"1"), T0).unwrap();
    let (_, version) = dict.get(b"k", T0).unwrap();
    let cas = |value| DictWrite::Cas { value, ttl: None, version };
    dict.write(b"k", cas(b"2"), T0).unwrap();
    assert_eq!(status(dict.write(b"k", cas(b"3"), T0)), Status::CasMismatch);
    let stale = DictWrite::Set { value: b"3", ttl: None, version: Some(version) };
    assert_eq!(status(dict.write(b"k", stale, T0)), Status::CasMismatch);
    assert_eq!(status(dict.write(b"k", DictWrite::Delete { version: Some(version) }, T0)), Status::CasMismatch);
    assert_eq!(status(dict.write(b"none", cas(b"3"), T0)), Status::CasMismatch);
    assert_eq!(value(&dict, b"k", T0).as_deref(), Some("2"));
}

#[test]
fn a_deleted_key_never_shows_an_old_version() {
    let dict = dict();
    dict.write(b"k", set(b"1"), T0).unwrap();
    let old = dict.get(b"k", T0).unwrap().1;
    dict.write(b"k", DictWrite::Delete { version: None }, T0).unwrap();
    assert_eq!(status(dict.get(b"k", T0)), Status::NotFound);
    dict.write(b"k", set(b"1"), T0).unwrap();
    assert_ne!(dict.get(b"k", T0).unwrap().1, old);
}

#[test]
fn add_writes_only_where_nothing_is() {
    let dict = dict();
    let add = |value| DictWrite::Add { value, ttl: Some(Duration::from_secs(5)) };
    dict.write(b"k", add(b"first"), T0).unwrap();
    assert_eq!(status(dict.write(b"k", add(b"second"), after(4))), Status::CasMismatch);
    assert_eq!(value(&dict, b"k", after(4)).as_deref(), Some("first"));
    dict.write(b"k", add(b"second"), after(5)).unwrap();
    assert_eq!(value(&dict, b"k", after(5)).as_deref(), Some("second"));
}

#[test]
fn a_value_is_gone_when_its_time_is_over_and_gives_its_room_back() {
    let dict = dict();
    dict.write(b"short", set_for(b"1", 10), T0).unwrap();
    dict.write(b"long", set_for(b"2", 20), T0).unwrap();
    dict.write(b"ever", set(b"3"), T0).unwrap();
    let before = dict.bytes.load(Ordering::Relaxed);
    assert_eq!(value(&dict, b"short", after(9)).as_deref(), Some("1"));
    assert_eq!(value(&dict, b"short", after(10)), None, "at the very end it is over");
    assert_eq!(dict.bytes.load(Ordering::Relaxed), before - cost(b"short", b"1"));
    // Written again without one, it has no end any more.
    dict.write(b"long", set(b"4"), after(11)).unwrap();
    dict.sweep(after(1_000_000));
    assert_eq!(value(&dict, b"long", after(1_000_000)).as_deref(), Some("4"));
    assert_eq!(value(&dict, b"ever", after(1_000_000)).as_deref(), Some("3"));
    assert_eq!(status(dict.write(b"k", set_for(b"1", 0), T0)), Status::BadArgument);
}

#[test]
fn a_sweep_takes_out_all_that_is_over_and_nothing_else() {
    let dict = dict();
    for i in 0..20_000_u32 {
        dict.write(&i.to_le_bytes(), set_for(b"v", if i % 4 == 0 { 100 } else { 10 }), T0).unwrap();
    }
    dict.sweep(after(50));
    let entries: usize = dict.parts.iter().map(|part| part.entries.load(Ordering::Relaxed)).sum();
    assert_eq!(entries, 5_000);
    assert_eq!(counted(&dict), dict.bytes.load(Ordering::Relaxed));
}

#[test]
fn incr_counts_from_init_and_keeps_the_time_that_the_number_had() {
    let dict = dict();
    let by = |by, init, seconds: u64| DictIncr { by, init, ttl: Some(Duration::from_secs(seconds)) };
    assert_eq!(dict.incr(b"n", by(2, 40, 10), T0).unwrap(), 42);
    assert_eq!(dict.incr(b"n", by(-50, 0, 100), after(9)).unwrap(), -8);
    assert_eq!(value(&dict, b"n", after(9)).as_deref(), Some("-8"));
    assert_eq!(dict.incr(b"n", by(1, 0, 10), after(10)).unwrap(), 1, "its ten seconds were over");
}

#[test]
fn what_is_no_number_is_not_counted_and_stays_as_it_was() {
    let dict = dict();
    for text in [&b"x"[..], b"", b"1.5", b"\xff", b"99999999999999999999"] {
        dict.write(b"n", set(text), T0).unwrap();
        assert_eq!(status(dict.incr(b"n", DictIncr { by: 1, ..DictIncr::default() }, T0)), Status::BadArgument);
        assert_eq!(dict.get(b"n", T0).unwrap().0, text);
    }
    dict.write(b"n", set(i64::MAX.to_string().as_bytes()), T0).unwrap();
    let refused = dict.incr(b"n", DictIncr { by: 1, ..DictIncr::default() }, T0).unwrap_err();
    assert_eq!(refused.status, Status::BadArgument);
    assert!(refused.message.contains("more than 64 bits hold"), "{refused}");
}

#[test]
fn what_was_used_longest_ago_makes_room_whichever_shard_it_is_in() {
    let one = cost(b"k0000", &[b'v'; 100]);
    let dict = Dict::new(50 * one);
    let key = |i: u64| format!("k{i:04}").into_bytes();
    for i in 0..50 {
        dict.write(&key(i), set(&[b'v'; 100]), after(i)).unwrap();
    }
    // The ten that were written first are looked at: they are the newest now.
    for i in 0..10 {
        assert!(dict.get(&key(i), after(100 + i)).is_ok());
    }
    for i in 50..70 {
        dict.write(&key(i), set(&[b'v'; 100]), after(200 + i)).unwrap();
    }
    for i in 0..70 {
        let gone = (10..30).contains(&i);
        assert_eq!(dict.get(&key(i), after(300)).is_err(), gone, "key {i}");
    }
    assert_eq!(dict.evictions.load(Ordering::Relaxed), 20);
    assert_eq!(dict.bytes.load(Ordering::Relaxed), 50 * one);
}

#[test]
fn a_value_that_no_dictionary_of_this_size_takes_is_refused_and_evicts_nothing() {
    let dict = Dict::new(100 << 10);
    dict.write(b"kept", set(b"1"), T0).unwrap();
    let refused = dict.write(b"k", set(&vec![0; (64 << 10) + 1]), after(1)).unwrap_err();
    assert_eq!(refused.status, Status::LimitExceeded);
    assert_eq!(refused.message, "dict.set: a value of 65537 bytes (allowed: 65536 in a dictionary of 102400)");
    assert!(dict.get(b"kept", after(1)).is_ok());
    dict.write(b"k", set(&vec![0; 64 << 10]), after(1)).unwrap();
    assert_eq!(status(dict.write(&[0; 2000], set(b""), T0)), Status::BadArgument);
}

#[test]
fn a_number_that_is_alone_in_a_full_dictionary_is_counted_on_and_not_evicted_by_itself() {
    let dict = Dict::new(cost(b"n", b"10"));
    for wanted in 1..=99 {
        assert_eq!(dict.incr(b"n", DictIncr { by: 1, ..DictIncr::default() }, T0).unwrap(), wanted);
    }
    let full = dict.incr(b"n", DictIncr { by: 1, ..DictIncr::default() }, T0);
    assert_eq!(status(full), Status::LimitExceeded, "three digits do not fit");
    assert_eq!(value(&dict, b"n", T0).as_deref(), Some("99"));
}

#[test]
fn a_smaller_bound_is_kept_to_from_the_next_writes_on() {
    let dict = Dict::new(100_000);
    for i in 0..100_u32 {
        dict.write(&i.to_le_bytes(), set(&[0; 500]), after(u64::from(i))).unwrap();
    }
    dict.set_most(10_000);
    dict.write(b"next", set(&[0; 500]), after(200)).unwrap();
    assert!(dict.bytes.load(Ordering::Relaxed) <= 10_000);
    assert_eq!(counted(&dict), dict.bytes.load(Ordering::Relaxed));
    assert!(dict.get(&99_u32.to_le_bytes(), after(201)).is_ok(), "the newest stay");
}

/// Against a plain list: what is there, its version's standing, and what went to make room.
#[test]
fn any_sequence_of_calls_does_what_a_plain_list_would() {
    for seed in 0..30 {
        let mut random = fastrand::Rng::with_seed(seed);
        let dict = Dict::new(2_000);
        let mut model: Vec<(Vec<u8>, Vec<u8>, Option<Duration>)> = Vec::new();
        let mut now = T0;
        for step in 0..3_000 {
            // Each use at a time of its own, so that "longest ago" names one entry.
            now += Duration::from_millis(random.u64(1..2_000));
            model.retain(|(_, _, expires)| expires.is_none_or(|expires| expires > now));
            let key = vec![b'k', random.u8(..12)];
            let at = model.iter().position(|(k, ..)| *k == key);
            let ttl = random.bool().then(|| Duration::from_secs(random.u64(1..20)));
            let expires = ttl.map(|ttl| now + ttl);
            let filled = vec![b'x'; random.usize(..400)];
            let put = match random.u8(..5) {
                0 => {
                    assert_eq!(dict.get(&key, now).ok().map(|(v, _)| v.to_vec()), at.map(|at| model[at].1.clone()));
                    if let Some(at) = at {
                        let used = model.remove(at);
                        model.push(used);
                    }
                    None
                }
                1 => {
                    dict.write(&key, DictWrite::Delete { version: None }, now).unwrap();
                    at.map(|at| model.remove(at));
                    None
                }
                2 => {
                    let added = dict.write(&key, DictWrite::Add { value: &filled, ttl }, now);
                    assert_eq!(added.is_err(), at.is_some(), "seed {seed}, step {step}");
                    // Having looked is a use.
                    if let Some(at) = at {
                        let used = model.remove(at);
                        model.push(used);
                    }
                    at.is_none().then_some((filled, expires))
                }
                3 => {
                    dict.write(&key, DictWrite::Set { value: &filled, ttl, version: None }, now).unwrap();
                    Some((filled, expires))
                }
                _ => {
                    let before = at.map(|at| model[at].clone());
                    let number = before.as_ref().map_or(Some(0), |(_, v, _)| std::str::from_utf8(v).ok()?.parse().ok());
                    let made = dict.incr(&key, DictIncr { by: 7, init: 0, ttl }, now);
                    assert_eq!(made.ok(), number.map(|number: i64| number + 7), "seed {seed}, step {step}");
                    if number.is_none()
                        && let Some(at) = at
                    {
                        let used = model.remove(at);
                        model.push(used);
                    }
                    number.map(|n| ((n + 7).to_string().into_bytes(), before.map_or(expires, |(_, _, e)| e)))
                }
            };
            if let Some((value, expires)) = put {
                model.retain(|(k, ..)| *k != key);
                model.push((key, value, expires));
                while model.iter().map(|(k, v, _)| cost(k, v)).sum::<usize>() > 2_000 {
                    model.remove(0);
                }
            }
            dict.sweep(now);
            let held = model.iter().map(|(k, v, _)| cost(k, v)).sum::<usize>();
            assert_eq!(dict.bytes.load(Ordering::Relaxed), held, "seed {seed}, step {step}");
            assert_eq!(counted(&dict), held, "seed {seed}, step {step}");
        }
    }
}

#[test]
fn eight_threads_count_exactly_and_never_pass_the_bound() {
    let dict = Dict::new(64 << 10);
    let most = 64 << 10;
    let clock = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for thread in 0..8_u32 {
            let (dict, clock) = (&dict, &clock);
            scope.spawn(move || {
                let mut random = fastrand::Rng::with_seed(thread.into());
                for _ in 0..20_000 {
                    let now = after(clock.fetch_add(1, Ordering::Relaxed));
                    dict.incr(b"all", DictIncr { by: 1, ..DictIncr::default() }, now).unwrap();
                    let key = random.u32(..2_000).to_le_bytes();
                    dict.write(&key, set(&[1; 100]), now).unwrap();
                    assert!(dict.bytes.load(Ordering::Relaxed) <= most);
                }
            });
        }
    });
    assert_eq!(value(&dict, b"all", after(160_000)).as_deref(), Some("160000"));
    assert_eq!(counted(&dict), dict.bytes.load(Ordering::Relaxed));
    assert!(dict.evictions.load(Ordering::Relaxed) > 1_000);
}
