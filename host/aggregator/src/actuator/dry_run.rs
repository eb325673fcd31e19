//! Carries nothing out: decisions are journalled, and the listed origins serve.

use scaler::Observed;

use crate::lease::Right;

pub struct DryRun {
    pool: String,
    /// The highest of a lease that anything was set under.
    token: u64,
}

impl DryRun {
    pub fn new(pool: &str) -> DryRun {
        DryRun { pool: pool.to_string(), token: 0 }
    }

    pub fn observe(&mut self) -> Vec<Observed> {
        Vec::new()
    }

    /// The decision that led here is in the journal: that is all this actuator is for. Tokens are compared
    /// as where something is at stake. Whether it was taken.
    pub fn set(&mut self, right: Right, _run: u32) -> bool {
        let token = right.token().unwrap_or(self.token);
        if token < self.token {
            metrics::counter!("forebay_aggregator_fenced_total", "pool" => self.pool.clone()).increment(1);
            tracing::warn!(pool = self.pool, token, highest = self.token, "a lower token of the lease is refused");
            return false;
        }
        self.token = token;
        true
    }

    pub fn token(&self) -> u64 {
        self.token
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_refused_after_a_higher_one() {
        let mut dry = DryRun::new("shop");
        assert!(dry.set(Right::Token(2), 1) && dry.set(Right::Token(2), 3) && dry.set(Right::Token(5), 1));
        assert!(!dry.set(Right::Token(4), 1));
        assert_eq!(dry.token(), 5);
        assert!(dry.set(Right::Sole, 1), "a region without a lease has no tokens");
    }
}
