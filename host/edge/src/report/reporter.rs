//! Sends the reports to one aggregator, one at a time, and takes the membership of its answers.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response, StatusCode, Uri, header};
use http_body_util::Full;
use metrics::counter;
use tokio::sync::watch;
use wire::{Membership, Report};

use super::Counts;
use super::outbox::Outbox;
use crate::link::{Link, LinkError};
use crate::worker::Shared;

/// A membership of ten thousand origins is a tenth of this.
const MOST_BODY: usize = 16 << 20;
/// For the answer to a report; a slower aggregator is as good as none.
const TIMEOUT: Duration = Duration::from_secs(3);

/// Which aggregators answered their last report well, and which of several is listened to: the one
/// whose token of the lease is the highest. Where no answer has a token there is no lease, and it is the
/// first in the file's order.
#[derive(Clone, Default)]
pub struct Answering(Rc<RefCell<Answers>>);

#[derive(Default)]
struct Answers {
    /// The token of each that answers.
    tokens: BTreeMap<String, Option<u64>>,
    /// The highest that was listened to.
    highest: u64,
}

impl Answering {
    fn ceased(&self, aggregator: &str) {
        self.0.borrow_mut().tokens.remove(aggregator);
    }

    /// It answers; whether it is listened to.
    fn answered(&self, aggregator: &str, token: Option<u64>, order: &[String]) -> bool {
        let mut answers = self.0.borrow_mut();
        answers.tokens.insert(aggregator.to_owned(), token);
        match token {
            // It never had the lease, and knows less than what was heard before.
            Some(0) => false,
            Some(token) => {
                let listened = token >= answers.highest;
                answers.highest = answers.highest.max(token);
                listened
            }
            None => {
                let mut before = order.iter().take_while(|one| *one != aggregator);
                let leased = answers.tokens.values().flatten().any(|token| *token > 0);
                !leased && !before.any(|one| answers.tokens.contains_key(one))
            }
        }
    }
}

/// When this run of the edge began (milliseconds since the Unix epoch), and whether it has ended in order.
pub struct Life {
    pub boot: u64,
    /// Dropped once the aggregator knows, or cannot be told.
    pub ended: watch::Receiver<bool>,
}

/// Reports to one aggregator until the edge ends, or until it is dropped. `aggregator` is `http://host:port` as the
/// file has it, `base` what it need not be told.
pub async fn run(shared: Arc<Shared>, aggregator: String, life: Life, base: Counts, answering: Answering) {
    let Life { boot, mut ended } = life;
    let Some(authority) = authority(&aggregator) else {
        tracing::error!(target: "forebay::report", aggregator, "no reports: the address is not http://host:port");
        return;
    };
    let mut reporter = Reporter {
        link: Link::new(authority, false, MOST_BODY),
        outbox: Outbox::new(edge_of(&shared).name, boot, base),
        target: format!("{}/v1/reports", aggregator.trim_end_matches('/')),
        failing: false,
        refusing: false,
        shared,
        aggregator,
        answering,
    };
    // Soon, and not at once: the answer brings the origins, but a report of no time says nothing.
    let mut due = Instant::now() + Duration::from_millis(50);
    // A report on its way is waited for: what may have been taken must not be told anew.
    while tokio::time::timeout_at(due.into(), ended.wait_for(|ended| *ended)).await.is_err() {
        reporter.report().await;
        let interval = edge_of(&reporter.shared).report_interval;
        due = (due + interval).max(Instant::now());
    }
    reporter.bid_farewell().await;
}

struct Reporter {
    shared: Arc<Shared>,
    aggregator: String,
    target: String,
    link: Link,
    outbox: Outbox,
    answering: Answering,
    /// Said already that it does not answer.
    failing: bool,
    /// Said already that its membership is nonsense.
    refusing: bool,
}

impl Reporter {
    /// Brings the aggregator up to now, or says that it cannot be.
    async fn report(&mut self) {
        // At most twice: a repeat, and what came after it.
        for _ in 0..2 {
            let counts = Counts::take(&self.shared.membership, &self.shared.state, Instant::now());
            let (report, repeat) = self.outbox.next(counts);
            let well = self.send(&report).await;
            if !(well && repeat) {
                return;
            }
        }
    }

    /// Brings the aggregator up to the end of this run. It is tried once: who does not hear of it takes the edge for
    /// silent, and an end must not wait for an aggregator that may be gone.
    async fn bid_farewell(&mut self) {
        for _ in 0..2 {
            let counts = Counts::take(&self.shared.membership, &self.shared.state, Instant::now());
            let (report, repeat) = self.outbox.last(counts);
            let well = self.send(&report).await;
            if !(well && repeat) {
                return;
            }
        }
    }

    async fn send(&mut self, report: &Report) -> bool {
        let body = serde_json::to_vec(report).expect("a report has only text keys and finite numbers");
        let request = Request::post(&self.target)
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(body)))
            .expect("the target was parsed when the reporter began");
        match self.link.send(request, TIMEOUT).await {
            Ok(answer) if answer.status().is_success() => self.taken(&answer),
            Ok(answer) => self.not_taken(&answer),
            Err(LinkError::Unsent(why)) => {
                self.outbox.undelivered();
                self.failed("unreachable", &why);
            }
            Err(LinkError::Unknown(why)) => {
                self.outbox.unknown();
                self.failed("unknown", &why);
            }
        }
        !self.failing
    }

    fn taken(&mut self, answer: &Response<Bytes>) {
        self.outbox.delivered();
        count("forebay_reports_total", &self.aggregator, "delivered");
        if std::mem::take(&mut self.failing) {
            tracing::info!(target: "forebay::report", aggregator = self.aggregator, "aggregator answers again");
        }
        let result = self.take_membership(answer);
        if result.is_err() {
            self.answering.ceased(&self.aggregator);
        }
        match result {
            Ok(result) => {
                self.refusing = false;
                count("forebay_memberships_total", &self.aggregator, result);
            }
            Err(why) => {
                count("forebay_memberships_total", &self.aggregator, "refused");
                if !std::mem::replace(&mut self.refusing, true) {
                    tracing::error!(target: "forebay::report", aggregator = self.aggregator, why,
                        "membership refused, the last one stands");
                }
            }
        }
    }

    /// What became of the membership in an answer, or why it was refused.
    fn take_membership(&self, answer: &Response<Bytes>) -> Result<&'static str, String> {
        let order = edge_of(&self.shared).aggregators;
        if answer.status() == StatusCode::NO_CONTENT {
            self.answering.answered(&self.aggregator, None, &order);
            return Ok("none");
        }
        let membership: Membership = serde_json::from_slice(answer.body()).map_err(|error| error.to_string())?;
        if !self.answering.answered(&self.aggregator, membership.token, &order) {
            return Ok("standby");
        }
        match self.shared.membership.apply(&membership, Instant::now()) {
            Ok(true) => {
                let pools: BTreeMap<&str, usize> =
                    membership.pools.iter().map(|(name, members)| (name.as_str(), members.len())).collect();
                tracing::info!(target: "forebay::report", epoch = membership.epoch, ?pools, "membership taken");
                Ok("taken")
            }
            Ok(false) => Ok("same"),
            Err(refusal) => Err(refusal.to_string()),
        }
    }

    fn not_taken(&mut self, answer: &Response<Bytes>) {
        self.outbox.undelivered();
        let text: String = String::from_utf8_lossy(answer.body()).chars().take(200).collect();
        self.failed("refused", &format!("status {}: {text}", answer.status().as_u16()));
    }

    fn failed(&mut self, result: &'static str, why: &str) {
        count("forebay_reports_total", &self.aggregator, result);
        self.answering.ceased(&self.aggregator);
        if !std::mem::replace(&mut self.failing, true) {
            tracing::warn!(target: "forebay::report", aggregator = self.aggregator, result, why,
                "report not delivered, the last membership stands");
        }
    }
}

fn edge_of(shared: &Shared) -> config::Edge {
    shared.snapshot.load().region.edge.clone().expect("an edge runs only with an edge section")
}

fn authority(aggregator: &str) -> Option<String> {
    let uri: Uri = aggregator.parse().ok()?;
    if uri.scheme_str() != Some("http") {
        return None;
    }
    let authority = uri.authority()?;
    Some(if authority.port().is_some() { authority.to_string() } else { format!("{authority}:80") })
}

fn count(name: &'static str, aggregator: &str, result: &'static str) {
    counter!(name, "aggregator" => aggregator.to_owned(), "result" => result).increment(1);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order() -> [String; 2] {
        ["a".to_owned(), "b".to_owned()]
    }

    #[test]
    fn of_several_the_one_with_the_highest_token_is_listened_to() {
        let (answering, order) = (Answering::default(), order());
        let listened = |from, token| answering.answered(from, Some(token), &order);
        assert!(!listened("a", 0), "it never led");
        assert!(listened("b", 3) && !listened("a", 0));
        assert!(listened("a", 4), "the order of the file means nothing");
        assert!(!listened("b", 3), "it led before");
        answering.ceased("a");
        assert!(!listened("b", 3), "what is old stays old");
        assert!(listened("b", 5));
    }

    #[test]
    fn without_a_lease_the_first_of_the_file_that_answers_is_listened_to() {
        let (answering, order) = (Answering::default(), order());
        let listened = |from| answering.answered(from, None, &order);
        assert!(listened("b") && listened("a") && !listened("b"));
        answering.ceased("a");
        assert!(listened("b"));
        assert!(answering.answered("a", Some(1), &order) && !listened("b"), "a lease counts for more");
        answering.ceased("a");
        assert!(listened("b"), "it was taken out of the file");
    }
}
