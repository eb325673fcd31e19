//! Unit tests of a Lua plugin: files named `…_spec.lua`, in the style of busted, each test in an
//! exchange of its own on a stage. They run in the sandbox that the plugin runs in, with
//! `forebay` there, and can require the plugin's modules.

use std::time::Duration;

use config::spec::{Case, Expect, Request, Response, Step};
use edge::stage::{Acted, Finding, Played, Stage};

use super::Tested;
use crate::plugin::folder::Folder;
use crate::plugin::scratch::{Scratch, lua_files};

const HARNESS: &str = include_str!("harness.lua");

/// Ends a file's name: tests, and no module of the plugin.
pub const SUFFIX: &str = "_spec.lua";

/// Enough for a test of anything, and short enough to wait for when one never ends.
const LIMITS: &str = r#"{ "cpu": "2s", "start_cpu": "2s", "wall": "1d", "buffer": "16MiB", "log_lines": 100000 }"#;

/// Runs the tests of each file whose names `chosen` takes; and the number of those left out.
pub fn run(folder: &Folder, chosen: &dyn Fn(&str) -> bool) -> anyhow::Result<(Vec<Tested>, usize)> {
    let (mut tested, mut left_out) = (Vec::new(), 0);
    for (file, _) in lua_files(&folder.path).into_iter().filter(|(name, _)| name.ends_with(SUFFIX)) {
        let module = file.trim_end_matches(".lua").replace('/', ".");
        let main = HARNESS.replace("require(SPEC)", &format!("require({module:?})"));
        let scratch = Scratch::new(&main, Some(&folder.path))?;
        let capabilities = granted(folder);
        let role = scratch.role(&folder.manifest.name, capabilities, Some(LIMITS.to_owned()));
        let mut stage = Stage::new(role);
        let listed = stage.play(&case(vec![ask("/list".to_owned())]));
        let names = match answer(&listed) {
            Ok(names) => names,
            Err(findings) => {
                tested.push(Tested { name: file.clone(), place: file, findings, ..Tested::default() });
                continue;
            }
        };
        let numbered: Vec<_> = names.lines().enumerate().map(|(i, name)| (i + 1, name.to_owned())).collect();
        if numbered.is_empty() {
            let finding = Finding::new("tests", "at least one `it`", "none");
            tested.push(Tested {
                name: file.clone(),
                place: file.clone(),
                findings: vec![finding],
                ..Tested::default()
            });
        }
        let (taken, rest): (Vec<_>, Vec<_>) = numbered.into_iter().partition(|(_, name)| chosen(name));
        left_out += rest.len();
        let played = stage.play(&case(taken.iter().map(|(number, _)| ask(format!("/{number}"))).collect()));
        for ((_, name), acted) in taken.into_iter().zip(&played.steps) {
            let findings = judge(acted);
            tested.push(Tested { name, place: file.clone(), findings, took: acted.took, ..Tested::default() });
        }
    }
    Ok((tested, left_out))
}

/// What the plugin asks for, and what the harness takes: it reads the request and answers it.
fn granted(folder: &Folder) -> Vec<String> {
    let mut granted = folder.capabilities();
    // A secret is of a region file, and there is none here.
    granted.retain(|word| !word.starts_with("secret:"));
    // A list without any of these grants all of them.
    if granted.iter().any(|word| !word.contains(':')) {
        granted.extend(["http.read", "http.respond"].map(str::to_owned));
    }
    granted
}

fn ask(path: String) -> Step {
    let request = Request {
        method: "GET".to_owned(),
        path,
        host: "edge.test".to_owned(),
        headers: Vec::new(),
        body: Vec::new(),
        trailers: Vec::new(),
    };
    let expect = Expect { reaches_origin: Some(false), ..Expect::default() };
    Step { request: Some(request), origin: Response::default(), expect, ..Step::default() }
}

fn case(steps: Vec<Step>) -> Case {
    Case {
        name: "unit tests".to_owned(),
        line: 1,
        config: None,
        vm_config: None,
        capabilities: None,
        limits: None,
        on_fault: None,
        region: None,
        time: Duration::from_secs_f64(config::spec::TIME),
        dict: Vec::new(),
        kv: Vec::new(),
        steps,
    }
}

/// The one answer of a case with one step.
pub fn answer(played: &Played) -> Result<String, Vec<Finding>> {
    match played.steps.first().and_then(|acted| acted.got.as_ref()) {
        Some(Ok(got)) if got.status == 200 && played.findings.is_empty() => {
            Ok(String::from_utf8_lossy(&got.body.bytes).into_owned())
        }
        _ => Err(played.findings.clone()),
    }
}

fn judge(acted: &Acted) -> Vec<Finding> {
    let failed = match &acted.got {
        Some(Ok(got)) if got.status == 500 => {
            let message = String::from_utf8_lossy(&got.body.bytes).into_owned();
            vec![Finding::new("test", "no error", message)]
        }
        _ => Vec::new(),
    };
    acted.findings.iter().cloned().chain(failed).collect()
}

/// A case with one request, for whoever asks a script of ours something.
pub fn question(path: &str) -> Case {
    case(vec![ask(path.to_owned())])
}
