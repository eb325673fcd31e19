//! What a pool learns of its origins: how long they take to come and to go.

use std::time::Duration;

use super::Pool;
use crate::stage::News;

/// Beyond the time-out of a warm-up, for ticks.
const WARM_UP_SLACK: Duration = Duration::from_secs(5);

impl Pool {
    /// What origins that came, failed and left have taught.
    pub(super) fn learn(&mut self) {
        let news = self.origins.take_news();
        if news == News::default() {
            return;
        }
        let News { came, failed, drained, joined } = news;
        // Whoever waited longer waited in the warm pool.
        let longest = self.rules().warmup.unwrap_or_default() + WARM_UP_SLACK;
        let learned = self.lead.learn();
        for sample in came.into_iter().filter(|sample| sample.warm_up <= longest.as_secs_f64()) {
            learned.came(sample);
        }
        learned.failed(failed);
        for drain in drained {
            learned.left(drain);
        }
        joined.into_iter().for_each(|seconds| learned.joined(seconds));
        if self.lead.settle(&self.config) {
            self.relive();
        }
    }

    pub(super) fn relive(&mut self) {
        let figures = self.lead.figures();
        self.policies.iter_mut().for_each(|policy| policy.relive(figures));
        if let Some(trial) = &mut self.trial {
            trial.relive(figures);
        }
        if let Some(beside) = &mut self.beside {
            beside.relive(figures);
        }
    }
}
