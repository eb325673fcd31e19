//! Before each attempt: the plugins say where it goes.

use abi::{Callbacks, Event, Phase};

use super::Chain;
use crate::exchange::Stop;
use crate::reject::Reject;

impl Chain {
    /// Tells every plugin that wants to hear it, in the order of the route; each sees what those
    /// before it chose.
    pub fn select(&self, attempt: u32) -> Result<(), Reject> {
        let told = || {
            for place in 0..self.exchange.route.plugins.len() {
                let Some(slot) = self.opened(place) else { continue };
                if !slot.has(Callbacks::ORIGIN_SELECT) {
                    continue;
                }
                let pool = self.exchange.choice.pool().unwrap_or_default();
                // Nothing can be waited for here, so there is no other answer than to go on.
                slot.call(Phase::Origin, &Event::OriginSelect { pool: &pool, attempt })?;
            }
            Ok(())
        };
        told().map_err(|stop| match stop {
            Stop::Reject(reject) | Stop::TakeOver { reject, .. } => reject,
            // A callout whose callback answered in that very moment: whoever sends asks for it.
            Stop::Answer { slot } => {
                let plugin = self.exchange.route.plugins[slot].plugin().clone();
                self.exchange.stop(stop);
                Reject::PluginAbort { plugin }
            }
        })
    }
}
