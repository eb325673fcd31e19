//! `forebay plugin bench DIR`: what each callback of a plugin costs, on the stage that `test` plays
//! on. A case of `spec.yaml` gives the exchange.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use config::spec::{self, Case, Step};
use edge::stage::Stage;
use edge::stage::measure::{Cost, Measured};
use serde_json::{Value, json};

use super::folder::{self, Folder};
use crate::region::Unfit;

#[derive(Args)]
pub struct Options {
    /// The plugin's folder
    dir: PathBuf,
    /// The case of spec.yaml that is played: the first with this text in its name. Default: the
    /// first with a request, or a question to a policy, in which the plugin does not fail
    #[arg(long, value_name = "TEXT")]
    case: Option<String>,
    /// Exchanges that are measured
    #[arg(long, value_name = "N", default_value_t = 2000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    exchanges: u32,
    /// Exchanges before them, so that code is compiled and memory has grown
    #[arg(long, value_name = "N", default_value_t = 500, value_parser = clap::value_parser!(u32).range(0..=1_000_000))]
    warmup: u32,
    /// One JSON document in place of lines for people
    #[arg(long)]
    json: bool,
}

pub fn run(options: &Options) -> anyhow::Result<bool> {
    let folder = Folder::read(&options.dir)?;
    let cases = spec::load(&folder.given.join(spec::FILE)).map_err(|errors| folder::unfit(&errors))?;
    let case = choose(&cases, options)?;
    let mut stage = Stage::new(folder.role()?);
    let played = stage.play(case);
    if let Some(finding) = played.findings.first() {
        let text =
            format!("case {:?} fails, and what fails is not measured: {}: {}", case.name, finding.what, finding.found);
        return Err(Unfit::one(text).into());
    }
    let measured = stage.bench(case, options.warmup, options.exchanges).map_err(|errors| Unfit { errors })?;
    if options.json {
        println!("{}", serde_json::to_string_pretty(&json(&folder, case, options, &measured))?);
    } else {
        print(&folder, case, options, &measured);
    }
    Ok(true)
}

fn choose<'a>(cases: &'a [Case], options: &Options) -> Result<&'a Case, Unfit> {
    let fits = |case: &&Case| match &options.case {
        Some(text) => case.name.contains(text),
        None => {
            let does = |step: &Step| step.request.is_some() || step.autoscale.is_some();
            case.steps.iter().all(|step| step.expect.fault.is_none()) && case.steps.iter().any(does)
        }
    };
    cases.iter().find(fits).ok_or_else(|| {
        let names: Vec<_> = cases.iter().map(|case| format!("{:?}", case.name)).collect();
        let wanted =
            options.case.as_ref().map_or("with a request or a question".to_owned(), |text| format!("{text:?}"));
        Unfit::one(format!("no case {wanted}; cases are: {}", names.join(", ")))
    })
}

fn print(folder: &Folder, case: &Case, options: &Options, measured: &Measured) {
    let (name, exchanges, warmup) = (&folder.manifest.name, options.exchanges, options.warmup);
    println!("{name}: {:?}, {exchanges} exchanges after {warmup} of warm-up", case.name);
    println!(
        "{:<22}{:>9}{:>11}{:>11}{:>11}{:>16}",
        "callback", "calls", "CPU p50", "CPU p99", "hostcalls", "allocated"
    );
    for (callback, cost) in &measured.callbacks {
        let calls = cost.cpu.len();
        let per = |n: u64| n as f64 / calls.max(1) as f64;
        let allocated = match cost.allocations {
            0 => "-".to_owned(),
            n => format!("{:.0} B in {:.1}", per(cost.allocated), per(n)),
        };
        let (p50, p99) = (micros(cost.quantile(0.5)), micros(cost.quantile(0.99)));
        let faults = if cost.faults > 0 { format!("  {} faults", cost.faults) } else { String::new() };
        println!("{callback:<22}{calls:>9}{p50:>11}{p99:>11}{:>11.1}{allocated:>16}{faults}", per(cost.hostcalls));
    }
    let kib = |bytes: usize| bytes.div_ceil(1024);
    println!("memory of an instance: {} KiB at the start, {} KiB at most", kib(measured.memory), kib(measured.peak));
}

fn micros(time: Duration) -> String {
    format!("{:.2} \u{b5}s", time.as_nanos() as f64 / 1000.0)
}

fn json(folder: &Folder, case: &Case, options: &Options, measured: &Measured) -> Value {
    let callback = |(name, cost): (&&str, &Cost)| {
        let calls = cost.cpu.len().max(1) as f64;
        let value = json!({
            "calls": cost.cpu.len(),
            "cpu_p50_nanoseconds": cost.quantile(0.5).as_nanos() as u64,
            "cpu_p99_nanoseconds": cost.quantile(0.99).as_nanos() as u64,
            "hostcalls": cost.hostcalls as f64 / calls,
            "allocated_bytes": cost.allocated as f64 / calls,
            "allocations": cost.allocations as f64 / calls,
            "faults": cost.faults,
        });
        ((*name).to_owned(), value)
    };
    json!({
        "plugin": folder.manifest.name,
        "case": case.name,
        "exchanges": options.exchanges,
        "warmup": options.warmup,
        "callbacks": measured.callbacks.iter().map(callback).collect::<serde_json::Map<_, _>>(),
        "memory_bytes": measured.memory,
        "peak_memory_bytes": measured.peak,
    })
}
