//! Where something listens.

use std::net::{IpAddr, SocketAddr};

use serde_json::Value as Json;

use super::{Wrong, form};
use crate::raw::value::Written;

form! {
    /// An address and port such as `127.0.0.1:8080` or `[::1]:8080`.
    Address(SocketAddr), "an IP address and a port such as 127.0.0.1:8080 or [::1]:8080",
    { "examples": ["127.0.0.1:8080", "[::1]:8080"] },
    |text| {
        text.parse().map_err(|_| {
            let near = match text.rsplit_once(':') {
                Some(("localhost" | "", port)) => Some(format!("127.0.0.1:{port}")),
                Some(("*", port)) => Some(format!("0.0.0.0:{port}")),
                _ => None,
            };
            Wrong::near(near.filter(|near| near.parse::<SocketAddr>().is_ok()))
        })
    }
}

form! {
    /// An IP address such as `127.0.0.1`.
    Ip(IpAddr), "an IP address such as 127.0.0.1", {},
    |text| text.parse().map_err(|_| Wrong::near((text == "localhost").then(|| "127.0.0.1".to_owned())))
}

impl From<IpAddr> for Ip {
    fn from(ip: IpAddr) -> Ip {
        Ip(ip)
    }
}

impl Written for Ip {
    fn written(&self) -> Json {
        self.0.to_string().into()
    }
}

form! {
    /// Where an aggregator listens: `http://host:port`.
    AggregatorUrl(String), "http://host:port", { "pattern": "^http://[^/]+:[0-9]+/?$" },
    |text| {
        let Some(rest) = text.strip_prefix("http://") else {
            let bare = text.rsplit_once("://").map_or(text, |(_, rest)| rest);
            return Err(Wrong::near(authority(bare).map(|rest| format!("http://{rest}"))));
        };
        authority(rest).map(|rest| format!("http://{rest}")).ok_or_else(Wrong::default)
    }
}

form! {
    /// A host name or IP address and a port: `authz.internal:8443`.
    HostPort(String), "a host and a port such as authz.internal:8443 or [::1]:8443", {},
    |text| {
        let near = text.rsplit_once("://").map_or(text, |(_, rest)| rest);
        let fits = authority(near).filter(|near| !near.ends_with('/'));
        if fits == Some(text) { Ok(text.to_ascii_lowercase()) } else { Err(Wrong::near(fits.map(str::to_owned))) }
    }
}

/// `host:port`, with or without a last slash.
fn authority(text: &str) -> Option<&str> {
    let text = text.strip_suffix('/').unwrap_or(text);
    let (host, port) = text.rsplit_once(':')?;
    let host_fits = match host.strip_prefix('[') {
        Some(v6) => v6.strip_suffix(']')?.parse::<std::net::Ipv6Addr>().is_ok(),
        None => !host.is_empty() && host.chars().all(|c| c.is_ascii_alphanumeric() || "-.".contains(c)),
    };
    (host_fits && port.parse::<u16>().is_ok_and(|port| port > 0)).then_some(text)
}
