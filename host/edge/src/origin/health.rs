//! The active health check: the control thread asks each serving origin, workers read a flag.

use std::sync::Arc;
use std::time::Duration;

use metrics::counter;

use crate::link::Link;
use crate::membership::Member;

/// Bytes of a health answer that are read; nobody looks at them.
const MOST_BODY: usize = 64 << 10;
const AGENT: &str = concat!("forebay-health/", env!("CARGO_PKG_VERSION"));

/// Results in a row, and what they make of an origin.
#[derive(Clone, Debug)]
pub struct Streak {
    healthy: bool,
    /// Results in a row that contradict `healthy`.
    against: u32,
}

impl Streak {
    pub fn new(healthy: bool) -> Streak {
        Streak { healthy, against: 0 }
    }

    /// What the origin is after one more result, if that is a change.
    pub fn observe(&mut self, success: bool, check: &config::HealthCheck) -> Option<bool> {
        if success == self.healthy {
            self.against = 0;
            return None;
        }
        self.against += 1;
        let needed = if success { check.healthy_after } else { check.unhealthy_after };
        if self.against < needed.max(1) {
            return None;
        }
        self.healthy = success;
        self.against = 0;
        Some(success)
    }
}

/// Checks one origin until it is dropped. The first check comes within a tenth of the interval,
/// so that an edge that starts beside a dead origin soon knows; later ones are spread by a tenth
/// either way, so that many edges do not ask at the same instant.
pub async fn watch(pool: Arc<config::Pool>, member: Arc<Member>) {
    let Some(check) = &pool.health else { return };
    let mut streak = Streak::new(member.healthy());
    tokio::time::sleep(check.interval.mul_f64(fastrand::f64() * 0.1)).await;
    loop {
        let result = once(&pool, check, &member).await;
        if let Some(healthy) = streak.observe(result.is_ok(), check) {
            tell(&pool.name, &member, healthy, result.err());
        }
        tokio::time::sleep(jittered(check.interval)).await;
    }
}

/// One check, on a connection of its own: a kept one would not notice that the port is closed.
async fn once(pool: &config::Pool, check: &config::HealthCheck, member: &Member) -> Result<(), String> {
    let mut link = Link::new(member.address.to_string(), pool.http2, MOST_BODY);
    let asked = link.get(&check.path, AGENT, check.timeout);
    // `get` allows its timeout for connecting and again for the answer; a check has it once.
    let answer = tokio::time::timeout(check.timeout, asked).await;
    let answer = answer.map_err(|_| format!("no answer in {:?}", check.timeout))?;
    let status = answer.map_err(|error| error.to_string())?.status().as_u16();
    if check.statuses.contains(&status) { Ok(()) } else { Err(format!("status {status}")) }
}

fn tell(pool: &str, member: &Member, healthy: bool, why: Option<String>) {
    member.set_healthy(healthy);
    let to = if healthy { "healthy" } else { "unhealthy" };
    counter!("forebay_health_changes_total", "pool" => pool.to_owned(), "to" => to).increment(1);
    if healthy {
        tracing::info!(target: "forebay::health", pool, origin = %member.address, "origin is healthy again");
    } else {
        tracing::warn!(target: "forebay::health", pool, origin = %member.address, why, "origin is unhealthy");
    }
}

fn jittered(interval: Duration) -> Duration {
    interval.mul_f64(0.9 + fastrand::f64() * 0.2)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(healthy_after: u32, unhealthy_after: u32) -> config::HealthCheck {
        config::HealthCheck {
            path: "/".into(),
            interval: Duration::from_secs(1),
            timeout: Duration::from_secs(1),
            healthy_after,
            unhealthy_after,
            statuses: vec![200],
        }
    }

    #[test]
    fn only_results_in_a_row_change_the_health_of_an_origin() {
        let check = check(2, 3);
        let mut streak = Streak::new(true);
        for success in [false, false, true, false, false] {
            assert_eq!(streak.observe(success, &check), None);
        }
        assert_eq!(streak.observe(false, &check), Some(false));
        assert_eq!(streak.observe(false, &check), None, "it is unhealthy already");
        assert_eq!(streak.observe(true, &check), None);
        assert_eq!(streak.observe(false, &check), None, "this begins the count anew");
        assert_eq!(streak.observe(true, &check), None);
        assert_eq!(streak.observe(true, &check), Some(true));
    }

    #[test]
    fn jitter_stays_within_a_tenth() {
        let interval = Duration::from_secs(10);
        for _ in 0..1000 {
            let wait = jittered(interval);
            assert!(wait >= interval.mul_f64(0.9) && wait <= interval.mul_f64(1.1));
        }
    }
}
