//! The sections `edge` and `aggregator`.

use std::net::SocketAddr;

use super::files::Folder;
use super::lease;
use super::names::Names;
use crate::error::{Errors, Place, Problem};
use crate::raw::File;
use crate::raw::edge as raw;
use crate::raw::form::{Alpn, Protocol};
use crate::raw::value::{At, List, Written};
use crate::region::{Aggregator, Edge, EdgeLimits, History, Journal, Kv, Listener, Tls, TlsClients};

pub fn edge(raw: &raw::Edge, folder: &Folder, errors: &mut Errors) -> Option<Edge> {
    let listeners = raw.listeners.as_ref().map(|listeners| {
        if listeners.is_empty() && listeners.complete {
            errors
                .add(&listeners.place, Problem::found("found an empty list").allowed("needed: at least one listener"));
        }
        listeners.iter().filter_map(|one| listener(one, folder, errors)).collect::<Vec<_>>()
    });
    Some(Edge {
        name: raw.name.as_ref().map_or_else(host_name, |name| name.0.clone()),
        workers: match raw.workers.0 {
            0 => std::thread::available_parallelism().map_or(1, |cores| cores.get()),
            workers => workers as usize,
        },
        listeners: listeners?,
        admin: raw.admin.as_ref().map(|admin| admin.0),
        aggregators: raw.aggregators.iter().map(|url| url.value.0.clone()).collect(),
        report_interval: raw.report_interval.0,
        limits: EdgeLimits {
            header_bytes: raw.limits.header_bytes.bytes(),
            headers: raw.limits.headers.0 as usize,
            body_bytes: raw.limits.body_bytes.0,
            connections: raw.limits.connections.0 as usize,
            header_timeout: raw.limits.header_timeout.0,
            body_timeout: raw.limits.body_timeout.0,
            idle_timeout: raw.limits.idle_timeout.0,
        },
        drain: raw.drain.0,
    })
}

/// Where the kernel gives none, any name is better than a refusal.
fn host_name() -> String {
    let written = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name: String = written.trim().chars().filter(|c| c.is_ascii_alphanumeric() || "-_.".contains(*c)).collect();
    if name.is_empty() { "edge".to_owned() } else { name }
}

fn listener(raw: &raw::Listener, folder: &Folder, errors: &mut Errors) -> Option<Listener> {
    if raw.protocols.is_empty() && raw.protocols.complete {
        let problem = Problem::found("found an empty list");
        errors.add(&raw.protocols.place, problem.allowed("needed: at least one of http1, http2"));
    }
    refuse_twice(&raw.protocols, errors);
    let speaks = |protocol| raw.protocols.iter().any(|one| one.value == protocol);
    let (http1, http2) = (speaks(Protocol::Http1), speaks(Protocol::Http2));
    let tls = raw.tls.as_ref().map(|tls| self::tls(tls, http1, http2, folder, errors));
    Some(Listener { address: raw.address.as_ref()?.0, http1, http2, tls: super::transpose(tls)? })
}

fn tls(raw: &raw::Tls, http1: bool, http2: bool, folder: &Folder, errors: &mut Errors) -> Option<Tls> {
    let certificate = raw.certificate.as_ref().map(|path| folder.pem(path, "CERTIFICATE", errors));
    let key = raw.key.as_ref().map(|path| folder.pem(path, "PRIVATE KEY", errors));
    let spelled = |alpn: &Alpn| alpn.written().as_str().map(str::to_owned);
    let alpn = match &raw.alpn {
        Some(alpn) => {
            refuse_twice(alpn, errors);
            for one in alpn.iter() {
                let (spoken, protocol) = match one.value {
                    Alpn::H2 => (http2, "http2"),
                    Alpn::Http11 => (http1, "http1"),
                };
                if !spoken {
                    let problem = Problem::found(format!("the listener's protocols lack {protocol}"));
                    errors.add(&one.place, problem.allowed("allowed: what the listener speaks"));
                }
            }
            alpn.iter().filter_map(|one| spelled(&one.value)).collect()
        }
        None => [(http2, Alpn::H2), (http1, Alpn::Http11)]
            .iter()
            .filter(|(spoken, _)| *spoken)
            .filter_map(|(_, alpn)| spelled(alpn))
            .collect(),
    };
    let clients = raw.clients.as_ref().map(|clients| {
        let roots = clients.roots.as_ref().map(|path| folder.pem(path, "CERTIFICATE", errors));
        Some(TlsClients { roots: roots??, certificate: clients.certificate.value })
    });
    Some(Tls { certificate: certificate??, key: key??, alpn, clients: super::transpose(clients)? })
}

fn refuse_twice<T: Written>(list: &At<List<T>>, errors: &mut Errors) {
    for (i, one) in list.iter().enumerate() {
        if list[..i].iter().any(|earlier| earlier.value.written() == one.value.written()) {
            errors.add(&one.place, Problem::found(format!("{} is given twice", one.value.written())));
        }
    }
}

pub fn aggregator(
    raw: &raw::Aggregator,
    (names, stores): (&Names, &[Option<Kv>]),
    folder: &Folder,
    errors: &mut Errors,
) -> Option<Aggregator> {
    if raw.stale_after.0 < raw.tick.0 {
        let problem = Problem::found(format!(
            "{} is less than the tick of {}",
            super::text(&raw.stale_after.value),
            super::text(&raw.tick.value)
        ));
        errors.add(&raw.stale_after.place, problem.allowed("allowed: at least one tick"));
    }
    let journal = raw.journal.as_ref().and_then(|journal| {
        let raw::JournalMap { path, file_bytes, files, .. } = &journal.value.0;
        Some(Journal { path: folder.path(path.as_ref()?), file_bytes: file_bytes.0, files: files.0 })
    });
    let lease = raw.lease.as_ref().map(|lease| lease::lease(lease, &raw.region.0, names, stores, errors));
    Some(Aggregator {
        address: raw.address.as_ref()?.0,
        region: raw.region.0.clone(),
        history: history(raw, journal.as_ref(), folder, errors),
        journal,
        tick: raw.tick.0,
        stale_after: raw.stale_after.0,
        lease: super::transpose(lease)?,
    })
}

fn history(raw: &raw::Aggregator, journal: Option<&Journal>, folder: &Folder, errors: &mut Errors) -> Option<History> {
    let beside = journal.map(|journal| History::beside(&journal.path));
    let Some(given) = &raw.history else { return beside };
    let path = given.path.as_ref().map(|path| folder.path(path)).or(beside.map(|history| history.path));
    if path.is_none() && raw.journal.is_none() {
        let problem = Problem::found("no \"path\", and no \"aggregator.journal\" to stand beside");
        errors.add(&given.place, problem.allowed("needed: one of them"));
    }
    Some(History { path: path?, keep: given.keep.0 })
}

/// Each address of this process once. Port 0 is another one each time.
pub fn refuse_shared_addresses(raw: &File, errors: &mut Errors) {
    let mut taken: Vec<(SocketAddr, &Place)> = Vec::new();
    let edge = raw.edge.as_ref();
    let listeners = edge.and_then(|edge| edge.listeners.as_ref()).map(|listeners| listeners.value.iter());
    let listeners = listeners.into_iter().flatten().filter_map(|listener| listener.address.as_ref());
    let admin = edge.and_then(|edge| edge.admin.as_ref());
    let aggregator = raw.aggregator.as_ref().and_then(|aggregator| aggregator.address.as_ref());
    for address in listeners.chain(admin).chain(aggregator) {
        let socket = address.0;
        if let Some((_, first)) = taken.iter().find(|(other, _)| *other == socket && socket.port() != 0) {
            let problem = Problem::found(format!("{socket} is also {}", first.path));
            errors.add(&address.place, problem.allowed("allowed: each address once"));
        }
        taken.push((socket, &address.place));
    }
}

/// An edge that asks no aggregator hears of no origins but those that are listed.
pub fn refuse_unheard_pools(raw: &File, errors: &mut Errors) {
    let Some(edge) = raw.edge.as_ref().filter(|edge| edge.aggregators.is_empty() && edge.aggregators.complete) else {
        return;
    };
    for pool in raw.pools.iter().filter(|pool| pool.scaling.is_some() && pool.origins.is_empty()) {
        if !errors.has_under(&pool.place) && !errors.has_under(&edge.place.key("aggregators")) {
            let problem = Problem::found("this edge would never hear of its origins: \"edge.aggregators\" is empty");
            errors.add(&pool.place, problem.allowed("needed: an aggregator to report to, or \"origins\""));
        }
    }
}
