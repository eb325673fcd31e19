//! `forebay plugin run DIR`: serves a plugin while it is written. A change is reloaded as production
//! reloads it, and what is wrong is shown on the request that met it.
//!
//! - this file: the edge that runs it, and when it is reloaded
//! - [`front`]: what the browser speaks to: it passes requests to the edge, and shows errors
//! - [`faults`]: what the plugin logs and how it fails; [`page`]: an error, for people
//! - [`echo`]: an origin that says what it got; [`files`]: whether a file has changed

use std::cell::RefCell;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use config::Region;
use config::spec::{self, Case, Step};
use edge::stage;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::{LocalSet, spawn_local};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use super::folder::{self, Folder};
use crate::region::Unfit;
use crate::running::{self, Running};

mod echo;
mod faults;
mod files;
mod front;
mod page;

use faults::Faults;
use files::Files;
use front::Front;

#[derive(Args)]
pub struct Options {
    /// The plugin's folder
    dir: PathBuf,
    /// Where to serve, on this machine; a free port if not given
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// The origin behind the plugin; one that says what it got if not given. Callouts go there too
    #[arg(long, value_name = "ADDRESS:PORT")]
    origin: Option<SocketAddr>,
    /// What `on_configure` gets: a text, or JSON
    #[arg(long, value_name = "TEXT")]
    config: Option<String>,
    /// The configuration and the sections of a region file are those of a case of spec.yaml: the
    /// first with this text in its name
    #[arg(long, value_name = "TEXT")]
    case: Option<String>,
}

/// How long exchanges may take when the server is told to stop.
const DRAIN: &str = "1s";

pub fn run(options: &Options) -> anyhow::Result<bool> {
    let faults = Faults::default();
    tracing_subscriber::registry().with(faults.clone()).try_init()?;
    let metrics = running::install_metrics()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    // Before anything is read: what is saved from here on is a change.
    let files = RefCell::new(Files::of(&options.dir));
    LocalSet::new().block_on(&runtime, async {
        let origin = match options.origin {
            Some(origin) => origin,
            None => echo::start().await?,
        };
        let region = region(options, origin)?;
        let running = Running::start_untested(&region, &metrics)?;
        let edge = *running.addresses().first().context("the edge listens nowhere")?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, options.port))
            .await
            .map_err(|error| Unfit::one(format!("cannot listen on port {}: {error}", options.port)))?;
        let address = listener.local_addr()?;
        let front = Rc::new(Front::new(edge, faults, options.dir.canonicalize()?));
        spawn_local(front::serve(front.clone(), listener));
        println!("serving {} on http://{address}", options.dir.display());
        let behind = if options.origin.is_some() { "" } else { ", which says what it got" };
        println!("origin: {origin}{behind}; a saved file is reloaded; Ctrl-C ends it");
        let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        loop {
            tokio::select! {
                _ = interrupt.recv() => break,
                _ = terminate.recv() => break,
                file = files::changed(&files) => reload(options, origin, &running, &front, &file),
            }
        }
        tokio::task::spawn_blocking(move || running.drain()).await?;
        Ok(true)
    })
}

/// Taken whole or refused, as in production; then requests are shown why until it is mended.
fn reload(options: &Options, origin: SocketAddr, running: &Running, front: &Front, file: &str) {
    let taken = region(options, origin).and_then(|region| Ok(running.reload(&region)?));
    match taken {
        Ok(()) => {
            eprintln!("{file} changed: reloaded");
            front.refuse(None);
        }
        Err(error) => {
            eprintln!("{file} changed: not taken, the version before serves on:\n{error:#}");
            front.refuse(Some(format!("{error:#}")));
        }
    }
}

/// One route with the plugin, and the origin in place of whatever it asks.
fn region(options: &Options, origin: SocketAddr) -> anyhow::Result<std::sync::Arc<Region>> {
    let folder = Folder::read(&options.dir)?;
    let role = folder.role()?;
    let spec = options.case.as_ref().map(|name| chosen(&folder, name)).transpose()?;
    let pool = |name: &str| json!({ "name": name, "origins": [origin.to_string()] });
    let mut names = vec!["origin".to_owned()];
    for (kind, name) in role.capabilities.iter().filter_map(|word| word.split_once(':')) {
        if ["callout", "origin", "scale.hint"].contains(&kind) && !names.iter().any(|known| known == name) {
            names.push(name.to_owned());
        }
    }
    let pools: Vec<_> = names.iter().map(|name| pool(name)).collect();
    let edge = json!({
        "name": "plugin-run", "workers": 1, "drain": DRAIN, "listeners": [{ "address": "127.0.0.1:0" }],
    });
    let given = spec.as_ref().and_then(|spec| spec.region.as_ref());
    let mut sections: Value = given.map_or(Ok(json!({})), |given| serde_json::from_str(given))?;
    sections["pools"] = json!(pools);
    sections["edge"] = edge;
    let case = Case {
        name: "plugin run".to_owned(),
        line: 0,
        config: options.config.clone().or(spec.as_ref().and_then(|spec| spec.config.clone())),
        vm_config: spec.as_ref().and_then(|spec| spec.vm_config.clone()),
        capabilities: None,
        limits: None,
        on_fault: None,
        region: Some(sections.to_string()),
        time: Duration::ZERO,
        dict: Vec::new(),
        kv: Vec::new(),
        steps: vec![Step::default()],
    };
    Ok(stage::region::of(&role, &case).map_err(|errors| Unfit { errors })?)
}

fn chosen(folder: &Folder, name: &str) -> anyhow::Result<Case> {
    let cases = spec::load(&folder.given.join(spec::FILE)).map_err(|errors| folder::unfit(&errors))?;
    let found = cases.into_iter().find(|case| case.name.contains(name));
    Ok(found.ok_or_else(|| Unfit::one(format!("no case of {} has {name:?} in its name", spec::FILE)))?)
}
