//! What the policy plugins of a pool propose, by their latest answers. Each is asked once a tick, and an answer
//! stands for a while: two ticks, and no shorter than an edge's report.
//!
//! A script that falls silent (it fails, is slow, is disabled, has gone) proposes nothing, and that takes no
//! origin away: for as long as a silent edge would be waited for, its last count is kept, and where nobody
//! else proposes anything the count stands until somebody does. One that says that it has nothing to say is
//! heard: it keeps nothing.

use std::time::Duration;

use config::region::Scaling;
use jiff::Timestamp;

use super::{Proposal, Source};
use crate::decide::Quiet;
use crate::script::{Answer, tidy};
use crate::stamp;
use crate::wall::Wall;

#[derive(Debug)]
pub struct Scripted {
    scripts: Vec<Script>,
    /// How long an answer stands.
    stands: Duration,
}

#[derive(Debug)]
struct Script {
    name: String,
    /// Since when it has been there to be asked.
    since: Option<Timestamp>,
    asked: Option<Timestamp>,
    latest: Option<(Timestamp, Answer)>,
    /// The last that was no silence, and its count.
    heard: Option<(Timestamp, Option<u32>)>,
}

impl Scripted {
    pub fn of(scaling: &Scaling) -> Option<Scripted> {
        let script = |name: &str| Script { name: name.into(), since: None, asked: None, latest: None, heard: None };
        let scripts: Vec<_> = scaling.scripts.iter().map(|used| script(&used.plugin.name)).collect();
        (!scripts.is_empty()).then_some(Scripted { scripts, stands: Duration::ZERO })
    }

    /// Takes over what the scripts of the same names have said.
    pub fn heard(&mut self, before: Scripted) {
        for known in before.scripts {
            if let Some(script) = self.scripts.iter_mut().find(|script| script.name == known.name) {
                *script = known;
            }
        }
    }

    /// Who shall be asked now, once a `tick`.
    pub fn due(&mut self, tick: Duration, now: Timestamp) -> Vec<String> {
        let due = |asked: Timestamp| stamp::age(now, asked) >= tick;
        let scripts = self.scripts.iter_mut().filter(|script| script.asked.is_none_or(due));
        let ask = |script: &mut Script| {
            script.asked = Some(now);
            script.name.clone()
        };
        scripts.map(ask).collect()
    }

    /// Takes an answer in. True if it is another than before, which is worth a decision.
    pub fn answer(&mut self, name: &str, answer: Answer, now: Timestamp) -> bool {
        let Some(script) = self.scripts.iter_mut().find(|script| script.name == name) else { return false };
        let count = |answer: &Answer| match answer {
            Answer::Proposed { origins, .. } => Some(Some(*origins)),
            Answer::Nothing => Some(None),
            Answer::Silent(_) => None,
        };
        if let Some(said) = count(&answer) {
            script.heard = Some((now, said));
        }
        let before = script.latest.replace((now, answer));
        before.is_none_or(|(_, before)| script.latest.as_ref().is_some_and(|(_, now)| count(now) != count(&before)))
    }

    /// `stands`: how long an answer does.
    pub fn propose(&mut self, stands: Duration, now: Timestamp) -> Vec<Proposal> {
        self.stands = stands;
        let propose = |script: &mut Script| {
            script.since.get_or_insert(now);
            let (origins, because) = match script.fresh(stands, now) {
                Some(Answer::Proposed { origins, because }) => (Some(*origins), tidy(because)),
                Some(Answer::Nothing) => (None, "it has nothing to say".to_owned()),
                Some(Answer::Silent(why)) => (None, tidy(why)),
                None => (None, script.waited(now)),
            };
            Proposal { source: Source::Script, rule: Some(script.name.clone()), origins, because }
        };
        self.scripts.iter_mut().map(propose).collect()
    }

    /// Of scripts that are silent: what is kept for them. Asked after [`Scripted::propose`].
    pub fn quiet(&self, wall: Wall, now: Timestamp) -> Option<Quiet> {
        let quiet: Vec<_> = self.scripts.iter().filter_map(|script| script.quiet(self.stands, wall, now)).collect();
        let because = quiet.iter().map(|quiet| quiet.because.clone()).collect::<Vec<_>>().join("; ");
        let keeps = quiet.iter().filter_map(|quiet| quiet.keeps).max();
        (!quiet.is_empty()).then_some(Quiet { keeps, because })
    }

    /// When one of them will be silent, or no more waited for, though nothing is answered.
    pub fn next_change(&self, now: Timestamp) -> Option<Timestamp> {
        let turns = |script: &Script| {
            let heard = script.heard.map(|(at, _)| at).or(script.since)?;
            let silent = stamp::later(heard, self.stands);
            // Past the end of either, not at it.
            let turns = [silent, stamp::later(silent, WAITED_FOR)].map(|at| stamp::later(at, MOMENT));
            turns.into_iter().find(|at| *at > now)
        };
        self.scripts.iter().filter_map(turns).min()
    }
}

/// How long a silent script's last count is kept, past the time that its answer stands.
const WAITED_FOR: Duration = Duration::from_secs(120);
const MOMENT: Duration = Duration::from_millis(1);

impl Script {
    fn fresh(&self, stands: Duration, now: Timestamp) -> Option<&Answer> {
        let (at, answer) = self.latest.as_ref()?;
        (stamp::age(now, *at) <= stands).then_some(answer)
    }

    /// What is said of one whose answer does not come.
    fn waited(&self, now: Timestamp) -> String {
        match &self.latest {
            Some((at, _)) => format!("no answer for {}s", stamp::age(now, *at).as_secs()),
            None => "no answer yet".to_owned(),
        }
    }

    fn quiet(&self, stands: Duration, wall: Wall, now: Timestamp) -> Option<Quiet> {
        if matches!(self.fresh(stands, now), Some(Answer::Proposed { .. } | Answer::Nothing)) {
            return None;
        }
        // Heard of last, or never: then nobody knows what it would say.
        let (since, count) = match self.heard {
            Some((at, count)) => (at, count),
            None => (self.since.unwrap_or(now), Some(u32::MAX)),
        };
        let waits = stamp::age(now, since) <= stands + WAITED_FOR;
        let said = match self.heard {
            Some((at, Some(count))) => format!("; {count} at {:.0}", wall.shows(at)),
            Some(_) | None => String::new(),
        };
        Some(Quiet { keeps: count.filter(|_| waits), because: format!("script {} is silent{said}", self.name) })
    }
}
