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
