//! Which of several aggregators acts: the one that has the lease, in the name of its token.
//!
//! - this file: [`Lease`], what is known and what to ask next (pure: time and answers are passed in);
//!   [`Lead`], what the loop asks before it acts
//! - [`server`]: the lease in Redis; [`keep`]: asks it, for as long as the aggregator runs
//!
//! Four promises, from the weakest to the strongest. (1) The lease is counted from when its renewal was
//! *sent*, by a clock that no one sets, less a margin: so it ends here before it ends in Redis. (2) It is
//! looked at before every line of the journal and every word to an actuator: who slept past its end
//! does not act on. (3) A token is higher than all before it, also when Redis lost its data: then
//! nothing is granted for one ttl, and what aggregators remember is counted on from. (4) What is acted on
//! compares tokens itself, under a lock (`actuator/process/record.rs`): a word that was on its way
//! while its sender was paused is refused.
//!
//! [`Right::Lapsed`] is what the last holder has left where the store falls silent: it may raise pools to their
//! scheduled floors. Promises (1) and (2) do not hold for it, as another may have been granted the lease by a store
//! that is silent to this one alone; (3) and (4) do, so whoever has been granted it since acts in the
//! name of a higher token, and from its first word on nothing is taken from this one.

pub mod server;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, watch};

use server::Server;

/// What a script in Redis can count to. A file or a journal with more is damaged, and is not believed.
const MOST_TOKEN: u64 = 1 << 53;

/// Time since a start that does not matter, by a clock that is never set.
pub type Moment = Duration;

/// In whose name something is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Right {
    /// There is no lease: nobody else acts.
    Sole,
    /// The lease's holder.
    Token(u64),
    /// The lease's last holder, as far as can be known while its store is silent: scheduled floors may be
    /// brought about, and nothing may be stopped.
    Lapsed(u64),
    /// Another may act: look, and touch nothing.
    Shadow,
}

impl Right {
    pub fn acts(self) -> bool {
        self != Right::Shadow
    }

    /// Origins may be stopped in this name.
    pub fn leads(self) -> bool {
        matches!(self, Right::Sole | Right::Token(_))
    }

    pub fn token(self) -> Option<u64> {
        match self {
            Right::Token(token) | Right::Lapsed(token) => Some(token),
            Right::Sole | Right::Shadow => None,
        }
    }

    /// As records and the API spell it.
    pub fn role(self) -> &'static str {
        match self {
            Right::Sole | Right::Token(_) => "leader",
            Right::Lapsed(_) => "lapsed",
            Right::Shadow => "standby",
        }
    }
}

/// What to ask of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// With a token higher than any that was heard of.
    Acquire {
        above: u64,
    },
    Renew {
        token: u64,
    },
    Release,
}

/// What the server says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    Granted {
        token: u64,
    },
    /// Another has it for so long, if it does not renew it; and the highest token that was given.
    Held {
        rest: Duration,
        highest: u64,
    },
    Renewed,
    /// It is not ours any more.
    Lost,
    Released,
}

/// What one aggregator knows of the lease.
#[derive(Debug)]
pub struct Lease {
    ttl: Duration,
    /// The token, and until when it is ours.
    leads: Option<(u64, Moment)>,
    /// The highest token that was heard of, from whomever.
    highest: u64,
    /// The last that was ours, and when it ended; `None`: there was none, or another may have had one since.
    held: Option<(u64, Moment)>,
    /// The last question had no answer.
    silent: bool,
    /// When to ask next.
    due: Moment,
}

impl Lease {
    /// `highest`: what an earlier run left.
    pub fn new(ttl: Duration, highest: u64) -> Lease {
        let highest = if highest < MOST_TOKEN { highest } else { 0 };
        Lease { ttl, leads: None, highest, held: None, silent: false, due: Moment::ZERO }
    }

    /// Clocks of two machines run at slightly different speeds, and acting takes a moment.
    fn margin(&self) -> Duration {
        self.ttl / 10
    }

    /// Who waits for the lease asks so often, and so does who got no answer.
    fn pause(&self) -> Duration {
        self.ttl / 12
    }

    /// The token, while the lease is ours.
    pub fn token(&self, now: Moment) -> Option<u64> {
        self.leads.filter(|(_, until)| now < *until).map(|(token, _)| token)
    }

    /// The token of the last lease, if it was ours and a whole ttl has passed since it ended, in which nobody
    /// answered: whoever can reach the store has been granted one by then, and is about to say so to the actuators.
    pub fn lapsed(&self, now: Moment) -> Option<u64> {
        let (token, ended) = self.held.filter(|(token, _)| *token == self.highest)?;
        (self.silent && self.token(now).is_none() && now >= ended + self.ttl).then_some(token)
    }

    /// What to ask now, or when to look again.
    pub fn next(&mut self, now: Moment) -> Result<Ask, Moment> {
        if self.token(now).is_none() {
            // Ended is ended, even if the server would still renew it: what comes next has a new token.
            self.leads = None;
        }
        if now < self.due {
            return Err(self.due.min(now + self.pause()));
        }
        Ok(match self.leads {
            Some((token, _)) => Ask::Renew { token },
            None => Ask::Acquire { above: self.highest },
        })
    }

    /// The answer to what was sent at `sent`; `None`: there was none.
    pub fn answered(&mut self, ask: Ask, sent: Moment, answer: Option<Answer>, now: Moment) {
        self.due = now + self.pause();
        self.silent = answer.is_none();
        let until = (sent + self.ttl).saturating_sub(self.margin());
        match (ask, answer) {
            // A higher one was heard of meanwhile: this one would be refused.
            (Ask::Acquire { .. }, Some(Answer::Granted { token })) if token <= self.highest => self.due = now,
            (Ask::Acquire { .. }, Some(Answer::Granted { token })) => {
                self.highest = token;
                if now < until {
                    (self.leads, self.held) = (Some((token, until)), Some((token, until)));
                    self.due = sent + self.ttl / 3;
                }
            }
            (Ask::Acquire { .. }, Some(Answer::Held { rest, highest })) => {
                self.highest = self.highest.max(highest);
                self.held = None;
                self.due = now + rest.min(self.pause());
            }
            (Ask::Renew { token }, Some(Answer::Renewed)) if self.token(now) == Some(token) && now < until => {
                (self.leads, self.held) = (Some((token, until)), Some((token, until)));
                self.due = sent + self.ttl / 3;
            }
            (Ask::Renew { .. }, Some(Answer::Lost)) => {
                (self.leads, self.held) = (None, None);
                self.due = now;
            }
            // It may have been done or not: what is ours by our own count stays so until it ends.
            _ => {}
        }
    }

    /// Somebody acts, or acted, with this token.
    pub fn heard(&mut self, token: u64, now: Moment) {
        if token >= MOST_TOKEN {
            return;
        }
        self.highest = self.highest.max(token);
        if self.leads.is_some_and(|(own, _)| own < self.highest) {
            self.leads = None;
            self.due = now;
        }
    }

    /// Nothing is ours from now on.
    pub fn end(&mut self) {
        (self.leads, self.held) = (None, None);
    }
}

/// The lease as the loop sees it.
#[derive(Clone)]
pub struct Lead {
    /// `None`: there is no lease.
    lease: Option<Arc<Mutex<Lease>>>,
    start: Instant,
}

impl Lead {
    pub fn new(config: Option<&config::region::Lease>, highest: u64) -> Lead {
        let lease = config.map(|config| Arc::new(Mutex::new(Lease::new(config.ttl, highest))));
        Lead { lease, start: Instant::now() }
    }

    fn now(&self) -> Moment {
        self.start.elapsed()
    }

    /// As it is at this very moment.
    pub fn right(&self) -> Right {
        let Some(lease) = &self.lease else { return Right::Sole };
        let (lease, now) = (lock(lease), self.now());
        let lapsed = || lease.lapsed(now).map_or(Right::Shadow, Right::Lapsed);
        lease.token(now).map_or_else(lapsed, Right::Token)
    }

    pub fn heard(&self, token: u64) {
        if let Some(lease) = &self.lease {
            lock(lease).heard(token, self.now());
        }
    }
}

/// Each call leaves whole values behind.
fn lock(lease: &Mutex<Lease>) -> MutexGuard<'_, Lease> {
    lease.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Acquires and renews the lease until `stop`, and gives it back then. `wake` is told of each change.
pub async fn keep(
    lead: Lead,
    config: config::region::Lease,
    holder: String,
    wake: Arc<Notify>,
    mut stop: watch::Receiver<bool>,
) {
    let Some(lease) = &lead.lease else { return };
    let mut server = Server::new(config, holder);
    let mut failing = false;
    while !*stop.borrow() {
        let next = lock(lease).next(lead.now());
        let ask = match next {
            Ok(ask) => ask,
            Err(at) => {
                let rest = at.saturating_sub(lead.now());
                // An error: whoever could say so is gone, and it is over.
                let _ = tokio::time::timeout(rest, stop.wait_for(|stop| *stop)).await;
                continue;
            }
        };
        let sent = lead.now();
        let answer = server.ask(ask).await;
        if let Err(why) = &answer {
            metrics::counter!("forebay_aggregator_lease_failures_total").increment(1);
            if !std::mem::replace(&mut failing, true) {
                tracing::warn!(%why, "the lease's store does not answer");
            }
        } else if std::mem::take(&mut failing) {
            tracing::info!("the lease's store answers again");
        }
        let before = lead.right();
        lock(lease).answered(ask, sent, answer.ok(), lead.now());
        if lead.right() != before {
            wake.notify_one();
        }
    }
    lock(lease).end();
    // Also if it was never ours: a grant whose answer was lost would keep the others waiting.
    if let Err(why) = server.ask(Ask::Release).await {
        tracing::warn!(%why, "the lease was not given back: it ends by itself");
    }
}

#[cfg(test)]
mod tests;
