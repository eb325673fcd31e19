//! The seam to whoever runs policy plugins: engines are no affair of this crate. What the scaler wants asked goes
//! out with a text of JSON, and what comes of it comes back to the loop as an event, in its time. The loop
//! never waits for a script.

use std::sync::Arc;

use scaler::{Answer, Event, Question};
use tokio::sync::mpsc::UnboundedSender;

/// Told from any thread; dropped where another question took this one's place.
pub type Tell = Box<dyn FnOnce(Answer) + Send>;

pub trait Scripts: Send + Sync {
    /// Asks the script `script` of `pool`. Comes back at once.
    fn ask(&self, pool: &str, script: &str, view: Vec<u8>, tell: Tell);
}

/// How the loop asks.
#[derive(Clone)]
pub struct Asker {
    /// `None`: nobody runs scripts in this process.
    pub scripts: Option<Arc<dyn Scripts>>,
    pub answers: UnboundedSender<Event>,
}

impl Asker {
    pub fn ask(&self, question: Question) {
        let Question { pool, script, metrics } = question;
        let answers = self.answers.clone();
        let tell = {
            let (pool, script) = (pool.clone(), script.clone());
            move |answer: Answer| {
                let kind = match &answer {
                    Answer::Proposed { .. } => "proposed",
                    Answer::Nothing => "nothing",
                    Answer::Silent(_) => "silent",
                };
                metrics::counter!("forebay_aggregator_script_answers_total",
                    "pool" => pool.clone(), "plugin" => script.clone(), "answer" => kind)
                .increment(1);
                // An error means that the aggregator has ended.
                let _ = answers.send(Event::Scripted { pool, script, answer });
            }
        };
        match (&self.scripts, serde_json::to_vec(&metrics)) {
            (Some(scripts), Ok(view)) => scripts.ask(&pool, &script, view, Box::new(tell)),
            (None, _) => tell(Answer::Silent("nobody runs scripts in this process".to_owned())),
            (_, Err(error)) => tell(Answer::Silent(format!("what it should see is no JSON: {error}"))),
        }
    }
}
