//! The past as numbers that the coming maximum may follow from. All are logarithms of ratios, so
//! a forecast learned at one size of a pool holds at another.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::history::{DAY, History, Recent};

pub const COUNT: usize = 19;
pub const CONSTANT: usize = 0;
pub const PROFILE_GROWTH: usize = 6;
pub type Row = [f64; COUNT];

/// Days whose mean is the smooth profile, and those of the fine ones.
const SMOOTH: [usize; 4] = [1, 2, 3, 7];
const FINE: [usize; 7] = [1, 2, 3, 4, 5, 6, 7];
const WEEKS: [usize; 2] = [7, 14];

/// What changes once a minute: it looks at days, not at steps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Seasons {
    day: f64,
    week: f64,
    growth: f64,
    profile: Option<f64>,
    fine: Option<(f64, f64)>,
    weeks: Option<(f64, f64)>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Features {
    window: usize,
    in_hour: f64,
    seasons: Seasons,
    /// Levels of the last window of steps.
    levels: VecDeque<f64>,
    /// How much the level moves in a window: means of about 1 and 6 hours.
    moves: (f64, f64),
    seen: u64,
    /// Falling queue of (step, mean of a minute): the largest of the hour.
    peaks: VecDeque<(u64, f64)>,
}

impl Features {
    pub fn new(step_seconds: f64, window: usize) -> Features {
        Features {
            window,
            in_hour: 3600.0 / step_seconds,
            seasons: Seasons::default(),
            levels: VecDeque::new(),
            moves: (0.0, 0.0),
            seen: 0,
            peaks: VecDeque::new(),
        }
    }

    /// Another window: how much the level moves in one is measured over the new one from now on.
    pub fn relive(&mut self, window: usize) {
        self.window = window;
        while self.levels.len() > window {
            self.levels.pop_front();
        }
    }

    /// To be called once for each step.
    pub fn row(&mut self, history: &History, recent: &Recent, small: f64) -> Row {
        if history.starts_minute() || self.seen == 0 {
            let minutes = self.window.div_ceil(history.in_minute());
            self.seasons = Seasons::of(history, minutes, small);
        }
        self.follow(recent, small);
        let Recent { level, minute, five, fifteen, sixty, .. } = *recent;
        let ratio = |a: f64, b: f64| ((a + small) / (b + small)).ln();
        let seasons = &self.seasons;
        let peak = self.peaks.front().map_or(minute, |(_, peak)| *peak);
        let against = |found: Option<(f64, f64)>| match found {
            Some((most, now)) => (ratio(most, now), ratio(most, five).clamp(-2.0, 2.0)),
            None => (0.0, 0.0),
        };
        let (fine_growth, fine_level) = against(seasons.fine);
        let (weeks_growth, weeks_level) = against(seasons.weeks);
        let row = [
            1.0,
            ratio(level, five),
            ratio(five, fifteen),
            ratio(fifteen, sixty),
            seasons.day,
            seasons.week,
            seasons.growth,
            seasons.profile.map_or(0.0, |profile| ratio(profile, five).clamp(-1.5, 1.5)),
            self.moves.0,
            self.moves.1,
            ratio(minute, five).max(0.0),
            ratio(level, minute).max(0.0),
            fine_growth,
            fine_level,
            weeks_growth,
            weeks_level,
            ratio(peak, fifteen),
            ratio(sixty, recent.six_hours),
            ratio(recent.six_hours, recent.day),
        ];
        row.map(|value| value.clamp(-3.0, 3.0))
    }

    fn follow(&mut self, recent: &Recent, small: f64) {
        let step = self.seen;
        self.seen += 1;
        let before = if self.levels.len() >= self.window { self.levels.pop_front() } else { None };
        let before = before.or(self.levels.front().copied()).unwrap_or(recent.level);
        self.levels.push_back(recent.level);
        let moved = ((recent.level + small) / (before + small)).ln().abs();
        let follow = |mean: f64, hours: f64| {
            let weight = (1.0 / (hours * self.in_hour)).max(1.0 / (step + 1) as f64);
            mean + weight * (moved - mean)
        };
        self.moves = (follow(self.moves.0, 1.0), follow(self.moves.1, 6.0));
        while self.peaks.back().is_some_and(|(_, peak)| *peak <= recent.minute) {
            self.peaks.pop_back();
        }
        self.peaks.push_back((step, recent.minute));
        while self.peaks.front().is_some_and(|(then, _)| *then as f64 + self.in_hour < step as f64) {
            self.peaks.pop_front();
        }
    }
}

impl Seasons {
    fn of(history: &History, minutes: usize, small: f64) -> Seasons {
        let ratio = |a: f64, b: f64| ((a + small) / (b + small)).ln();
        // The same window, so many days ago: how far its maximum was over its beginning.
        let growth = |days: usize| {
            let now = history.around(days * DAY)?;
            let most = (0..=minutes).filter_map(|ahead| history.around(days * DAY - ahead)).fold(now, f64::max);
            Some(ratio(most, now))
        };
        let smooth = |ago: usize| history.around(ago);
        let fine = |ago: usize| history.minute(ago);
        let profile = mean_of(&SMOOTH, 0, smooth);
        let most = |days: &[usize], look: &dyn Fn(usize) -> Option<f64>| {
            (0..=minutes).filter_map(|ahead| mean_of(days, ahead, look)).reduce(f64::max)
        };
        let smooth_most = most(&SMOOTH, &smooth);
        let pair = |days: &[usize]| Some((most(days, &fine)?, mean_of(days, 0, smooth)?));
        Seasons {
            day: growth(1).unwrap_or(0.0),
            week: growth(7).unwrap_or(0.0),
            growth: profile.zip(smooth_most).map_or(0.0, |(profile, most)| ratio(most, profile)),
            profile,
            fine: pair(&FINE),
            weeks: pair(&WEEKS),
        }
    }
}

/// The mean over days of what stood so many minutes after the same time of day.
fn mean_of(days: &[usize], ahead: usize, look: impl Fn(usize) -> Option<f64>) -> Option<f64> {
    let (mut sum, mut count) = (0.0, 0.0);
    for value in days.iter().filter_map(|days| look(days * DAY - ahead)) {
        sum += value;
        count += 1.0;
    }
    (count > 0.0).then(|| sum / count)
}
