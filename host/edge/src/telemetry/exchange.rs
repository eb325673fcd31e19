//! One request to a pool, from the wish to the end of the answer's body, counted whatever
//! becomes of it.

use std::marker::PhantomData;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use crate::membership::{Member, PoolMembers};
use crate::reject::Reject;
use crate::telemetry::load::{OriginLoad, PoolLoad};

/// Counts one request of one pool. Made when the request wants an origin; put it beside the
/// response body, so that dropping it ends what is in flight. A drop before
/// [`PoolExchange::answered`] or [`PoolExchange::rejected`] is a client that went away: offered,
/// neither rejected nor an error.
pub struct PoolExchange {
    pool: Arc<PoolMembers>,
    worker: usize,
    attempt: Option<Attempt>,
    attempts: u32,
    /// Counted as an error already.
    erred: bool,
    /// The counts have one writer: this stays on its worker's thread.
    local: PhantomData<Rc<()>>,
}

struct Attempt {
    member: Arc<Member>,
    began: Instant,
    answered: bool,
}

impl PoolExchange {
    pub(super) fn new(pool: Arc<PoolMembers>, worker: usize) -> PoolExchange {
        pool.load(worker).requests.add(1);
        PoolExchange { pool, worker, attempt: None, attempts: 0, erred: false, local: PhantomData }
    }

    /// The request now goes to `member`. A second call is a retry: the attempt before it has
    /// failed.
    pub fn to(&mut self, member: &Arc<Member>) {
        let began = crate::clock::now();
        let retried = self.attempts > 0;
        self.fail_attempt();
        let load = self.load();
        load.attempts.add(1);
        load.in_flight.add(1);
        if retried {
            load.retries.add(1);
        }
        let origin = member.load(self.worker);
        origin.requests.add(1);
        origin.in_flight.add(1);
        self.attempts += 1;
        self.attempt = Some(Attempt { member: member.clone(), began, answered: false });
    }

    /// The final response's headers have come (not those of a 1xx).
    pub fn answered(&mut self, status: u16) {
        let Some(attempt) = self.attempt.as_mut().filter(|attempt| !attempt.answered) else { return };
        attempt.answered = true;
        let took = crate::clock::now().saturating_duration_since(attempt.began);
        let load = self.pool.load(self.worker);
        load.latency.record(took);
        attempt.member.load(self.worker).latency.record(took);
        if status == 503 {
            load.rejects.add(1);
        }
        if status >= 500 {
            load.errors.add(1);
            self.erred = true;
        }
        self.pool.latency.record(took.as_secs_f64());
    }

    /// There is no answer and no further attempt. After [`PoolExchange::answered`] (the body
    /// broke off) it counts as an error too.
    pub fn rejected(mut self, reject: &Reject) {
        match reject {
            Reject::OriginUnreachable { .. } | Reject::OriginTimeout { .. } | Reject::OriginBroken { .. } => {
                if !self.erred {
                    self.load().errors.add(1);
                }
                self.fail_attempt();
            }
            Reject::NoOrigin { .. } => self.load().rejects.add(1),
            // The client's or a plugin's doing: nothing was refused for want of capacity.
            _ => {}
        }
    }

    /// The origin that has the request now.
    pub fn member(&self) -> Option<&Arc<Member>> {
        self.attempt.as_ref().map(|attempt| &attempt.member)
    }

    fn load(&self) -> &PoolLoad {
        self.pool.load(self.worker)
    }

    fn fail_attempt(&mut self) {
        if self.attempt.is_some() {
            self.load().failures.add(1);
        }
        self.end_attempt();
    }

    fn end_attempt(&mut self) {
        if let Some(attempt) = self.attempt.take() {
            self.load().in_flight.sub(1);
            let origin: &OriginLoad = attempt.member.load(self.worker);
            origin.in_flight.sub(1);
        }
    }
}

impl Drop for PoolExchange {
    fn drop(&mut self) {
        self.end_attempt();
    }
}
