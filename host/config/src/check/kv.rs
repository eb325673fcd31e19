//! The section `kv`.

use super::files::Folder;
use crate::error::{Errors, Problem};
use crate::raw::form::RedisUrl;
use crate::raw::kv as raw;
use crate::raw::value::At;
use crate::region::{Kv, KvBreaker, KvPassword, KvServers};

pub fn kv(raw: &raw::Kv, folder: &Folder, errors: &mut Errors) -> Option<Kv> {
    let urls = raw.urls.first().map(|url| &url.place);
    let needed = raw.urls.complete && !errors.has_under(&raw.place);
    super::one_of(&raw.place, &[("url", super::place(&raw.url)), ("urls", urls)], needed, errors);
    let passwords =
        [("password_file", super::place(&raw.password_file)), ("password_env", super::place(&raw.password_env))];
    super::one_of(&raw.place, &passwords, false, errors);
    refuse_mixed_cluster(raw, errors);
    let tls = raw.url.as_ref().or(raw.urls.first()).is_some_and(|url| url.0.tls);
    if let (false, true, Some(ca)) = (tls, errors.is_empty(), &raw.ca) {
        let problem = Problem::found("nothing is encrypted: the URL begins with redis://");
        errors.add(&ca.place, problem.allowed("allowed: beside rediss://"));
    }
    let ca = raw.ca.as_ref().map(|ca| folder.pem(ca, "CERTIFICATE", errors));
    let file = raw.password_file.as_ref().map(|path| folder.code(path, |path| Ok(path.to_owned()), errors));
    let password = match (file, &raw.password_env) {
        (Some(path), _) => Some(KvPassword::File(path?)),
        (None, Some(name)) => Some(KvPassword::Env(name.0.clone())),
        (None, None) => None,
    };
    Some(Kv {
        name: raw.name.as_ref()?.0.clone(),
        servers: servers(raw)?,
        tls,
        ca: super::transpose(ca)?,
        username: raw.username.as_ref().map(|name| name.0.clone()),
        password,
        prefix: raw.prefix.0.clone(),
        timeout: raw.timeout.0,
        connections: raw.connections.0,
        scripts: raw.scripts.value,
        breaker: KvBreaker { failures: raw.breaker.failures.0, open: raw.breaker.open.0 },
    })
}

fn servers(raw: &raw::Kv) -> Option<KvServers> {
    if let Some(url) = &raw.url {
        return Some(KvServers::One { host: url.0.host.clone(), port: url.0.port, database: url.0.database });
    }
    let nodes: Vec<_> = raw.urls.iter().map(|url| (url.value.0.host.clone(), url.value.0.port)).collect();
    (!nodes.is_empty()).then_some(KvServers::Cluster(nodes))
}

/// The nodes of a cluster have one way to be spoken to, and one database.
fn refuse_mixed_cluster(raw: &raw::Kv, errors: &mut Errors) {
    let Some(first) = raw.urls.first() else { return };
    for At { value: RedisUrl(at), place } in raw.urls.iter() {
        if at.tls != first.value.0.tls {
            let problem = Problem::found("redis:// and rediss:// in one cluster");
            errors.add(place, problem.allowed("allowed: one of them for all nodes"));
        }
        if at.database != 0 {
            let problem = Problem::found(format!("database {} of a cluster", at.database));
            errors.add(place, problem.allowed("allowed: no database, or 0"));
        }
    }
}
