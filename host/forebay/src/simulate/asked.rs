//! A pool's scripts in a replay: run as an aggregator runs them, on a thread of their own and within their limits, and
//! waited for, so that an answer is always of the tick that it was asked in.

use std::sync::mpsc;

use aggregator::scripts::Scripts as _;
use scaler::{Answer, Question};

use super::tried::Tried;
use crate::scripts::Scripts;

/// `None`: the pool has none.
pub struct Asked(Option<Scripts>);

impl Asked {
    /// # Errors
    /// A script that does not load, or is none.
    pub fn of(tried: &Tried) -> Result<Asked, String> {
        if tried.scaling().scripts.is_empty() {
            return Ok(Asked(None));
        }
        let started = Scripts::start(&tried.config);
        started.map(|scripts| Asked(Some(scripts))).map_err(|error| error.errors.join("\n"))
    }

    pub fn answer(&self, question: Question) -> Answer {
        let Question { pool, script, metrics } = question;
        let (Some(scripts), Ok(view)) = (&self.0, serde_json::to_vec(&metrics)) else {
            return Answer::Silent("it is not run here".to_owned());
        };
        let (told, answer) = mpsc::channel();
        // Who asked waits below.
        scripts.ask(&pool, &script, view, Box::new(move |said| drop(told.send(said))));
        answer.recv().unwrap_or_else(|_| Answer::Silent("its thread has ended".to_owned()))
    }
}
