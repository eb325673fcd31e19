//! The limits that the edge counts, and what is told of any that a plugin in shadow mode passes.

use abi::settings::BACKSTOP;
use abi::{Limit, Mode, Phase, Side};

use super::seat::{Home, Seat};

impl Seat {
    /// Whether `used` of a limit of `most` may be. In shadow mode what is past it is told, and may be
    /// up to the backstop.
    pub fn may(&self, limit: Limit, used: u64, most: u64) -> bool {
        if used <= most {
            return true;
        }
        if self.bound.settings.limits.mode == Mode::Enforce {
            return false;
        }
        self.tell_passed(limit, &format!("{used} (limit {}: {most})", limit.name()));
        used <= most.saturating_mul(BACKSTOP.into())
    }

    /// Says and counts that a limit was passed: once for each limit and exchange.
    #[cold]
    pub fn tell_passed(&self, limit: Limit, what: &str) {
        let bit = 1 << limit as u32;
        if self.told.replace(self.told.get() | bit) & bit != 0 {
            return;
        }
        let settings = &self.bound.settings;
        let (plugin, limit) = (&*settings.plugin, limit.name());
        self.surroundings.state.metrics.about(&settings.plugin, || {
            let name = "forebay_plugin_limit_passed_total";
            metrics::counter!(name, "plugin" => plugin.to_owned(), "limit" => limit).increment(1);
        });
        if !self.log.may_warn(abi::Host::now(self)) {
            return;
        }
        let (route, request_id) = match &self.home {
            Home::Exchange { exchange, .. } => (&*exchange.route.name, &*exchange.id),
            Home::Plugin { .. } => ("", ""),
        };
        tracing::warn!(
            target: "forebay::limit", plugin, version = &*settings.version, route, request_id, limit,
            mode = "shadow", "{what}"
        );
    }

    /// What is left of the limits that are counted here: seconds, bytes, counts.
    pub(super) fn left(&self) -> Vec<(Limit, f64)> {
        let settings = &self.bound.settings;
        let limits = &settings.limits;
        let count = |most: u32, used: u32| f64::from(most.saturating_sub(used));
        let held = self.window(self.side()).size();
        let waited = match &self.home {
            Home::Exchange { slot, .. } => slot.upgrade().map(|slot| slot.stage(self.side()).waited.get()),
            Home::Plugin { .. } => None,
        };
        let (lines, series) =
            (self.log.lines(abi::Host::now(self)), self.surroundings.state.metrics.series(&settings.plugin));
        let mut left = vec![
            (Limit::LogLines, count(limits.log_lines, lines)),
            (Limit::Metrics, count(limits.metrics, u32::try_from(series).unwrap_or(u32::MAX))),
        ];
        if let Home::Plugin { .. } = &self.home
            && self.phase.get() == Phase::Background
        {
            let left_over = self.surroundings.background(&settings.plugin).left(limits);
            left.push((Limit::BackgroundCpu, left_over.as_secs_f64()));
        }
        if let Home::Exchange { .. } = &self.home {
            left.push((Limit::Wall, limits.wall.saturating_sub(waited.unwrap_or_default()).as_secs_f64()));
            left.push((Limit::Buffer, limits.buffer.saturating_sub(held) as f64));
            left.push((Limit::Callouts, count(limits.callouts, self.callouts.get())));
            left.push((Limit::KvCalls, count(limits.kv_calls, self.kv_calls.get())));
        }
        left
    }

    /// The side that a callout or timer of this phase lets go on.
    pub(super) fn side(&self) -> Side {
        if self.phase.get() == Phase::Response { Side::Response } else { Side::Request }
    }
}
