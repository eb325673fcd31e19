//! The section `targets`.

use super::files::Folder;
use super::names::Names;
use crate::error::{Errors, Problem};
use crate::raw::target as raw;
use crate::raw::value::At;
use crate::region::{Target, TargetTls, TargetTo};

pub fn target(raw: &At<raw::Target>, pools: &Names, folder: &Folder, errors: &mut Errors) -> Option<Target> {
    if let Some(name) = raw.name.as_ref()
        && pools.has(&name.0)
    {
        let problem = Problem::found(format!("\"{}\" is a pool too", name.0));
        errors.add(&name.place, problem.allowed("allowed: each name once among pools and targets"));
    }
    let any = raw.any_address.as_ref().filter(|any| any.value);
    match (&raw.address, any) {
        (None, None) if !errors.has_under(&raw.place) => {
            let problem = Problem::found("neither \"address\" nor \"any_address: true\" is given");
            errors.add(&raw.place, problem.allowed("needed: one of them"));
        }
        (Some(_), Some(any)) => {
            let problem = Problem::found("\"any_address\" stands beside \"address\"");
            errors.add(&any.place, problem.allowed("allowed: one of them"));
        }
        _ => {}
    }
    if raw.private_addresses.value && any.is_none() {
        let problem = Problem::found("true where only one address is reached");
        errors.add(&raw.private_addresses.place, problem.allowed("allowed: beside \"any_address: true\""));
    }
    for host in raw.hosts.iter().filter(|host| host.value.0.starts_with('[')) {
        let problem = Problem::found(format!("found \"{}\"", host.value.0));
        errors.add(&host.place, problem.allowed("allowed: names, as an address needs no list"));
    }
    let tls = raw.tls.as_ref().map(|tls| {
        let wild = tls.server_name.as_ref().filter(|name| name.0.starts_with("*."));
        if let Some(name) = wild {
            let problem = Problem::found(format!("found \"{}\"", name.0));
            errors.add(&name.place, problem.allowed("allowed: one host name"));
        }
        let roots = tls.roots.as_ref().map(|roots| folder.pem(roots, "CERTIFICATE", errors));
        Some(TargetTls {
            roots: super::transpose(roots)?,
            server_name: tls.server_name.as_ref().map(|name| name.0.clone()),
        })
    });
    let to = match &raw.address {
        Some(address) => TargetTo::Address(address.0.clone()),
        None => TargetTo::Any { private: raw.private_addresses.value },
    };
    Some(Target {
        name: raw.name.as_ref()?.0.clone(),
        to,
        tls: super::transpose(tls)?,
        http2: raw.http2.value,
        timeout: raw.timeout.0,
        hosts: raw.hosts.iter().map(|host| host.value.0.clone()).collect(),
        path_prefix: raw.path_prefix.as_ref().map(|path| path.0.clone()),
    })
}
