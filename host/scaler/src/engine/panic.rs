//! Surprise: the level is far over what was foreseen one lead ago, and still rises.
//!
//! Then the engine goes up to what half of the rise would make of it by the end of the lead, and gives nothing back
//! for one hold. Gentler forms pay no more than they cost (`README.md` has the figures).

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::forecast::Bounds;
use crate::replay::Lives;
use crate::tune::shadow::count;

/// Over the highest bound by so much: what is only over it is met by headroom.
const OVER: f64 = 1.5;
/// So much more than 30 s ago: half a minute is what a level is the mean of.
const RISE: f64 = 1.3;
const RISE_SECONDS: f64 = 30.0;
/// Of the rise, as most jumps end before a lead is over.
const PART: f64 = 0.5;
const HOLD_SECONDS: f64 = 60.0;

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Said {
    level: f64,
    /// The highest bound of what would come.
    most: f64,
}

/// What a surprise wants, and of what it follows.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Surprise {
    /// The level, and the most that was foreseen for now one lead ago.
    pub level: f64,
    pub foreseen: f64,
    /// Origins for what the level would be one lead from now.
    pub origins: u32,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Panic {
    /// The latest last; no longer than a lead.
    said: VecDeque<Said>,
    step: u64,
    /// The last surprise, the count that it made and the first step after its hold.
    last: Option<(Surprise, u32, u64)>,
}

impl Panic {
    /// One step: `seen` unless it was a gap; `stands` is the count before it. The surprise whose hold it is.
    pub fn step(&mut self, bounds: &Bounds, seen: bool, stands: u32, lives: &Lives) -> Option<(Surprise, u32)> {
        self.step += 1;
        let lead = lives.lead_steps();
        let most = bounds.upper.last().copied().unwrap_or(bounds.level);
        self.said.push_back(Said { level: bounds.level, most });
        while self.said.len() > lead + 1 {
            self.said.pop_front();
        }
        if let Some(surprise) = self.surprise(lives).filter(|_| seen) {
            let until = self.step + lives.steps(HOLD_SECONDS) as u64;
            self.last = Some((surprise, surprise.origins.max(stands), until));
        }
        self.last = self.last.filter(|(_, _, until)| self.step < *until);
        self.last.map(|(surprise, origins, _)| (surprise, origins))
    }

    fn surprise(&self, lives: &Lives) -> Option<Surprise> {
        let (lead, rise) = (lives.lead_steps(), lives.steps(RISE_SECONDS));
        // Nothing was foreseen for now yet, or the lead is too short for anything to be foreseen.
        if self.said.len() <= lead || lead < rise {
            return None;
        }
        let (level, foreseen) = (self.said[lead].level, self.said[0].most);
        let (then, before) = (self.said[lead - rise].level, self.said[lead - 1].level);
        if level <= OVER * foreseen || level <= RISE * then || level <= before {
            return None;
        }
        let ahead = level + PART * (level - then) * lead as f64 / rise as f64;
        Some(Surprise { level, foreseen, origins: count(ahead) })
    }
}
