//! The region of a run: `edge-configs/quickstart.yaml`, with what only the run knows laid over
//! it (ports, folder, program, the pace), and the instants that follow.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use config::{Actuator, Region, When};
use jiff::tz::TimeZone;
use jiff::{Timestamp, Unit};

use super::ports::Ports;
use super::scenario::{CAPACITY, Scenario};
use crate::{region, span};

/// The pool that the load is for.
pub const POOL: &str = "shop";
/// Reports, ticks and the start of a process take their time at every pace.
const UNHURRIED: Duration = Duration::from_millis(1500);

pub struct Plan {
    pub region: Arc<Region>,
    /// When the first request leaves, and when demand comes to its peak.
    pub begin: Instant,
    pub peak: Timestamp,
    pub boot: Duration,
    pub slow_start: Duration,
    /// Of the schedule, if the run has one.
    pub lead: Option<Duration>,
    /// Where origins leave their counts: `PORT-PID.json`.
    pub counts: PathBuf,
}

/// What the command line and the file system decide.
pub struct Ground<'a> {
    pub file: &'a Path,
    pub dir: &'a Path,
    pub ports: Ports,
    pub program: PathBuf,
    pub schedule: bool,
}

impl Plan {
    pub fn new(ground: &Ground, scenario: &Scenario) -> anyhow::Result<Plan> {
        let mut region = Region::clone(&*region::load(ground.file)?);
        lay_ports(&mut region, ground)?;

        let pace = scenario.pace();
        let counts = ground.dir.join("counts");
        let pool = region.pools.get_mut(POOL).with_context(|| format!("the file has no pool `{POOL}`"))?;
        let pool = Arc::make_mut(pool);
        let scaling = pool.scaling.as_mut().with_context(|| format!("pool `{POOL}` has no scaling"))?;
        let Actuator::Process(process) = &mut scaling.actuator else {
            bail!("pool `{POOL}` is not run by the actuator `process`")
        };
        process.state_dir = ground.dir.join("origins");
        let boot = span::parse(argument(&process.command, "--boot=")?).map_err(anyhow::Error::msg)?.mul_f64(pace);
        let cold: f64 = argument(&process.command, "--cold-requests=")?.parse()?;
        let program = process.command.first_mut().context("the actuator has no command")?;
        *program = ground.program.display().to_string();
        // A later one overrides an earlier one.
        process.command.extend([
            format!("--boot={}us", boot.as_micros()),
            format!("--capacity={CAPACITY}"),
            format!("--cold-requests={}", (cold * pace).ceil()),
            format!("--counts={}", counts.join("{port}-{pid}.json").display()),
            "--with-parent".into(),
        ]);
        std::fs::create_dir_all(&counts)?;
        std::fs::create_dir_all(&process.state_dir)?;

        pool.slow_start = pool.slow_start.mul_f64(pace);
        let slow_start = pool.slow_start;
        if let Some(warmup) = &mut pool.warmup {
            warmup.requests = (f64::from(warmup.requests) * pace).ceil() as u32;
        }
        scaling.stabilisation = scaling.stabilisation.mul_f64(pace);
        if let Some(reactive) = &mut scaling.reactive {
            // Under a second there are too few requests to tell load from chance.
            reactive.window = reactive.window.mul_f64(pace).max(Duration::from_secs(1));
        }

        // The first origins are up and warm before the first request; the schedule's cron can
        // name whole seconds only, so the peak is set on one and the beginning follows from it.
        let prelude = (boot + slow_start).mul_f64(1.5) + 2 * UNHURRIED;
        let (now, instant) = (Timestamp::now(), Instant::now());
        let peak = (now + prelude + scenario.peak_at()).round(Unit::Second)? + jiff::SignedDuration::from_secs(1);
        let begin = instant + Duration::try_from(peak.duration_since(now))? - scenario.peak_at();

        let mut lead = None;
        if ground.schedule {
            let [schedule] = &mut scaling.schedules[..] else { bail!("pool `{POOL}` has not exactly one schedule") };
            schedule.when = When::Cron(cron(peak));
            schedule.zone = "UTC".into();
            schedule.duration = scenario.peak_lasts();
            schedule.floor = Some(scenario.origins_at_peak());
            schedule.lead = schedule.lead.mul_f64(pace) + UNHURRIED.mul_f64((1.0 - pace).max(0.0));
            schedule.own_lead = true;
            lead = Some(schedule.lead);
        } else {
            scaling.schedules.clear();
        }
        Ok(Plan { region: Arc::new(region), begin, peak, boot, slow_start, lead, counts })
    }
}

fn lay_ports(region: &mut Region, ground: &Ground) -> anyhow::Result<()> {
    let edge = region.edge.as_mut().context("the file has no `edge`")?;
    let [listener] = &mut edge.listeners[..] else { bail!("the file has not exactly one listener") };
    listener.address = ground.ports.edge();
    edge.admin = Some(ground.ports.admin());
    edge.aggregators = vec![format!("http://{}", ground.ports.aggregator())];
    let aggregator = region.aggregator.as_mut().context("the file has no `aggregator`")?;
    aggregator.address = ground.ports.aggregator();
    let journal = ground.dir.join("journal.jsonl");
    aggregator.history = Some(config::region::History::beside(&journal));
    aggregator.journal = Some(config::region::Journal::at(journal));
    Ok(())
}

fn argument<'a>(command: &'a [String], name: &str) -> anyhow::Result<&'a str> {
    let value = command.iter().find_map(|argument| argument.strip_prefix(name));
    value.with_context(|| format!("the actuator's command has no `{name}`"))
}

/// Six fields, the first the second: once, at this instant, read in UTC.
fn cron(at: Timestamp) -> String {
    let at = at.to_zoned(TimeZone::UTC);
    format!("{} {} {} {} {} *", at.second(), at.minute(), at.hour(), at.day(), at.month())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cron_names_the_very_second() {
        assert_eq!(cron("2026-11-22T03:04:05Z".parse().unwrap()), "5 4 3 22 11 *");
    }
}
