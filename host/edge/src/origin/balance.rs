//! Which origin of a pool gets the next request.

use std::sync::Arc;
use std::time::Instant;

use config::Balance;

use crate::membership::{Member, View};

/// Where a worker's rotation over a pool stands.
#[derive(Default)]
pub struct Rotation {
    epoch: u64,
    next: usize,
    /// Smooth weighted round robin, while shares differ: what each serving origin is owed.
    owed: Vec<f64>,
}

impl Rotation {
    /// A serving and healthy origin that `allowed` lets it be.
    pub fn pick(
        &mut self,
        balance: Balance,
        view: &View,
        worker: usize,
        now: Instant,
        allowed: impl Fn(&Member) -> bool,
    ) -> Option<Arc<Member>> {
        if self.epoch != view.epoch {
            *self = Rotation { epoch: view.epoch, next: self.next, owed: vec![0.0; view.serving.len()] };
        }
        let may = |member: &Member| member.healthy() && allowed(member);
        match balance {
            Balance::RoundRobin if view.ramping_until.is_none_or(|until| until <= now) => self.in_turn(view, may),
            Balance::RoundRobin => self.in_weighted_turn(view, now, may),
            Balance::LeastRequests => least_of_two(view, worker, now, may),
        }
    }

    fn in_turn(&mut self, view: &View, may: impl Fn(&Member) -> bool) -> Option<Arc<Member>> {
        let n = view.serving.len();
        let found = (0..n).map(|i| (self.next.wrapping_add(i)) % n).find(|i| may(&view.serving[*i]))?;
        self.next = found + 1;
        Some(view.serving[found].clone())
    }

    fn in_weighted_turn(&mut self, view: &View, now: Instant, may: impl Fn(&Member) -> bool) -> Option<Arc<Member>> {
        let mut total = 0.0;
        let mut best: Option<usize> = None;
        for (i, member) in view.serving.iter().enumerate().filter(|(_, member)| may(member)) {
            let share = member.share(now);
            total += share;
            self.owed[i] += share;
            if best.is_none_or(|best| self.owed[i] > self.owed[best]) {
                best = Some(i);
            }
        }
        let best = best?;
        self.owed[best] -= total;
        Some(view.serving[best].clone())
    }
}

/// Of two origins picked at random by their share, the one with fewer requests in flight for its
/// share. Two, not all: a worker sees only its own, and many workers that all pick the least
/// would move as a herd.
fn least_of_two(view: &View, worker: usize, now: Instant, may: impl Fn(&Member) -> bool) -> Option<Arc<Member>> {
    let first = by_share(view, now, &may)?;
    let other = by_share(view, now, |member| may(member) && member.address != first.address);
    let weight = |member: &Member| (member.load(worker).in_flight.get() + 1) as f64 / member.share(now);
    match other {
        Some(other) if weight(other) < weight(first) => Some(other.clone()),
        _ => Some(first.clone()),
    }
}

fn by_share(view: &View, now: Instant, may: impl Fn(&Member) -> bool) -> Option<&Arc<Member>> {
    let total: f64 = view.serving.iter().filter(|member| may(member)).map(|member| member.share(now)).sum();
    let mut point = fastrand::f64() * total;
    let mut last = None;
    for member in view.serving.iter().filter(|member| may(member)) {
        last = Some(member);
        point -= member.share(now);
        if point < 0.0 {
            break;
        }
    }
    last
}
