//! The count where some wait in a warm pool: of what the boot's lead asks for, those serve that the warm lead asks
//! for, and the rest waits.
//!
//! Two engines see the same demand. The one plans with the lead of a boot: so many have to be launched by now. The
//! other plans with the lead of one that has booted: so many have to serve by now. Those between need not serve
//! yet, and wait, as far as the warm pool holds them; what it does not hold is planned with the lead of a boot as ever.
//! So never more serve than would without a warm pool, never fewer run in all, and what is saved is that some wait.
//!
//! It is a second engine and not another lead for the one: which lead holds may change from tick to tick, and each
//! change would cost forecasts their outcomes. It begins as a copy of the first, under other lives.

use serde::{Deserialize, Serialize};

use crate::engine::Engine;
use crate::replay::Lives;
use crate::stamp;
use crate::tune::shadow::count;

/// The engine that plans with the warm lead.
#[derive(Debug)]
pub struct Warm {
    engine: Engine,
    lives: Lives,
}

/// Which lead a count goes by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Which {
    /// All that may be needed before a boot is over beyond it fits into the warm pool.
    Warm,
    /// The warm pool holds less than that: the remainder is planned with the lead of a boot.
    Cold,
}

/// The predictive rule's count where there is a warm pool, and of what it follows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Planned {
    /// Those that shall serve.
    pub origins: u32,
    pub lead: Which,
    /// What the lead of a boot asks for, and how long that is.
    pub cold: u32,
    pub cold_seconds: f64,
    /// What the lead of one that waits asks for, and how long that is.
    pub warm: u32,
    pub warm_seconds: f64,
    /// So many may wait.
    pub room: u32,
    pub because: String,
}

impl Warm {
    /// Beside an engine whose lives are `lives`; the pool says what its own are.
    pub fn beside(engine: &Engine, lives: Lives) -> Warm {
        Warm { engine: engine.clone(), lives }
    }

    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    pub fn into_engine(self) -> Engine {
        self.engine
    }

    /// Goes on with what that one has learned, of the same demand.
    pub fn take(&mut self, engine: Engine) {
        self.engine = engine;
        self.engine.relive(self.lives);
    }

    pub fn relive(&mut self, lives: Lives) {
        self.lives = lives;
        self.engine.relive(lives);
    }

    pub fn set_floor(&mut self, floor: u32) {
        self.relive(Lives { floor, ..self.lives });
    }

    /// One step, and what a violating request costs.
    pub fn observe(&mut self, demand: Option<f64>, price: f64) {
        self.engine.reprice(price);
        self.engine.observe(demand);
    }

    /// `scale`: how many of the origins that there are carry what one of the engines' does. `room`: so many may wait.
    /// `None` before anything was seen.
    pub fn plan(&self, cold: &Engine, scale: f64, room: u32) -> Option<Planned> {
        let wants = |engine: &Engine| Some(count(f64::from(engine.want()?.origins) * scale));
        let seconds = |engine: &Engine| {
            let lives = engine.settings().lives;
            lives.boot + lives.warm
        };
        let (cold_seconds, warm_seconds) = (seconds(cold), seconds(&self.engine));
        let (cold, warm) = (wants(cold)?, wants(&self.engine)?);
        let kept = cold.saturating_sub(room);
        let origins = warm.clamp(kept, cold);
        let wait = cold.saturating_sub(origins);
        let lead = if warm >= kept && room > 0 { Which::Warm } else { Which::Cold };
        let because = match lead {
            Which::Warm if wait == 0 => format!("the warm lead of {} asks for {warm}", told(warm_seconds)),
            Which::Warm => format!(
                "the warm lead of {} asks for {warm}, and {wait} more of the {cold} that a boot of {} asks for wait",
                told(warm_seconds),
                told(cold_seconds)
            ),
            Which::Cold => format!(
                "a boot of {} asks for {cold}, of which {room} can wait; the warm lead of {} for {warm}",
                told(cold_seconds),
                told(warm_seconds)
            ),
        };
        Some(Planned { origins, lead, cold, cold_seconds, warm, warm_seconds, room, because })
    }
}

fn told(seconds: f64) -> String {
    stamp::text(std::time::Duration::try_from_secs_f64(seconds).unwrap_or_default())
}
