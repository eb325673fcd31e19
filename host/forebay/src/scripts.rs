//! Policy plugins: the aggregator asks, and the crate that has the engines answers.

use std::sync::Arc;

use aggregator::scripts::Tell;
use config::Region;
use edge::StartError;
use edge::scripts::Prepared;
use scaler::Answer;

pub struct Scripts(edge::scripts::Scripts);

impl Scripts {
    pub fn start(region: &Arc<Region>) -> Result<Scripts, StartError> {
        edge::scripts::Scripts::start(region).map(Scripts)
    }

    pub fn prepare(&self, region: &Arc<Region>, self_test: bool) -> Result<Prepared, StartError> {
        self.0.prepare(region, self_test)
    }

    pub fn take(&self, prepared: Prepared) {
        self.0.take(prepared);
    }

    /// The metrics that scripts have defined.
    pub fn render(&self) -> String {
        self.0.render()
    }
}

impl aggregator::scripts::Scripts for Scripts {
    fn ask(&self, pool: &str, script: &str, view: Vec<u8>, tell: Tell) {
        let tell = move |said: edge::scripts::Said| {
            tell(match said {
                Ok(Some(proposed)) => Answer::Proposed { origins: proposed.origins, because: proposed.because },
                Ok(None) => Answer::Nothing,
                Err(silence) => Answer::Silent(silence),
            });
        };
        self.0.ask(pool, script, view.into(), Box::new(tell));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use scaler::script::{EdgeCounts, Metrics};

    /// Every key that a case may have.
    const CASE: &str = "- name: everything\n  autoscale:\n    pool: a\n    lead: 90s\n    window: 30s\n    \
        origins: { desired: 9, floor: 2, ceiling: 8, booting: 1, warming: 2, serving: 3, draining: 4, warm: 5 }\n    \
        requests_per_second: 1.5\n    rejects_per_second: 0\n    errors_per_second: 2\n    in_flight: 3\n    \
        edges: { fresh: 2, missing: 1 }\n    signals:\n      \
        cpu: { source: queue, value: 3, per_origin: 0.5, origins: 7, age: 4s, guard: true, because: so it is }\n      \
        silent: { because: nobody answers }\n    schedule: { floor: 2, ceiling: 3, target: 4, multiply: 1.5 }\n    \
        series: [{ requests_per_second: 1, rejects_per_second: 2, errors_per_second: 3, covered: 0.5, serving: 6 }, { covered: 0 }, {}]\n    \
        forecast: { level: 2, quantiles: [{ quantile: 0.9, demand: 3 }], horizon: 80s, gate_open: false, way: cold, rules: 0 }\n    \
        proposals: [{ source: schedule, rule: evening, origins: 3, because: floor }, { source: predictive }, { source: reactive, origins: 1 }]\n";

    /// A case of a `spec.yaml` shows a policy what the scaler does, field by field: what it had too many would be lost on
    /// the way through the scaler's type, and a field that is new there does not compile here.
    #[test]
    fn a_case_shows_a_policy_what_the_scaler_does() {
        let file = std::env::temp_dir().join(format!("forebay-policy-{}.yaml", std::process::id()));
        std::fs::write(&file, CASE).expect("a file can be written");
        let cases =
            config::spec::load(&file).map_err(|errors| errors.iter().map(|e| e.to_string()).collect::<Vec<_>>());
        std::fs::remove_file(&file).expect("it was written");
        let cases = cases.expect("it can be read");
        let view = cases[0].steps[0].autoscale.as_ref().expect("it asks a policy");
        let told: serde_json::Value = serde_json::from_slice(&view.at(Duration::from_secs(1007))).expect("it is JSON");
        let metrics: Metrics = serde_json::from_value(told.clone()).expect("it is the scaler's");
        assert_eq!(serde_json::to_value(&metrics).expect("it is JSON"), told);
        let Metrics {
            now,
            pool,
            origins,
            lead,
            window,
            requests_per_second,
            rejects_per_second,
            errors_per_second,
            in_flight,
            edges,
            signals,
            schedule,
            series,
            forecast,
            proposals,
        } = metrics;
        assert_eq!((now, &*pool, lead, window), (1007.0, "a", 90.0, 30.0));
        assert_eq!((origins.desired, origins.floor, origins.ceiling, origins.stages.warm), (9, 2, 8, 5));
        assert_eq!((requests_per_second, rejects_per_second, errors_per_second), (Some(1.5), Some(0.0), Some(2.0)));
        assert_eq!((in_flight, edges), (Some(3), EdgeCounts { fresh: 2, missing: 1 }));
        assert_eq!((signals["cpu"].origins, signals["cpu"].gap), (Some(7.0), false));
        assert_eq!((signals["silent"].value, signals["silent"].gap), (None, true), "not known is not zero");
        assert_eq!((schedule.len(), proposals.len()), (4, 3));
        // The step that nobody reported is missing, and the present one began at 1005.
        assert_eq!(series.iter().map(|step| step.at).collect::<Vec<_>>(), [975, 1005]);
        assert_eq!((series[0].origins.serving, series[1].origins.serving), (6, 3));
        assert!(forecast.is_some_and(|forecast| !forecast.gate_open && forecast.horizon_seconds == 80.0));
    }
}
