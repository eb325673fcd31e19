//! The capacity of an origin, held exactly: a number of lanes, each busy with one request at a
//! time, and a short queue before them. Pure: instants are passed in.
//!
//! Capacity x service time is how many lanes it takes to carry that many requests a second. It
//! is rarely a whole number; the lanes are rounded up, and each stays busy a little longer than
//! the service time, so that the rate is what was asked for and not what the rounding gives.

use std::time::{Duration, Instant};

use super::Options;

pub struct Lanes {
    /// When each lane is free.
    free: Vec<Instant>,
    /// Until the answer.
    service: Duration,
    /// Until the lane takes the next.
    busy: Duration,
    queue: usize,
    /// Begins of the requests that were admitted and may still wait.
    waiting: Vec<Instant>,
    cold_left: u64,
    cold_factor: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Admitted { done: Instant, cold: bool },
    Shed,
}

impl Lanes {
    pub fn new(options: &Options, now: Instant) -> Lanes {
        let lanes = (options.capacity * options.service.as_secs_f64()).ceil().max(1.0);
        Lanes {
            free: vec![now; lanes as usize],
            service: options.service,
            busy: Duration::from_secs_f64(lanes / options.capacity),
            queue: options.queue.unwrap_or((options.capacity / 4.0).ceil() as usize),
            waiting: Vec::new(),
            cold_left: options.cold_requests,
            cold_factor: options.cold_factor.max(1.0),
        }
    }

    /// Takes a request that arrives now, or sheds it.
    pub fn admit(&mut self, now: Instant) -> Verdict {
        self.waiting.retain(|&begin| begin > now);
        let lane = self.free.iter_mut().min().expect("there is at least one lane");
        let begin = now.max(*lane);
        if begin > now && self.waiting.len() >= self.queue {
            return Verdict::Shed;
        }
        let cold = self.cold_left > 0;
        self.cold_left = self.cold_left.saturating_sub(1);
        let factor = if cold { self.cold_factor } else { 1.0 };
        *lane = begin + self.busy.mul_f64(factor);
        if begin > now {
            self.waiting.push(begin);
        }
        Verdict::Admitted { done: begin + self.service.mul_f64(factor), cold }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(capacity: f64, service_ms: u64) -> Options {
        Options {
            port: 0,
            boot: Duration::ZERO,
            service: Duration::from_millis(service_ms),
            capacity,
            queue: None,
            cold_requests: 0,
            cold_factor: 5.0,
            warmup_path: "/warmup".into(),
            counts: None,
            with_parent: false,
        }
    }

    /// Admitted of `offered` requests a second over ten seconds.
    fn carried(lanes: &mut Lanes, start: Instant, offered: u32) -> u32 {
        let arrivals = (0..offered * 10).map(|i| start + Duration::from_secs(10) * i / (offered * 10));
        arrivals.filter(|&at| lanes.admit(at) != Verdict::Shed).count() as u32
    }

    #[test]
    fn three_times_the_capacity_is_cut_to_the_capacity() {
        let start = Instant::now();
        for (capacity, service_ms) in [(20.0, 40), (40.0, 50), (33.0, 10), (7.0, 900)] {
            let options = options(capacity, service_ms);
            let carried = carried(&mut Lanes::new(&options, start), start, (capacity * 3.0) as u32);
            // Ten seconds of capacity, and once the queue and the lanes.
            let most = capacity * 10.0 + (capacity / 4.0).ceil() + (capacity * 0.9).ceil() + 1.0;
            assert!(f64::from(carried) >= capacity * 10.0 - 1.0, "{capacity}/s carried {carried} in 10 s");
            assert!(f64::from(carried) <= most, "{capacity}/s carried {carried} in 10 s");
        }
    }

    #[test]
    fn under_its_capacity_nothing_waits_and_nothing_is_shed() {
        let start = Instant::now();
        let mut lanes = Lanes::new(&options(40.0, 50), start);
        for i in 0..400 {
            let at = start + Duration::from_millis(26) * i;
            let expected = Verdict::Admitted { done: at + Duration::from_millis(50), cold: false };
            assert_eq!(lanes.admit(at), expected);
        }
    }

    #[test]
    fn the_queue_is_bounded_and_sheds_at_once() {
        let start = Instant::now();
        let mut lanes = Lanes::new(&Options { queue: Some(2), ..options(40.0, 50) }, start);
        let verdicts: Vec<bool> = (0..6).map(|_| lanes.admit(start) == Verdict::Shed).collect();
        // Two lanes, two that wait, and the rest is refused.
        assert_eq!(verdicts, [false, false, false, false, true, true]);
        let later = start + Duration::from_millis(51);
        assert_ne!(lanes.admit(later), Verdict::Shed);
    }

    #[test]
    fn a_cold_origin_is_slow_for_its_first_requests_only() {
        let start = Instant::now();
        let mut lanes = Lanes::new(&Options { cold_requests: 2, ..options(40.0, 50) }, start);
        for (i, (cold, took)) in [(true, 250), (true, 250), (false, 50)].into_iter().enumerate() {
            let at = start + Duration::from_secs(i as u64);
            let expected = Verdict::Admitted { done: at + Duration::from_millis(took), cold };
            assert_eq!(lanes.admit(at), expected);
        }
    }
}
