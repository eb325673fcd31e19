//! Facts about an exchange by proxy-wasm's attribute paths. What there is stands in tables, one for each
//! group, which the page of the Wasm engine is held against.

use std::time::UNIX_EPOCH;

use abi::{Answer, Map, Refusal, Settings, Side, Status, Value};
use http::header::CONTENT_LENGTH;

use super::Exchange;
use super::headers::path;
use crate::certificate::Certificate;

/// Bytes of keys and values that plugins of one exchange may share.
const MOST_SHARED: usize = 64 << 10;

/// Properties that need no exchange.
#[cfg(test)]
const OF_PLUGIN: &[&str] = &["plugin_name", "plugin_vm_id", "plugin_root_id", "plugin_version", "xds.node.id"];

/// `node` is the name of the edge.
pub fn of_plugin(settings: &Settings, node: &str, path: &[&str]) -> Option<Value> {
    match path {
        ["plugin_name"] | ["plugin_vm_id"] => Some(text(&settings.plugin)),
        // Our plugins have one root context each, and it has no name of its own.
        ["plugin_root_id"] => Some(text("")),
        ["plugin_version"] => Some(text(&settings.version)),
        ["node", "id"] | ["xds", "node", "id"] => Some(text(node)),
        _ => None,
    }
}

/// One path, the kind of its value as the page names it, and how it is found.
type Fact = (&'static str, &'static str, fn(&Exchange) -> Option<Value>);

const REQUEST: &[Fact] = &[
    ("path", "string", |of| Some(text(path(&of.request.borrow().uri)))),
    ("url_path", "string", |of| Some(text(of.request.borrow().uri.path()))),
    ("query", "string", |of| Some(text(of.request.borrow().uri.query().unwrap_or_default()))),
    ("host", "string", |of| Some(text(&of.authority()))),
    ("scheme", "string", |of| Some(text(of.scheme()))),
    ("method", "string", |of| Some(text(of.request.borrow().method.as_str()))),
    ("protocol", "string", |of| Some(text(protocol(of.request.borrow().version)))),
    ("id", "string", |of| Some(text(&of.id))),
    ("useragent", "string", |of| of.joined(Map::RequestHeaders, "user-agent")),
    ("referer", "string", |of| of.joined(Map::RequestHeaders, "referer")),
    ("headers", "map", |of| Some(of.map(Map::RequestHeaders))),
    ("trailers", "map", |of| of.request_trailers.borrow().is_some().then(|| of.map(Map::RequestTrailers))),
    ("time", "time", |of| Some(Value::Nanos(nanos(of.started_at.duration_since(UNIX_EPOCH).unwrap_or_default())))),
    ("duration", "duration", |of| Some(Value::Nanos(nanos(crate::clock::now().saturating_duration_since(of.started))))),
    ("size", "int", |of| Some(of.size(Side::Request, &[]))),
    ("headers_bytes", "int", |of| Some(Value::Int(of.bytes_of(Map::RequestHeaders)))),
    ("total_size", "int", |of| Some(of.size(Side::Request, &[Map::RequestHeaders, Map::RequestTrailers]))),
];

const RESPONSE: &[Fact] = &[
    ("code", "int", |of| of.response.borrow().as_ref().map(|r| Value::Int(r.status.as_u16().into()))),
    ("code_details", "string", |of| of.answered_by.borrow().map(|_| text("via_upstream"))),
    ("grpc_status", "int", Exchange::grpc_status),
    ("headers", "map", |of| of.response.borrow().is_some().then(|| of.map(Map::ResponseHeaders))),
    ("trailers", "map", |of| of.response_trailers.borrow().is_some().then(|| of.map(Map::ResponseTrailers))),
    ("size", "int", |of| Some(of.size(Side::Response, &[]))),
    ("headers_bytes", "int", |of| {
        of.response.borrow().is_some().then(|| Value::Int(of.bytes_of(Map::ResponseHeaders)))
    }),
    ("total_size", "int", |of| Some(of.size(Side::Response, &[Map::ResponseHeaders, Map::ResponseTrailers]))),
    ("backend_latency", "duration", |of| {
        let (sent, answered) = (of.sent_at.get()?, of.answered_at.get()?);
        Some(Value::Nanos(nanos(answered.saturating_duration_since(sent))))
    }),
];

const SOURCE: &[Fact] = &[
    ("address", "string", |of| Some(text(&of.connection.remote.to_string()))),
    ("port", "int", |of| Some(Value::Int(of.connection.remote.port().into()))),
];

const DESTINATION: &[Fact] = &[
    ("address", "string", |of| Some(text(&of.connection.local.to_string()))),
    ("port", "int", |of| Some(Value::Int(of.connection.local.port().into()))),
];

const CONNECTION: &[Fact] = &[
    ("id", "int", |of| Some(Value::Int(of.connection.id as i64))),
    ("mtls", "bool", |of| Some(Value::Bool(of.peer().is_some()))),
    ("requested_server_name", "string", |of| of.connection.tls.as_ref()?.sni.as_deref().map(text)),
    ("tls_version", "string", |of| of.connection.tls.as_ref().map(|tls| text(tls.version))),
    ("subject_local_certificate", "string", |of| Some(text(&of.connection.tls.as_ref()?.certificate.subject))),
    ("dns_san_local_certificate", "string", |of| of.connection.tls.as_ref()?.certificate.dns.as_deref().map(text)),
    ("uri_san_local_certificate", "string", |of| of.connection.tls.as_ref()?.certificate.uri.as_deref().map(text)),
    ("subject_peer_certificate", "string", |of| Some(text(&of.peer()?.subject))),
    ("dns_san_peer_certificate", "string", |of| of.peer()?.dns.as_deref().map(text)),
    ("uri_san_peer_certificate", "string", |of| of.peer()?.uri.as_deref().map(text)),
    ("sha256_peer_certificate_digest", "string", |of| Some(text(&of.peer()?.sha256))),
];

const UPSTREAM: &[Fact] = &[
    ("address", "string", |of| of.answered_by.borrow().map(|origin| text(&origin.to_string()))),
    ("port", "int", |of| of.answered_by.borrow().map(|origin| Value::Int(origin.port().into()))),
    ("request_attempt_count", "int", |of| {
        Some(Value::Int(of.choice.picked().map_or(0, |picked| picked.attempt).into()))
    }),
    ("num_endpoints", "int", |of| {
        let pool = of.choice.pool()?;
        let serving = of.snapshot.members.get(&pool)?.view().serving.len();
        Some(Value::Int(serving as i64))
    }),
];

/// Also without `xds` before it.
const XDS: &[Fact] = &[
    ("route_name", "string", |of| Some(text(&of.route.name))),
    ("cluster_name", "string", |of| of.choice.pool().map(|pool| text(&pool))),
];

const GROUPS: &[(&str, &[Fact])] = &[
    ("request", REQUEST),
    ("response", RESPONSE),
    ("source", SOURCE),
    ("destination", DESTINATION),
    ("connection", CONNECTION),
    ("upstream", UPSTREAM),
    ("xds", XDS),
];

impl Exchange {
    /// The certificate that the client has shown.
    fn peer(&self) -> Option<&Certificate> {
        self.connection.tls.as_ref()?.peer.as_deref()
    }

    /// A fact about this exchange.
    pub fn property(&self, path: &[&str]) -> Option<Value> {
        match path {
            ["request", "headers", name] => self.joined(Map::RequestHeaders, name),
            ["request", "trailers", name] => self.joined(Map::RequestTrailers, name),
            ["response", "headers", name] => self.joined(Map::ResponseHeaders, name),
            ["response", "trailers", name] => self.joined(Map::ResponseTrailers, name),
            ["connection_id"] => self.property(&["connection", "id"]),
            [name] => self.property(&["xds", name]),
            [group, name] => {
                let (_, facts) = GROUPS.iter().find(|(known, _)| known == group)?;
                let (_, _, find) = facts.iter().find(|(known, ..)| known == name)?;
                find(self)
            }
            _ => None,
        }
    }

    pub fn share(&self, path: &[&str], value: &[u8]) -> Answer<()> {
        let key = path.join(".");
        let mut shared = self.shared.borrow_mut();
        let others = shared.iter().filter(|(k, _)| *k != key).map(|(k, v)| k.len() + v.len()).sum::<usize>();
        if others + key.len() + value.len() > MOST_SHARED {
            let text = format!("ctx.set: the values shared in one exchange are over {MOST_SHARED} bytes");
            return Err(Refusal::new(Status::LimitExceeded, text));
        }
        match shared.iter_mut().find(|(k, _)| *k == key) {
            Some((_, old)) => *old = value.to_vec(),
            None => shared.push((key, value.to_vec())),
        }
        Ok(())
    }

    /// What a plugin has shared along the chain.
    pub fn shared_value(&self, path: &[&str]) -> Option<Value> {
        let key = path.join(".");
        let shared = self.shared.borrow();
        shared.iter().find(|(k, _)| *k == key).map(|(_, value)| Value::Bytes(value.clone()))
    }

    /// Bytes of the body, and of these maps. A body that no plugin looks at is not counted on its way to the
    /// origin, so what the client has stated comes first, as in Envoy.
    fn size(&self, side: Side, maps: &[Map]) -> Value {
        let stated = match side {
            Side::Request => self.request.borrow().headers.get(CONTENT_LENGTH).cloned(),
            Side::Response => None,
        };
        let stated = stated.and_then(|length| length.to_str().ok()?.parse().ok());
        let body = stated.unwrap_or(self.bytes[side as usize].get() as i64);
        Value::Int(body + maps.iter().map(|map| self.bytes_of(*map)).sum::<i64>())
    }

    fn bytes_of(&self, map: Map) -> i64 {
        let mut bytes = 0;
        self.pairs(map, &mut |name, value| bytes += (name.len() + value.len()) as i64);
        bytes
    }

    fn grpc_status(&self) -> Option<Value> {
        let of = |map| match self.joined(map, "grpc-status")? {
            Value::Bytes(text) => std::str::from_utf8(&text).ok()?.parse().ok().map(Value::Int),
            _ => None,
        };
        of(Map::ResponseTrailers).or_else(|| of(Map::ResponseHeaders))
    }

    /// All values of a header, as Envoy joins them.
    fn joined(&self, map: Map, name: &str) -> Option<Value> {
        let mut all: Option<Vec<u8>> = None;
        let joined = self.get(map, name.as_bytes(), &mut |value| match &mut all {
            Some(all) => {
                all.push(b',');
                all.extend_from_slice(value);
            }
            None => all = Some(value.to_vec()),
        });
        joined.ok()?;
        all.map(Value::Bytes)
    }

    fn map(&self, map: Map) -> Value {
        let mut pairs = Vec::new();
        self.pairs(map, &mut |name, value| pairs.push((name.to_vec(), value.to_vec())));
        Value::Map(pairs)
    }
}

fn nanos(time: std::time::Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

fn protocol(version: http::Version) -> &'static str {
    match version {
        http::Version::HTTP_10 => "HTTP/1.0",
        http::Version::HTTP_2 => "HTTP/2",
        _ => "HTTP/1.1",
    }
}

fn text(text: &str) -> Value {
    Value::Bytes(text.as_bytes().to_vec())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// `| request.path | string | …`
    #[test]
    fn the_page_of_the_wasm_engine_lists_every_path_with_its_kind_and_nothing_else() {
        let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../wasm/README.md")).unwrap();
        let begin = page.find("| path | kind |").expect("the table of properties");
        let rows = page[begin..].lines().skip(2).take_while(|line| line.starts_with("| "));
        let listed: Vec<(String, String)> = rows
            .map(|row| {
                let mut cells = row.trim_matches('|').split('|').map(str::trim);
                (cells.next().unwrap().to_owned(), cells.next().unwrap().to_owned())
            })
            .collect();
        let facts = GROUPS.iter().flat_map(|(group, facts)| facts.iter().map(move |fact| (group, fact)));
        let known = facts.map(|(group, (name, kind, _))| (format!("{group}.{name}"), (*kind).to_owned()));
        let alone = OF_PLUGIN.iter().map(|name| ((*name).to_owned(), "string".to_owned()));
        let known: BTreeSet<_> = known.chain(alone).collect();
        assert_eq!(listed.iter().cloned().collect::<BTreeSet<_>>(), known);
        assert_eq!(listed.len(), known.len(), "a path stands there twice");
    }

    #[test]
    fn what_needs_no_exchange_is_found_without_one() {
        let settings = Settings {
            plugin: "stamp".into(),
            version: "abc".into(),
            vm_config: bytes::Bytes::new(),
            config: bytes::Bytes::new(),
            limits: abi::Limits::default(),
            capabilities: abi::Capabilities::default(),
        };
        let found: Vec<_> = OF_PLUGIN
            .iter()
            .map(|name| of_plugin(&settings, "edge-1", &name.split('.').collect::<Vec<_>>()).expect(name))
            .collect();
        let texts = ["stamp", "stamp", "", "abc", "edge-1"].map(text);
        assert_eq!(found, texts);
    }
}
