//! Carries nothing out: decisions are journalled, and the listed origins serve.

use scaler::Observed;

pub struct DryRun;

impl DryRun {
    pub fn observe(&mut self) -> Vec<Observed> {
        Vec::new()
    }

    /// The decision that led here is in the journal: that is all this actuator is for.
    pub fn set(&mut self, _run: u32) {}
}
