//! What people tell a pool: that an origin is going, that the count shall stay.

use core::net::SocketAddr;

use jiff::Timestamp;

use super::Pool;
use crate::decide::OperatorHold;

impl Pool {
    pub fn hold(&mut self, hold: Option<OperatorHold>, now: Timestamp) {
        self.operator = hold;
        self.due = now;
    }

    /// An operator's hold, while it lasts by what the wall clock shows.
    pub(super) fn held(&self, now: Timestamp) -> Option<&OperatorHold> {
        let clock = self.wall.shows(now);
        self.operator.as_ref().filter(|hold| hold.until.is_none_or(|until| clock < until))
    }

    /// Somebody knows that an origin is going. False if it does not run here.
    pub fn leaving(&mut self, address: SocketAddr, because: &str, now: Timestamp) -> bool {
        let found = self.origins.leaving(address, because);
        if found {
            self.due = now;
        }
        found
    }

    /// Who is going by somebody's word: a later run shall know.
    pub fn told_leaving(&self) -> Vec<(SocketAddr, String)> {
        self.origins.told_leaving()
    }
}
