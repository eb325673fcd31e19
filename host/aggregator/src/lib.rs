//! The control plane of a region: takes the edges' reports, lets the scaler decide, carries
//! decisions out and says who is in each pool. It runs in a thread of its own.
//!
//! - [`ingest`]: bytes to a report, or the reason why not;
//! - [`steer`]: the loop around the scaler: observe, decide, write down, act;
//! - [`clock`]: time that passes, and what the wall clock shows;
//! - [`scrape`]: reads the metrics that origins show;
//! - [`lease`]: which of several aggregators acts;
//! - [`journal`]: decisions on disk, before anything is done;
//! - [`history`]: what pools saw, on disk, for whoever starts next;
//! - [`actuator`]: starts and stops origins as it is told;
//! - [`scripts`]: how policy plugins are asked, by whoever runs them;
//! - [`publish`]: the membership, and what of it is measured;
//! - [`api`]: HTTP, for edges and for people.

mod actuator;
mod api;
mod clock;
pub mod history;
mod ingest;
pub mod journal;
mod lease;
mod publish;
mod scrape;
pub mod scripts;
mod steer;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::{Notify, Semaphore, watch};

use clock::Clock;
use scripts::{Asker, Scripts};
use steer::Steer;

/// Says what each metric is, to the recorder that is installed; [`start`] does.
pub use publish::describe;

/// How often processes are looked at between events.
const POLL: Duration = Duration::from_millis(100);

/// Renders metrics as Prometheus text.
pub type Render = Arc<dyn Fn() -> String + Send + Sync>;

#[derive(Clone, Default)]
pub struct Options {
    /// Served at `/metrics`; `None` where the process's edge serves them.
    pub metrics: Option<Render>,
    /// Runs the policy plugins that pools name.
    pub scripts: Option<Arc<dyn Scripts>>,
}

/// Why the aggregator could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("the region file has no `aggregator`")]
    NoAggregator,
    #[error("aggregator.address {address}: {error}")]
    Bind { address: SocketAddr, error: std::io::Error },
    #[error("the aggregator's thread: {0}")]
    Thread(std::io::Error),
}

/// Why a changed file was refused. The old one goes on.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    #[error("the new file has no `aggregator`: that needs a restart")]
    NoAggregator,
    #[error("aggregator.address changed from {from} to {to}: that needs a restart")]
    Address { from: SocketAddr, to: SocketAddr },
    #[error("aggregator.lease changed: that needs a restart")]
    Lease,
    #[error("the aggregator has ended")]
    Ended,
}

/// A running aggregator. Dropped, it stops and leaves origins running.
pub struct Aggregator {
    address: SocketAddr,
    commands: UnboundedSender<Command>,
    thread: Option<JoinHandle<()>>,
}

enum Command {
    Reload(Arc<config::Region>, mpsc::Sender<Result<(), ReloadError>>),
    Stop { release: bool },
}

/// Binds the region's aggregator address (port 0: any) and starts.
pub fn start(region: Arc<config::Region>) -> Result<Aggregator, StartError> {
    start_with(region, Options::default())
}

pub fn start_with(region: Arc<config::Region>, options: Options) -> Result<Aggregator, StartError> {
    let address = region.aggregator.as_ref().ok_or(StartError::NoAggregator)?.address;
    let bind = |error| StartError::Bind { address, error };
    let listener = std::net::TcpListener::bind(address).map_err(bind)?;
    listener.set_nonblocking(true).map_err(bind)?;
    let bound = listener.local_addr().map_err(bind)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(StartError::Thread)?;
    let (commands, inbox) = unbounded_channel();
    let thread = std::thread::Builder::new()
        .name("aggregator".into())
        .spawn(move || runtime.block_on(run(region, options, listener, inbox)))
        .map_err(StartError::Thread)?;
    Ok(Aggregator { address: bound, commands, thread: Some(thread) })
}

impl Aggregator {
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes over a changed file. Waits for the answer: a few milliseconds.
    pub fn reload(&self, region: Arc<config::Region>) -> Result<(), ReloadError> {
        let (answer, answered) = mpsc::channel();
        self.commands.send(Command::Reload(region, answer)).map_err(|_| ReloadError::Ended)?;
        answered.recv().map_err(|_| ReloadError::Ended)?
    }

    /// Stops; origins go on, for the next aggregator to adopt.
    pub fn stop(mut self) {
        self.end(false);
    }

    /// Stops, and stops every origin that it runs. Takes up to the longest `stop_timeout`.
    pub fn stop_and_release(mut self) {
        self.end(true);
    }

    fn end(&mut self, release: bool) {
        // An error means that it has ended already.
        let _ = self.commands.send(Command::Stop { release });
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the aggregator's thread panicked");
        }
    }
}

impl Drop for Aggregator {
    fn drop(&mut self) {
        self.end(false);
    }
}

/// What HTTP connections and the loop share. One thread runs both, and the lock is never held
/// across an await: it is never waited for.
pub(crate) struct Shared {
    steer: Mutex<Steer>,
    /// Something happened that may call for a step.
    wake: Arc<Notify>,
    options: Options,
    /// Turns for questions that take the reading of files.
    reading: Arc<Semaphore>,
}

impl Shared {
    pub(crate) fn steer(&self) -> MutexGuard<'_, Steer> {
        self.steer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn run(
    region: Arc<config::Region>,
    options: Options,
    listener: std::net::TcpListener,
    mut inbox: UnboundedReceiver<Command>,
) {
    publish::describe();
    let wake = Arc::new(Notify::new());
    let lease = region.aggregator.as_ref().and_then(|aggregator| aggregator.lease.clone());
    let (answers, mut answered) = unbounded_channel();
    let asker = Asker { scripts: options.scripts.clone(), answers };
    let clock = Clock::start();
    let mut steer = Steer::new(region, wake.clone(), asker, clock.clone());
    let (stop, stopped) = watch::channel(false);
    let keeper = lease.map(|lease| {
        let holder = lease::server::holder(&listener);
        tokio::spawn(lease::keep(steer.lead().clone(), lease, holder, wake.clone(), stopped))
    });
    // What runs is known, and decided on, before the first edge is answered.
    let mut wake_at = steer.step(clock.now());
    let reading = Arc::new(Semaphore::new(api::reading::AT_ONCE));
    let shared = Arc::new(Shared { steer: Mutex::new(steer), wake, options, reading });
    let server = tokio::spawn(api::serve(listener, shared.clone()));
    let release = loop {
        let rest = Duration::try_from(wake_at.duration_since(clock.now())).unwrap_or(Duration::ZERO);
        tokio::select! {
            command = inbox.recv() => match command {
                Some(Command::Reload(region, answer)) => {
                    let mut steer = shared.steer();
                    let now = steer.now();
                    let result = steer.reload(region, now);
                    let _ = answer.send(result);
                }
                Some(Command::Stop { release }) => break release,
                None => break false,
            },
            // The loop holds a sender itself: there is always a next one to wait for.
            Some(answer) = answered.recv() => shared.steer().hear(answer),
            () = shared.wake.notified() => {}
            () = tokio::time::sleep(rest.min(POLL)) => {}
        }
        let mut steer = shared.steer();
        let now = steer.now();
        wake_at = steer.step(now);
    };
    // Edges that report from here on keep the membership they have.
    server.abort();
    if release {
        let until = shared.steer().release(clock.now());
        while !shared.steer().released(clock.now()) && clock.now() < until {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    shared.steer().close();
    // Nothing is done from here on: the next one need not wait for the lease to end.
    stop.send_replace(true);
    if let Some(keeper) = keeper {
        let _ = keeper.await;
    }
}
