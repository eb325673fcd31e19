//! Facts about an exchange by proxy-wasm's attribute paths.

use std::time::UNIX_EPOCH;

use abi::{Answer, Map, Refusal, Settings, Side, Status, Value};

use super::Exchange;
use super::headers::path;

/// Bytes of keys and values that plugins of one exchange may share.
const MOST_SHARED: usize = 64 << 10;

/// Properties that need no exchange.
pub fn of_plugin(settings: &Settings, path: &[&str]) -> Option<Value> {
    let name = || Value::Bytes(settings.plugin.as_bytes().to_vec());
    match path {
        ["plugin_name"] | ["plugin_vm_id"] => Some(name()),
        // Our plugins have one root context each, and it has no name of its own.
        ["plugin_root_id"] => Some(Value::Bytes(Vec::new())),
        ["plugin_version"] => Some(Value::Bytes(settings.version.as_bytes().to_vec())),
        _ => None,
    }
}

impl Exchange {
    /// A fact about this exchange.
    pub fn property(&self, path: &[&str]) -> Option<Value> {
        match path {
            ["request", rest @ ..] => self.request_property(rest),
            ["response", rest @ ..] => self.response_property(rest),
            ["source", rest @ ..] => address(self.connection.remote, rest),
            ["destination", rest @ ..] => address(self.connection.local, rest),
            ["connection", rest @ ..] => self.connection_property(rest),
            ["upstream", rest @ ..] => self.answered_by.borrow().and_then(|origin| address(origin, rest)),
            ["route_name"] | ["xds", "route_name"] => Some(text(&self.route.name)),
            ["cluster_name"] | ["xds", "cluster_name"] => self.choice.pool().map(|pool| text(&pool)),
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

    fn request_property(&self, rest: &[&str]) -> Option<Value> {
        let request = self.request.borrow();
        match rest {
            ["path"] => Some(text(path(&request.uri))),
            ["url_path"] => Some(text(request.uri.path())),
            ["query"] => Some(text(request.uri.query().unwrap_or_default())),
            ["host"] => Some(text(&self.authority())),
            ["scheme"] => Some(text(self.scheme())),
            ["method"] => Some(text(request.method.as_str())),
            ["protocol"] => Some(text(protocol(request.version))),
            ["id"] => Some(text(&self.id)),
            ["useragent"] => self.first(Map::RequestHeaders, "user-agent"),
            ["referer"] => self.first(Map::RequestHeaders, "referer"),
            ["headers"] => Some(self.map(Map::RequestHeaders)),
            ["headers", name] => self.first(Map::RequestHeaders, name),
            ["trailers", name] => self.first(Map::RequestTrailers, name),
            ["time"] => {
                let since = self.started_at.duration_since(UNIX_EPOCH).unwrap_or_default();
                Some(Value::Nanos(since.as_nanos() as u64))
            }
            ["duration"] => {
                Some(Value::Nanos(crate::clock::now().saturating_duration_since(self.started).as_nanos() as u64))
            }
            ["size"] => Some(Value::Int(self.bytes[Side::Request as usize].get() as i64)),
            _ => None,
        }
    }

    fn response_property(&self, rest: &[&str]) -> Option<Value> {
        match rest {
            ["code"] => self.response.borrow().as_ref().map(|r| Value::Int(r.status.as_u16().into())),
            ["size"] => Some(Value::Int(self.bytes[Side::Response as usize].get() as i64)),
            ["headers"] => self.response.borrow().is_some().then(|| self.map(Map::ResponseHeaders)),
            ["headers", name] => self.first(Map::ResponseHeaders, name),
            ["trailers", name] => self.first(Map::ResponseTrailers, name),
            _ => None,
        }
    }

    fn connection_property(&self, rest: &[&str]) -> Option<Value> {
        let tls = self.connection.tls.as_ref();
        match rest {
            ["mtls"] => Some(Value::Bool(false)),
            ["tls_version"] => tls.map(|tls| text(tls.version)),
            ["requested_server_name"] => tls.and_then(|tls| tls.sni.as_deref()).map(text),
            _ => None,
        }
    }

    fn first(&self, map: Map, name: &str) -> Option<Value> {
        let mut first = None;
        self.get(map, name.as_bytes(), &mut |value| {
            first.get_or_insert_with(|| Value::Bytes(value.to_vec()));
        })
        .ok()?;
        first
    }

    fn map(&self, map: Map) -> Value {
        let mut pairs = Vec::new();
        self.pairs(map, &mut |name, value| pairs.push((name.to_vec(), value.to_vec())));
        Value::Map(pairs)
    }
}

fn address(address: std::net::SocketAddr, rest: &[&str]) -> Option<Value> {
    match rest {
        ["address"] => Some(text(&address.to_string())),
        ["port"] => Some(Value::Int(address.port().into())),
        _ => None,
    }
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
