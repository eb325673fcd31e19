//! Looks at the metrics that origins show, for the signals of pools that ask for one. Each origin is asked on a task
//! of its own, with an end and a bound, and what it said is given to the loop at its next step: the loop waits for none.

mod text;

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use config::region::{Scrape, SignalSource};
use http::Request;
use http_body_util::{BodyExt, Empty, LengthLimitError, Limited};
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use scaler::{Event, Region, Scraped, stamp};
use tokio::net::TcpStream;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinHandle;

/// Origins that are asked at one time.
const AT_ONCE: usize = 64;
/// Of one answer.
const MOST_BYTES: usize = 4 << 20;

/// One address of one pool, and the path that is asked there.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    pool: String,
    origin: SocketAddr,
    /// Where it shows them.
    at: SocketAddr,
    path: String,
}

/// The name of a signal, and what it asks for.
type Asked<'a> = (&'a str, &'a Scrape);

/// Asked again and again.
struct Watched {
    due: Timestamp,
    task: Option<JoinHandle<()>>,
    failing: bool,
}

impl Drop for Watched {
    fn drop(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
        }
    }
}

struct Answer {
    place: Place,
    values: BTreeMap<String, Result<f64, String>>,
}

pub struct Scraper {
    watched: BTreeMap<Place, Watched>,
    answers: (UnboundedSender<Answer>, UnboundedReceiver<Answer>),
    permits: Arc<Semaphore>,
    wake: Arc<Notify>,
}

impl Scraper {
    pub fn new(wake: Arc<Notify>) -> Scraper {
        let (watched, permits) = (BTreeMap::new(), Arc::new(Semaphore::new(AT_ONCE)));
        Scraper { watched, answers: unbounded_channel(), permits, wake }
    }

    /// Gives what came to the scaler, and asks whoever is due.
    pub fn step(&mut self, config: &config::Region, region: &mut Region, now: Timestamp) {
        while let Ok(Answer { place, values }) = self.answers.1.try_recv() {
            self.tell(&place, &values);
            let scraped = Scraped { address: place.origin, values };
            // Infallible: only reports are refused.
            let _ = region.apply(Event::Scraped { pool: place.pool, scraped }, now);
        }
        let mut wanted = BTreeSet::new();
        for (pool, spec) in &config.pools {
            let signals = spec.scaling.iter().flat_map(|scaling| &scaling.signals);
            let mut by_place: BTreeMap<(Option<u16>, &str), Vec<Asked>> = BTreeMap::new();
            for signal in signals {
                if let SignalSource::Origin { scrape, .. } = &signal.source {
                    by_place.entry((scrape.port, &scrape.path)).or_default().push((&signal.name, scrape));
                }
            }
            if by_place.is_empty() {
                continue;
            }
            for origin in region.serving(pool) {
                for ((port, path), asked) in &by_place {
                    let at = SocketAddr::new(origin.ip(), port.unwrap_or(origin.port()));
                    let place = Place { pool: pool.clone(), origin, at, path: (*path).to_owned() };
                    self.ask(&place, asked, now);
                    wanted.insert(place);
                }
            }
        }
        self.watched.retain(|place, _| wanted.contains(place));
    }

    fn ask(&mut self, place: &Place, asked: &[Asked], now: Timestamp) {
        let watched = self.watched.entry(place.clone());
        let watched = watched.or_insert(Watched { due: now, task: None, failing: false });
        let running = watched.task.as_ref().is_some_and(|task| !task.is_finished());
        // Signals of one place are read off one answer: as often as one of them wants, as long as one of them waits.
        let interval = asked.iter().map(|(_, scrape)| scrape.interval).min().unwrap_or(Scrape::INTERVAL);
        let timeout = asked.iter().map(|(_, scrape)| scrape.timeout).max().unwrap_or(Scrape::TIMEOUT);
        // A due time further off than an interval is of a clock that was set back.
        if running || (now < watched.due && stamp::age(watched.due, now) <= interval) {
            return;
        }
        watched.due = stamp::later(now, interval);
        let asked: Vec<(String, Scrape)> =
            asked.iter().map(|(name, scrape)| ((*name).to_owned(), (*scrape).clone())).collect();
        let (answers, permits, wake) = (self.answers.0.clone(), self.permits.clone(), self.wake.clone());
        let place = place.clone();
        watched.task = Some(tokio::spawn(async move {
            let Ok(_permit) = permits.acquire().await else { return };
            let values = look(&place, &asked, timeout).await;
            // Whoever would hear it has ended otherwise.
            let _ = answers.send(Answer { place, values });
            wake.notify_one();
        }));
    }

    /// Counts, and says once that an origin does not show what it should.
    fn tell(&mut self, place: &Place, values: &BTreeMap<String, Result<f64, String>>) {
        let why = values.iter().find_map(|(signal, value)| Some((signal, value.as_ref().err()?)));
        let result = if why.is_some() { "failed" } else { "taken" };
        metrics::counter!("forebay_aggregator_scrapes_total", "pool" => place.pool.clone(), "result" => result)
            .increment(1);
        let Some(watched) = self.watched.get_mut(place) else { return };
        let before = std::mem::replace(&mut watched.failing, why.is_some());
        if let Some((signal, why)) = why.filter(|_| !before) {
            let Place { pool, origin, at, path } = place;
            tracing::warn!(pool, %origin, %at, path, signal, why, "an origin does not show its metric");
        }
    }
}

async fn look(place: &Place, asked: &[(String, Scrape)], timeout: Duration) -> BTreeMap<String, Result<f64, String>> {
    let answer = match tokio::time::timeout(timeout, get(place)).await {
        Ok(answer) => answer.map_err(|error| error.to_string()),
        Err(_) => Err(format!("no whole answer within {timeout:?}")),
    };
    let value = |(name, scrape): &(String, Scrape)| {
        let value = answer.as_ref().map_err(Clone::clone);
        (name.clone(), value.and_then(|text| text::value(text, &scrape.metric, &scrape.labels)))
    };
    asked.iter().map(value).collect()
}

async fn get(place: &Place) -> Result<String, Box<dyn Error + Send + Sync>> {
    let stream = TcpStream::connect(place.at).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let request = Request::get(&place.path)
        .header(http::header::HOST, place.at.to_string())
        .header(http::header::ACCEPT, "text/plain;version=0.0.4")
        .header(http::header::CONNECTION, "close")
        .body(Empty::<Bytes>::new())?;
    let exchange = async {
        let answer = sender.send_request(request).await?;
        if !answer.status().is_success() {
            return Err(format!("status {}", answer.status().as_u16()).into());
        }
        let body = match Limited::new(answer.into_body(), MOST_BYTES).collect().await {
            Ok(body) => body.to_bytes(),
            Err(error) if error.is::<LengthLimitError>() => {
                return Err(format!("more than {MOST_BYTES} bytes").into());
            }
            Err(error) => return Err(error),
        };
        String::from_utf8(body.into()).map_err(|_| "no text in UTF-8".into())
    };
    tokio::pin!(connection, exchange);
    // The connection is driven here and dropped with the question: nothing outlives it.
    tokio::select! {
        done = &mut exchange => done,
        ended = &mut connection => {
            ended?;
            exchange.await
        }
    }
}
