//! The sections `edge`, `aggregator` and `log`.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::form::{
    Address, AggregatorUrl, Alpn, FilePath, Name, Period, Positive, Protocol, Size, Span, Text, Workers,
};
use super::lease::Lease;
use super::value::{At, List, Value, keys};
use crate::error::Errors;
use crate::node::{Kind, Node};
use crate::region;
use crate::region::{ClientCertificate, LogFormat};

keys! {
    /// The data plane: takes requests, runs plugins, sends to origins.
    pub struct Edge {
        /// A name, unique in the region. Default: the host's name.
        optional name: Name,
        /// Threads, each with its own runtime, connections and plugin instances; 0 is one per core.
        default workers: Workers = region::Edge::WORKERS,
        /// Where requests arrive.
        required listeners: List<Listener>,
        /// Where health, metrics and state are asked for; not for the public. Default: nowhere.
        optional admin: Address,
        /// Where reports go. Without one, the origins are those of the file.
        list aggregators: AggregatorUrl,
        /// How often a report is sent.
        default report_interval: Period = region::Edge::REPORT_INTERVAL,
        /// Bounds of what a client may send and hold.
        section limits: EdgeLimits,
        /// After SIGTERM: how long exchanges in flight may take to end.
        default drain: Span = region::Edge::DRAIN,
    }
}

keys! {
    /// One address that clients connect to.
    pub struct Listener {
        /// An address and port.
        required address: Address,
        /// Versions of HTTP; without TLS, HTTP/2 needs prior knowledge.
        default protocols: List<Protocol> = [Protocol::Http1, Protocol::Http2],
        /// Given if the listener speaks TLS.
        optional tls: Tls,
    }
}

keys! {
    /// Certificate and key of a listener.
    pub struct Tls {
        /// The certificate chain, PEM, the leaf first.
        required certificate: FilePath,
        /// The private key, PEM.
        required key: FilePath,
        /// Protocols offered, in the order of preference. Default: those of the listener, h2 first.
        optional alpn: List<Alpn>,
        /// Given if clients are asked for a certificate.
        optional clients: TlsClients,
    }
}

keys! {
    /// Whose certificates clients may show.
    pub struct TlsClients {
        /// A PEM file of the roots that must lead to them.
        required roots: FilePath,
        /// Whether a client needs one. One that it shows is checked always.
        default certificate: ClientCertificate = ClientCertificate::default(),
    }
}

keys! {
    /// Bounds of what a client may send and hold.
    pub struct EdgeLimits {
        /// Bytes of all request headers: 431 past it.
        default header_bytes: Size = region::EdgeLimits::default().header_bytes,
        /// Number of request headers: 431 past it.
        default headers: Positive = u32::try_from(region::EdgeLimits::default().headers).expect("a small number"),
        /// Bytes of a request body: 413 past it.
        default body_bytes: Size = region::EdgeLimits::default().body_bytes,
        /// Open client connections per worker; past it the kernel's queue holds them. One of HTTP/2
        /// holds at most 200 exchanges at a time.
        default connections: Positive = u32::try_from(region::EdgeLimits::default().connections).expect("a small number"),
        /// From the first byte of a request to the end of its headers; also the TLS handshake.
        default header_timeout: Period = region::EdgeLimits::default().header_timeout,
        /// Between two reads of a request body, and between two writes of a response that the
        /// client does not take. Over HTTP/2 for each 16 KiB, and for one stream.
        default body_timeout: Period = region::EdgeLimits::default().body_timeout,
        /// How long a keep-alive connection may be without a request, whatever else an HTTP/2
        /// client sends on it.
        default idle_timeout: Period = region::EdgeLimits::default().idle_timeout,
    }
}

keys! {
    /// The control plane: merges reports, decides, acts, publishes membership.
    pub struct Aggregator {
        /// Where edges report and operators ask.
        required address: Address,
        /// The region's name, for journals and metrics.
        default region: Name = region::Aggregator::REGION,
        /// Where decisions are appended to: a file, or a map. Default: they are kept in memory only.
        optional journal: Journal,
        /// Where is kept what pools saw. Default: `history.redb` beside the journal; without one, nowhere.
        optional history: History,
        /// How often pools are decided.
        default tick: Period = region::Aggregator::TICK,
        /// A report older than this counts for nothing; with none younger the pool holds.
        default stale_after: Period = region::Aggregator::STALE_AFTER,
        /// Given if several aggregators run the region's pools: the one that has the lease acts.
        optional lease: Lease,
    }
}

/// Where decisions are appended to. A path alone stands for the defaults of the rest.
#[derive(Clone, Debug)]
pub struct Journal(pub JournalMap);

keys! {
    /// Where decisions are appended to.
    pub struct JournalMap {
        /// The file that is written. Full ones stand beside it, with a number behind the name.
        required path: FilePath,
        /// When a file is full: the next decision begins another.
        default file_bytes: Size = region::Journal::FILE_BYTES,
        /// How many files are kept, the one that is written included; the oldest is removed.
        default files: Positive = region::Journal::FILES,
    }
}

impl Value for Journal {
    fn read(node: &Node, errors: &mut Errors) -> Option<Journal> {
        if !matches!(node.kind, Kind::Text(_)) {
            return Some(Journal(JournalMap::read(node, errors)?));
        }
        let place = || node.place.clone();
        Some(Journal(JournalMap {
            place: place(),
            path: Some(At { value: FilePath::read(node, errors)?, place: place() }),
            file_bytes: At { value: region::Journal::FILE_BYTES.into(), place: place() },
            files: At { value: region::Journal::FILES.into(), place: place() },
        }))
    }
}

impl JsonSchema for Journal {
    fn schema_name() -> Cow<'static, str> {
        "Journal".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "where decisions are appended to",
            "oneOf": [generator.subschema_for::<FilePath>(), generator.subschema_for::<JournalMap>()],
        })
    }
}

keys! {
    /// Where is kept what pools saw, so that a restart need not learn it again.
    pub struct History {
        /// A file that no other process uses. Default: `history.redb` beside the journal.
        optional path: FilePath,
        /// How long points of a minute are kept; those of 15 seconds are kept for an hour.
        default keep: Period = region::History::KEEP,
    }
}

keys! {
    /// What is logged, and how.
    pub struct Log {
        /// How lines look.
        default format: LogFormat = region::Log::default().format,
        /// What is logged: a level, or levels by module.
        default filter: Text = region::Log::default().filter.as_str(),
        /// One line per request.
        default access: bool = region::Log::default().access,
    }
}
