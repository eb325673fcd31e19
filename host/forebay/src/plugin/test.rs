//! `forebay plugin test DIR`: the cases of a plugin's `spec.yaml`, on a stage; and [`unit`] tests
//! in Lua.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use config::manifest::Engine;
use config::spec;
use edge::stage::{Finding, Stage};
use serde_json::{Value, json};

pub mod unit;

use super::diff;
use super::folder::{self, Folder};
use super::scratch::lua_files;
use crate::region::Unfit;

#[derive(Args)]
pub struct Options {
    /// The plugin's folder, or several
    #[arg(required = true)]
    dirs: Vec<PathBuf>,
    /// Only cases with this text in their name
    #[arg(long, value_name = "TEXT")]
    filter: Option<String>,
    /// One JSON document in place of lines for people
    #[arg(long)]
    json: bool,
}

/// One case, played.
#[derive(Default)]
pub struct Tested {
    name: String,
    /// Where it stands: `spec.yaml:12`.
    place: String,
    findings: Vec<Finding>,
    logs: Vec<String>,
    took: Duration,
}

/// All cases of one plugin.
struct Report {
    folder: Folder,
    tested: Vec<Tested>,
    /// Left out by the filter.
    left_out: usize,
}

/// False if a case fails.
pub fn run(options: &Options) -> anyhow::Result<bool> {
    let mut reports = Vec::new();
    for dir in &options.dirs {
        let folder = Folder::read(dir)?;
        let report = test(folder, options)?;
        if !options.json {
            report.print();
        }
        reports.push(report);
    }
    let all = || reports.iter().flat_map(|report| &report.tested);
    let failed = all().filter(|tested| !tested.passed()).count();
    let passed = all().count() - failed;
    let left_out: usize = reports.iter().map(|report| report.left_out).sum();
    if passed + failed == 0 {
        let filter = options.filter.as_deref().unwrap_or_default();
        return Err(Unfit::one(format!("no case has {filter:?} in its name, of {left_out}")).into());
    }
    if options.json {
        let plugins: Vec<_> = reports.iter().map(Report::json).collect();
        let all = json!({ "plugins": plugins, "passed": passed, "failed": failed, "left_out": left_out });
        println!("{}", serde_json::to_string_pretty(&all)?);
    } else {
        let left_out = if left_out > 0 { format!(", {left_out} left out by --filter") } else { String::new() };
        println!("{passed} passed, {failed} failed{left_out}");
    }
    Ok(failed == 0)
}

fn test(folder: Folder, options: &Options) -> anyhow::Result<Report> {
    let file = folder.given.join(spec::FILE);
    let units = lua_files(&folder.path).iter().any(|(name, _)| name.ends_with(unit::SUFFIX));
    let cases = match file.exists() {
        true => spec::load(&file).map_err(|errors| folder::unfit(&errors))?,
        false if units => Vec::new(),
        false => {
            let text = format!("{}: there is no {}: nothing to test", folder.given.display(), spec::FILE);
            return Err(Unfit::one(text).into());
        }
    };
    let chosen = |name: &str| options.filter.as_ref().is_none_or(|filter| name.contains(filter.as_str()));
    let mut left_out = cases.iter().filter(|case| !chosen(&case.name)).count();
    let mut stage = Stage::new(folder.role()?);
    let mut tested = Vec::new();
    for case in cases.iter().filter(|case| chosen(&case.name)) {
        let played = stage.play(case);
        tested.push(Tested {
            name: case.name.clone(),
            place: format!("{}:{}", spec::FILE, case.line),
            findings: played.findings,
            logs: played.logs,
            took: played.took,
        });
    }
    if units && folder.manifest.engine == Engine::Lua {
        let (more, others) = unit::run(&folder, &chosen)?;
        tested.extend(more);
        left_out += others;
    }
    Ok(Report { folder, tested, left_out })
}

impl Tested {
    fn passed(&self) -> bool {
        self.findings.is_empty()
    }

    fn print(&self) {
        println!("  {}  {}", if self.passed() { "ok  " } else { "FAIL" }, self.name);
        if self.passed() {
            return;
        }
        println!("        {}", self.place);
        for finding in &self.findings {
            println!("        {}", finding.what);
            if finding.expected.contains('\n') && finding.found.contains('\n') {
                diff::lines(&finding.expected, &finding.found).iter().for_each(|line| println!("          {line}"));
                continue;
            }
            indent("expected", &finding.expected);
            indent("found   ", &finding.found);
        }
        if !self.logs.is_empty() {
            println!("        the plugin logged");
            self.logs.iter().for_each(|line| println!("          {line}"));
        }
    }

    fn json(&self) -> Value {
        let finding =
            |finding: &Finding| json!({ "what": finding.what, "expected": finding.expected, "found": finding.found });
        json!({
            "name": self.name,
            "place": self.place,
            "passed": self.passed(),
            "findings": self.findings.iter().map(finding).collect::<Vec<_>>(),
            "logs": self.logs,
            "took_seconds": self.took.as_secs_f64(),
        })
    }
}

fn indent(what: &str, text: &str) {
    let mut lines = text.lines();
    println!("          {what}  {}", lines.next().unwrap_or("\"\""));
    lines.for_each(|line| println!("          {:width$}  {line}", "", width = what.len()));
}

impl Report {
    fn print(&self) {
        println!("{}", self.folder.given.display());
        self.tested.iter().for_each(Tested::print);
    }

    fn json(&self) -> Value {
        json!({
            "plugin": self.folder.manifest.name,
            "folder": self.folder.given,
            "cases": self.tested.iter().map(Tested::json).collect::<Vec<_>>(),
        })
    }
}
