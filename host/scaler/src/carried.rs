//! What became of the counts that were asked for: how long the last change took, and capacity that never comes.
//!
//! An origin that was asked for one lead ago should serve. As the youngest goes first, what should serve now is the
//! least count that stood within the last lead: whatever was asked for and taken back since is not missed. It is
//! late if at no time of that lead so many served: one that crashed has a lead to be replaced in.

use std::collections::VecDeque;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::stamp;
use crate::wall::Wall;

/// The last count that was asked for, and how far it has come. Counts are of the whole pool.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// When it was decided.
    #[serde(with = "crate::stamp")]
    pub at: Timestamp,
    pub from: u32,
    pub to: u32,
    /// Origins that run and are not on their way out, now.
    pub runs: u32,
    /// From the decision to the first origin more that serves, or to the first that is gone.
    pub first_seconds: Option<f64>,
    /// Until as many serve as were asked for, and no more run.
    pub done_seconds: Option<f64>,
}

/// So many were asked for, longer ago than a lead, and fewer serve.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Late {
    pub asked: u32,
    pub serving: u32,
    /// When it was noticed first.
    #[serde(with = "crate::stamp")]
    pub since: Timestamp,
}

/// What an actuator could not do last, until something it starts becomes ready.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trouble {
    #[serde(with = "crate::stamp")]
    pub at: Timestamp,
    /// `start`.
    pub action: String,
    pub error: String,
    /// Failures in a row.
    pub failures: u32,
    /// It waits until then.
    #[serde(with = "crate::stamp::option")]
    pub retry_at: Option<Timestamp>,
}

impl Change {
    /// With the instant that the wall clock shows, for a record.
    pub fn by(&self, wall: Wall) -> Change {
        Change { at: wall.shows(self.at), ..self.clone() }
    }
}

impl Late {
    pub fn by(&self, wall: Wall) -> Late {
        Late { since: wall.shows(self.since), ..self.clone() }
    }
}

impl Trouble {
    pub fn by(&self, wall: Wall) -> Trouble {
        Trouble { at: wall.shows(self.at), retry_at: self.retry_at.map(|at| wall.shows(at)), ..self.clone() }
    }
}

/// What there is of a pool now.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Running {
    /// Not on their way out.
    pub staying: u32,
    pub serving: u32,
    /// All that are paid.
    pub all: u32,
}

#[derive(Debug, Default)]
pub struct Carried {
    /// When each count began to stand. The first may be older than a lead: it stood when the lead began.
    asked: VecDeque<(Timestamp, u32)>,
    /// How many served: a falling queue of the last lead.
    served: VecDeque<(Timestamp, u32)>,
    change: Option<Change>,
    /// What there was when it was asked for.
    began: Running,
    late: Option<Late>,
    trouble: Option<Trouble>,
}

impl Carried {
    /// A decision is on record; `asked` of its origins were to be started here.
    pub fn ask(&mut self, at: Timestamp, from: u32, to: u32, asked: u32, running: Running) {
        if self.asked.back().is_none_or(|(_, stands)| *stands != asked) {
            self.asked.push_back((at, asked));
        }
        if from != to {
            let change = Change { at, from, to, runs: running.staying, first_seconds: None, done_seconds: None };
            (self.change, self.began) = (Some(change), running);
        }
    }

    pub fn fail(&mut self, trouble: Option<Trouble>) {
        self.trouble = trouble;
    }

    /// What runs now. `lead`: in which what was asked for should serve.
    pub fn look(&mut self, running: Running, lead: Duration, now: Timestamp) {
        if let Some(change) = &mut self.change {
            let took = || Some(stamp::seconds(stamp::age(now, change.at)));
            let up = change.to > change.from;
            let began = if up { running.serving > self.began.serving } else { running.all < self.began.all };
            let done = if up { running.serving >= change.to } else { running.all <= change.to };
            change.runs = running.staying;
            change.first_seconds = change.first_seconds.or_else(|| took().filter(|_| began || done));
            change.done_seconds = change.done_seconds.or_else(|| took().filter(|_| done));
        }
        let most = self.most_served(running.serving, lead, now);
        let due = self.due(lead, now).filter(|due| most < *due);
        let since = self.late.as_ref().map_or(now, |late| late.since);
        self.late = due.map(|asked| Late { asked, serving: running.serving, since });
    }

    /// The least count that stood within the last lead; `None` if none stood when it began.
    fn due(&mut self, lead: Duration, now: Timestamp) -> Option<u32> {
        while self.asked.get(1).is_some_and(|(at, _)| stamp::age(now, *at) >= lead) {
            self.asked.pop_front();
        }
        self.asked.front().filter(|(at, _)| stamp::age(now, *at) >= lead)?;
        self.asked.iter().map(|(_, count)| *count).min()
    }

    fn most_served(&mut self, serving: u32, lead: Duration, now: Timestamp) -> u32 {
        self.served.retain(|(at, served)| *at < now && *served > serving && stamp::age(now, *at) < lead);
        self.served.push_back((now, serving));
        self.served.front().map_or(serving, |(_, most)| *most)
    }

    pub fn change(&self) -> Option<&Change> {
        self.change.as_ref()
    }

    pub fn late(&self) -> Option<&Late> {
        self.late.as_ref()
    }

    pub fn trouble(&self) -> Option<&Trouble> {
        self.trouble.as_ref()
    }
}
