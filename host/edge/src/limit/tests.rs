//! The bucket against a plain model in exact numbers, and many threads that take at once.

use std::sync::atomic::AtomicU32;

use super::*;

const T0: Duration = Duration::from_secs(7);

fn bucket(rate: u32, per: Duration, burst: u32, keys: usize) -> Bucket {
    Bucket::new("b", config::Bucket { rate, per, burst, keys })
}

fn take(bucket: &Bucket, key: &[u8], cost: u32, now: Duration) -> Taken {
    bucket.take("limit.take", key, cost, now).unwrap()
}

#[test]
fn a_bucket_gives_its_burst_and_then_its_rate() {
    let bucket = bucket(4, Duration::from_secs(1), 2, 100);
    let taken = |remaining| Taken { allowed: true, remaining, retry_after: Duration::ZERO };
    assert_eq!(take(&bucket, b"k", 1, T0), taken(1));
    assert_eq!(take(&bucket, b"k", 1, T0), taken(0));
    let wait = Duration::from_millis(250);
    assert_eq!(take(&bucket, b"k", 1, T0), Taken { allowed: false, remaining: 0, retry_after: wait });
    assert_eq!(take(&bucket, b"other", 1, T0), taken(1), "each key has its own");
    let almost = T0 + wait - Duration::from_nanos(1);
    assert_eq!(take(&bucket, b"k", 1, almost).retry_after, Duration::from_nanos(1));
    assert_eq!(take(&bucket, b"k", 1, T0 + wait), taken(0));
    assert_eq!(take(&bucket, b"k", 2, T0 + wait).retry_after, 2 * wait);
    assert_eq!(take(&bucket, b"k", 0, Duration::from_secs(100)), taken(2), "it never holds more than its burst");
}

#[test]
fn what_no_time_would_allow_is_refused_at_once() {
    let bucket = bucket(4, Duration::from_secs(1), 2, 100);
    let refused = bucket.take("limit.take", b"k", 3, T0).unwrap_err();
    assert_eq!(refused.status, Status::BadArgument);
    assert_eq!(refused.message, "limit.take: 3 tokens of bucket \"b\" at once (allowed: 2, its burst)");
    assert_eq!(bucket.take("limit.take", &[0; 1025], 1, T0).unwrap_err().status, Status::BadArgument);
    assert_eq!(take(&bucket, b"k", 2, T0).remaining, 0, "nothing was taken by that");
}

/// Another way to the same: a level that grows with time, in nanoseconds times the rate.
struct Plain {
    terms: config::Bucket,
    level: i128,
    at: Duration,
}

impl Plain {
    fn token(&self) -> i128 {
        self.terms.per.as_nanos() as i128
    }

    fn most(&self) -> i128 {
        i128::from(self.terms.burst) * self.token()
    }

    fn pass(&mut self, now: Duration) {
        self.level += (now - self.at).as_nanos() as i128 * i128::from(self.terms.rate);
        (self.level, self.at) = (self.level.min(self.most()), now);
    }

    fn take(&mut self, cost: u32) -> Taken {
        let wanted = i128::from(cost) * self.token();
        let allowed = self.level >= wanted;
        let missing = if allowed { 0 } else { wanted - self.level };
        if allowed {
            self.level -= wanted;
        }
        let rate = i128::from(self.terms.rate);
        Taken {
            allowed,
            remaining: (self.level.max(0) / self.token()) as u32,
            retry_after: Duration::from_nanos(((missing + rate - 1) / rate) as u64),
        }
    }
}

#[test]
fn any_sequence_of_takes_and_returns_is_that_of_a_plain_level() {
    for seed in 0..200 {
        let mut random = fastrand::Rng::with_seed(seed);
        let per = Duration::from_nanos(random.u64(1..5_000_000_000));
        let terms = config::Bucket { rate: random.u32(1..1_000), per, burst: random.u32(1..50), keys: 1000 };
        let bucket = Bucket::new("b", terms.clone());
        let mut plain = [0, 1].map(|_| {
            let mut plain = Plain { terms: terms.clone(), level: 0, at: T0 };
            plain.level = plain.most();
            plain
        });
        let keys = [b"a", b"b"];
        let mut now = T0;
        let step = per.as_nanos() as u64 / u64::from(terms.rate) + 1;
        for _ in 0..300 {
            now += Duration::from_nanos(random.u64(0..3 * step));
            let which = random.usize(..2);
            plain[which].pass(now);
            let (plain, key) = (&mut plain[which], keys[which]);
            match random.u8(..8) {
                0 => {
                    let tokens = random.u32(..terms.burst + 1);
                    bucket.give(key, tokens);
                    plain.level = (plain.level + i128::from(tokens) * plain.token()).min(plain.most());
                }
                1 => {
                    let tokens = random.u32(..terms.burst + 1);
                    bucket.owe(key, tokens, now);
                    plain.level -= i128::from(tokens) * plain.token();
                }
                _ => {
                    let cost = random.u32(..terms.burst + 1);
                    assert_eq!(take(&bucket, key, cost, now), plain.take(cost), "seed {seed}: {terms:?}");
                }
            }
        }
    }
}

#[test]
fn a_take_that_waits_as_long_as_it_was_told_is_allowed_and_no_sooner() {
    for seed in 0..200 {
        let mut random = fastrand::Rng::with_seed(seed);
        let per = Duration::from_nanos(random.u64(1..10_000_000_000));
        let bucket = bucket(random.u32(1..10_000), per, random.u32(1..100), 10);
        let burst = bucket.terms.burst;
        take(&bucket, b"k", burst, T0);
        let cost = random.u32(1..burst + 1);
        let told = take(&bucket, b"k", cost, T0);
        assert!(!told.allowed && told.retry_after > Duration::ZERO);
        let early = take(&bucket, b"k", cost, T0 + told.retry_after - Duration::from_nanos(1));
        assert_eq!((early.allowed, early.retry_after), (false, Duration::from_nanos(1)), "seed {seed}");
        assert!(take(&bucket, b"k", cost, T0 + told.retry_after).allowed, "seed {seed}");
    }
}

#[test]
fn the_keys_that_were_used_last_are_kept_and_their_number_is_bounded() {
    let bucket = bucket(1, Duration::from_secs(3600), 1, 10);
    let key = |i: u32| i.to_le_bytes();
    for i in 0..10 {
        assert!(take(&bucket, &key(i), 1, T0).allowed);
    }
    // The first is asked for again, in vain, and so is used.
    assert!(!take(&bucket, &key(0), 1, T0).allowed);
    assert!(take(&bucket, &key(10), 1, T0).allowed);
    let keys = || bucket.parts.iter().map(|part| lock(part).len()).sum::<usize>();
    assert_eq!((keys(), bucket.counts.evictions.load(Ordering::Relaxed)), (10, 1));
    for i in [0, 2, 10] {
        assert!(!take(&bucket, &key(i), 1, T0).allowed, "key {i} is remembered");
    }
    assert!(take(&bucket, &key(1), 1, T0).allowed, "what was used longest ago is forgotten");
    let many = self::bucket(1, Duration::from_secs(3600), 1, 5_000);
    for i in 0..50_000 {
        take(&many, &key(i), 1, T0);
    }
    assert!(many.parts.len() == MOST_PARTS && many.parts.iter().map(|part| lock(part).len()).sum::<usize>() <= 5_000);
    // Who only looks leaves nothing behind.
    let looked = self::bucket(1, Duration::from_secs(1), 1, 10);
    take(&looked, b"k", 0, T0);
    assert_eq!(lock(&looked.parts[0]).len(), 0);
}

#[test]
fn eight_threads_get_exactly_what_is_there() {
    let bucket = bucket(1_000, Duration::from_secs(1), 10_000, 100);
    for (second, there) in [(0, 10_000), (3, 3_000), (4, 1_000), (1_000, 10_000)] {
        let now = T0 + Duration::from_secs(second);
        let got = AtomicU32::new(0);
        std::thread::scope(|scope| {
            for thread in 0..8_u32 {
                let (bucket, got) = (&bucket, &got);
                scope.spawn(move || {
                    for i in 0..5_000 {
                        let cost = 1 + (thread + i) % 3;
                        if take(bucket, b"shared", cost, now).allowed {
                            got.fetch_add(cost, Ordering::Relaxed);
                        }
                    }
                    // The last ones singly, so that nothing is left for want of the right cost.
                    while take(bucket, b"shared", 1, now).allowed {
                        got.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
        });
        assert_eq!(got.load(Ordering::Relaxed), there, "after {second} seconds");
    }
}

#[test]
fn eight_threads_that_settle_leave_exactly_what_was_not_used() {
    let bucket = bucket(1, Duration::from_secs(3600), 100_000, 100);
    let used = AtomicU32::new(0);
    std::thread::scope(|scope| {
        for thread in 0..8_u64 {
            let (bucket, used) = (&bucket, &used);
            scope.spawn(move || {
                let mut random = fastrand::Rng::with_seed(thread);
                for _ in 0..2_000 {
                    if take(bucket, b"shared", 5, T0).allowed {
                        let really = random.u32(..9);
                        if really < 5 {
                            bucket.give(b"shared", 5 - really);
                        } else {
                            bucket.owe(b"shared", really - 5, T0);
                        }
                        used.fetch_add(really, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    assert_eq!(take(&bucket, b"shared", 0, T0).remaining, 100_000 - used.load(Ordering::Relaxed));
}
