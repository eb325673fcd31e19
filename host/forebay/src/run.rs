//! `forebay run`: serves what the file says, until it is told to stop.
//!
//! - SIGHUP, or a change of the file or of a plugin: reload, or refuse and say why
//! - SIGTERM, SIGINT: drain; a second one ends the process at once

use std::path::Path;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;

use crate::logging::{self, Logging};
use crate::region;
use crate::running::{self, Running};

mod watch;

use watch::Watch;

/// Histograms keep their samples until somebody folds them in.
const METRICS_UPKEEP: Duration = Duration::from_secs(5);

pub fn run(file: &Path) -> anyhow::Result<()> {
    let region = region::load(file)?;
    let logging = logging::install(&region.log, None)?;
    running::raise_open_files();
    let metrics = running::install_metrics()?;
    let running = Running::start(&region, &metrics)?;
    let addresses: Vec<String> = running.addresses().iter().map(ToString::to_string).collect();
    tracing::info!(
        listen = addresses.join(", "),
        admin = running.admin_address().map(tracing::field::display),
        aggregator = region.aggregator.as_ref().map(|aggregator| tracing::field::display(aggregator.address)),
        "serving {}",
        file.display()
    );
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut stop = Stop::listen()?;
        let mut hangup = signal(SignalKind::hangup())?;
        let mut watch = Watch::new(file, &region)?;
        let mut upkeep = tokio::time::interval(METRICS_UPKEEP);
        loop {
            tokio::select! {
                _ = stop.asked() => break,
                _ = hangup.recv() => reload(file, &running, &logging, &mut watch, "SIGHUP"),
                changed = watch.changed() => reload(file, &running, &logging, &mut watch, &changed),
                _ = upkeep.tick() => metrics.run_upkeep(),
            }
        }
        tracing::info!("draining; a second signal ends the process at once");
        let (done, drained) = oneshot::channel();
        std::thread::spawn(move || done.send(running.drain()));
        tokio::select! {
            cut_off = drained => tracing::info!(cut_off = cut_off?, "drained"),
            _ = stop.asked() => {
                tracing::warn!("second signal: ended without waiting");
                logging.flush();
                std::process::exit(1);
            }
        }
        Ok(())
    })
}

fn reload(file: &Path, running: &Running, logging: &Logging, watch: &mut Watch, why: &str) {
    let taken = region::load(file).and_then(|region| running.reload(&region).map(|()| region));
    match taken {
        Ok(region) => {
            if let Err(error) = logging.reload(&region.log) {
                tracing::error!("the log filter stays as it was: {error:#}");
            }
            watch.follow(&region);
            tracing::info!(why, "reloaded {}", file.display());
        }
        Err(unfit) => {
            for error in &unfit.errors {
                tracing::error!(why, "reload refused: {error}");
            }
        }
    }
}

/// SIGTERM and SIGINT.
struct Stop {
    terminate: Signal,
    interrupt: Signal,
}

impl Stop {
    fn listen() -> std::io::Result<Stop> {
        Ok(Stop { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn asked(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
