//! The section `targets`.

use super::form::{FilePath, Host, HostPort, Name, Period, UrlPath};
use super::value::keys;
use crate::region;

keys! {
    /// Whom plugins may call besides the pools, granted as `callout:<name>`: one of `address` and
    /// `any_address: true` is given.
    pub struct Target {
        /// A name, unique among targets and pools.
        required name: Name,
        /// Where it listens: a host name or IP address, and a port.
        optional address: HostPort,
        /// The callout's own authority says where to. Only public addresses are reached, whatever a
        /// name resolves to, unless `private_addresses` says otherwise. Default: false.
        optional any_address: bool,
        /// With `any_address`: loopback, private, link-local and other addresses that are not public too.
        default private_addresses: bool = false,
        /// Speak TLS, and check the certificate. Default: cleartext.
        optional tls: TargetTls,
        /// Speak HTTP/2 with it, which gRPC takes: by ALPN over TLS, else with prior knowledge. Default: false.
        default http2: bool = false,
        /// The whole callout, where the plugin gives no timeout of its own.
        default timeout: Period = region::Target::TIMEOUT,
        /// Hosts that callouts may ask for. Default: any.
        list hosts: Host,
        /// Callouts may ask for this path and what is below it. Default: any.
        optional path_prefix: UrlPath,
    }
}

keys! {
    /// How a target's certificate is checked.
    pub struct TargetTls {
        /// A PEM file of the roots to trust. Default: those of the system.
        optional roots: FilePath,
        /// The name that the certificate must have. Default: the host that is asked.
        optional server_name: Host,
    }
}
