//! How fast a pool's count may move.

use std::fmt;
use std::time::Duration;

/// Limits of one direction; of several each holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Steps(pub Vec<Step>);

/// The larger of a number of origins and a part of those that there were: HPA's policies with its default, `Max`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    pub origins: u32,
    /// Of the count that stood when the window began, rounded up.
    pub percent: u32,
    /// `None`: in one decision.
    pub within: Option<Duration>,
}

impl Steps {
    /// Twice as many at once, as HPA has it, and in a small pool more.
    pub const UP: Step = Step { origins: 10, percent: 100, within: None };
    /// Fewer, as too few cost more than too many.
    pub const DOWN: Step = Step { origins: 2, percent: 5, within: None };

    /// The longest window that any of them looks at.
    pub fn window(&self) -> Duration {
        self.0.iter().filter_map(|step| step.within).max().unwrap_or_default()
    }
}

impl Step {
    /// How many that is where so many stood.
    pub fn of(&self, count: u32) -> u32 {
        let part = (u64::from(count) * u64::from(self.percent)).div_ceil(100);
        self.origins.max(u32::try_from(part).unwrap_or(u32::MAX))
    }
}

impl From<Step> for Steps {
    fn from(step: Step) -> Steps {
        Steps(vec![step])
    }
}

/// So many in one decision.
impl From<u32> for Steps {
    fn from(origins: u32) -> Steps {
        Step { origins, percent: 0, within: None }.into()
    }
}

/// `10`, `100 %`, `10 or 100 %`; with a window `20 in 60 s`.
impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.origins, self.percent) {
            (origins, 0) => write!(f, "{origins}")?,
            (0, percent) => write!(f, "{percent} %")?,
            (origins, percent) => write!(f, "{origins} or {percent} %")?,
        }
        match self.within {
            Some(within) => write!(f, " in {} s", within.as_secs_f64()),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Steps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, step) in self.0.iter().enumerate() {
            if place > 0 {
                f.write_str(" and ")?;
            }
            step.fmt(f)?;
        }
        Ok(())
    }
}
