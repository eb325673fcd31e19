//! `forebay quickstart`: the whole idea in one process and one minute. An edge with a plugin in
//! Lua and one in Wasm, an aggregator that runs real origin processes, and a load shaped by a
//! real trace, whose peak the pool's schedule knows of.
//!
//! - [`scenario`]: the demand, and when its peak is; pure
//! - [`plan`]: the region of the run, and its instants
//! - [`ports`]: where it listens
//! - [`driver`]: the load
//! - [`observer`]: what aggregator and edge say
//! - [`view`], [`summary`]: what is shown, meanwhile and at the end

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use jiff::Timestamp;
use tokio::signal::unix::{SignalKind, signal};

use crate::plugin;
use crate::running::{self, Running};
use crate::{logging, span};

mod driver;
mod observer;
mod plan;
mod ports;
mod scenario;
mod summary;
mod view;

use driver::{Driver, Tally};
use observer::{Decision, PoolView};
use plan::{Ground, POOL, Plan};
use ports::Ports;
use scenario::Scenario;
use summary::Summary;
use view::{Moment, Title, View};

const TRACE: &str = include_str!("../../../edge-configs/quickstart/trace.csv");
/// How often aggregator and load are looked at.
const LOOK: Duration = Duration::from_millis(250);

#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Length of the load; boot times and windows follow it
    #[arg(long = "for", default_value = "60s", value_parser = length)]
    length: Duration,
    /// Print the summary as one JSON object on stdout
    #[arg(long)]
    json: bool,
    /// Leave the schedule out: what reactive scaling alone costs
    #[arg(long)]
    no_schedule: bool,
    /// Of the instants at which requests are sent
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Folder for the log, the journal and the origins' state, which then stays
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Where it listens, on 127.0.0.1
    #[arg(long, value_enum, default_value_t)]
    ports: ports::Choice,
}

fn length(text: &str) -> Result<Duration, String> {
    let length = span::parse(text)?;
    let allowed = Duration::from_secs(10)..=Duration::from_secs(3600);
    if allowed.contains(&length) { Ok(length) } else { Err("between 10s and 1h".into()) }
}

pub fn run(options: Options) -> anyhow::Result<()> {
    let root = repository()?;
    let scenario = Scenario::new(TRACE, options.length, options.seed)?;
    let ports = Ports::choose(options.ports)?;
    let folder = Folder::new(options.dir.as_deref())?;
    plugin::build::run(&root.join("plugins/wasm/shop-headers"), &mut |line| eprintln!("{line}"))
        .context("the Wasm plugin of the quickstart could not be built")?;
    let plan = Plan::new(
        &Ground {
            file: &root.join("edge-configs/quickstart.yaml"),
            dir: &folder.path,
            ports,
            program: std::env::current_exe()?,
            schedule: !options.no_schedule,
        },
        &scenario,
    )?;
    // The terminal belongs to the view.
    let _logging = logging::install(&plan.region.log, Some(&folder.path.join("forebay.log")))?;
    introduce(&options, &scenario, &plan, &folder, &ports);

    running::raise_open_files();
    let running = Running::start(&plan.region, &running::install_metrics()?)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let watched = runtime.block_on(watch(&scenario, &plan, &ports));
    // Whatever became of the run: nothing of it stays.
    running.release();
    let mut summary = watched?;
    summary.origins = summary::origins(&plan.counts)?;
    summary.schedule = plan.lead.is_some();
    summary.seed = options.seed;
    if options.json {
        println!("{}", serde_json::to_string_pretty(&summary)?);
    } else {
        print!("\n{}", summary.table());
    }
    Ok(())
}

/// The plugins are built from their sources, which stand beside the code of this binary.
fn repository() -> anyhow::Result<PathBuf> {
    let compiled = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    for root in [std::env::current_dir()?, compiled.clone()] {
        if root.join("edge-configs/quickstart.yaml").is_file() && root.join("plugins/wasm/shop-headers").is_dir() {
            return Ok(root.canonicalize()?);
        }
    }
    bail!(
        "the quickstart needs its repository (edge-configs/quickstart.yaml, plugins/): it is not in {} any \
         more, where this binary was built; run it from the repository's root",
        compiled.display()
    )
}

fn introduce(options: &Options, scenario: &Scenario, plan: &Plan, folder: &Folder, ports: &Ports) {
    eprintln!(
        "real demand of 105 minutes in {} (seed {}): it triples at {}, to {} requests a second\n\
         an origin carries {} a second, boots for {} and takes its full share {} after it is warm",
        span::text(options.length),
        options.seed,
        span::text(scenario.peak_at()),
        scenario::PEAK,
        scenario::CAPACITY,
        span::text(plan.boot),
        span::text(plan.slow_start),
    );
    match plan.lead {
        Some(lead) => eprintln!("the schedule knows of the peak and starts {} ahead of it", span::text(lead)),
        None => eprintln!("no schedule: the reactive rule alone"),
    }
    eprintln!(
        "meanwhile: curl -i http://{}/shop\n           \
         curl http://{}/v1/pools/{POOL}/explain\n           \
         curl http://{}/metrics",
        ports.edge(),
        ports.aggregator(),
        ports.admin()
    );
    eprintln!("log: {}\n", folder.path.join("forebay.log").display());
}

/// What is known of the pool so far.
#[derive(Default)]
struct Known {
    pool: PoolView,
    decisions: Vec<(f64, Decision)>,
    ready_before_peak: Option<f64>,
}

async fn watch(scenario: &Scenario, plan: &Plan, ports: &Ports) -> anyhow::Result<Summary> {
    let started = Instant::now();
    let driver = Driver::start(ports.edge(), scenario.arrivals(), plan.begin)?;
    let mut view = View::new(Title {
        length: scenario.length,
        peak_at: scenario.peak_at(),
        schedule: plan.lead.map_or("no schedule".into(), |lead| format!("schedule leads by {}", span::text(lead))),
    });
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut known = Known::default();
    let mut looks = tokio::time::interval(LOOK);
    let mut stopping = false;
    while !driver.is_finished() {
        let asked = tokio::select! {
            _ = looks.tick() => false,
            _ = interrupt.recv() => true,
            _ = terminate.recv() => true,
        };
        if asked && stopping {
            // Origins end with their parent.
            std::process::exit(1);
        }
        if asked {
            stopping = true;
            driver.stop();
        }
        if let Err(error) = known.look(scenario, plan, ports).await {
            // A busy machine may be late once; the look at the end must succeed.
            tracing::warn!("the aggregator was not seen: {error:#}");
        }
        let elapsed = Instant::now().checked_duration_since(plan.begin);
        view.show(started.elapsed(), &known.moment(elapsed, &driver.tally()));
    }

    let seconds = Instant::now().saturating_duration_since(plan.begin).as_secs_f64().min(scenario.length.as_secs_f64());
    known.look(scenario, plan, ports).await?;
    let tally = driver.tally();
    view.end(started.elapsed(), &known.moment(Some(Duration::from_secs_f64(seconds)), &tally));
    if let Some(failure) = &tally.first_failure {
        eprintln!("{} requests had no answer; the first: {failure}", tally.unanswered);
    }
    let mut summary = Summary::new(&tally, observer::plugins(ports.admin()).await?, &known.decisions);
    summary.origin_seconds = summary::round(known.pool.origin_seconds);
    summary.ready_before_peak_seconds = known.ready_before_peak.map(summary::round);
    summary.peak_seconds = summary::round(scenario.peak_at().as_secs_f64());
    summary.seconds = summary::round(seconds);
    Ok(summary)
}

impl Known {
    fn moment<'a>(&'a self, elapsed: Option<Duration>, tally: &'a Tally) -> Moment<'a> {
        let Known { pool, decisions, ready_before_peak } = self;
        Moment { elapsed, tally, pool, decisions, ready_before_peak: *ready_before_peak }
    }

    async fn look(&mut self, scenario: &Scenario, plan: &Plan, ports: &Ports) -> anyhow::Result<()> {
        self.pool = observer::pool(ports.aggregator(), POOL).await?;
        let begin = plan.peak - jiff::SignedDuration::try_from(scenario.peak_at())?;
        let moved = observer::decisions(ports.aggregator()).await?.into_iter();
        let moved = moved.filter(|decision| decision.pool == POOL && decision.from != decision.to);
        let moved = moved.map(|decision| (decision.at.duration_since(begin).as_secs_f64(), decision));
        self.decisions = moved.collect();
        if self.ready_before_peak.is_none() {
            let ready = self.pool.ready_since(scenario.origins_at_peak(), plan.slow_start);
            let ready = ready.filter(|at| *at <= Timestamp::now());
            self.ready_before_peak = ready.map(|at| plan.peak.duration_since(at).as_secs_f64());
        }
        Ok(())
    }
}

/// Where a run leaves what it writes; a temporary one is removed at the end.
struct Folder {
    path: PathBuf,
    temporary: bool,
}

impl Folder {
    fn new(given: Option<&Path>) -> anyhow::Result<Folder> {
        let (path, temporary) = match given {
            Some(path) => (std::path::absolute(path)?, false),
            None => (std::env::temp_dir().join(format!("forebay-quickstart-{}", std::process::id())), true),
        };
        std::fs::create_dir_all(&path).with_context(|| path.display().to_string())?;
        Ok(Folder { path, temporary })
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if self.temporary {
            let _ = std::fs::remove_dir_all(&self.path);
        }
    }
}
