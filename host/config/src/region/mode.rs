//! How far the scaling of a pool may go by itself.

use serde::{Deserialize, Serialize};

/// What becomes of a decision. Floor and ceiling hold in every mode.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ScalingMode {
    /// No rule is asked: the count that stands stays.
    Off,
    /// Every decision is made and recorded as if it were carried out; the count that stands stays.
    Shadow,
    /// The same, and what it would have is shown as advice.
    Advise,
    /// Carried out, but for what would take origins away.
    UpOnly,
    #[default]
    On,
}

impl ScalingMode {
    pub fn name(self) -> &'static str {
        match self {
            ScalingMode::Off => "off",
            ScalingMode::Shadow => "shadow",
            ScalingMode::Advise => "advise",
            ScalingMode::UpOnly => "up-only",
            ScalingMode::On => "on",
        }
    }

    /// Decides, and does not act.
    pub fn only_thinks(self) -> bool {
        matches!(self, ScalingMode::Shadow | ScalingMode::Advise)
    }
}
