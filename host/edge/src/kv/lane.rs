//! Connections to a store. Each carries many calls at once: what is asked is written one after the
//! other without waiting, and the answers come in that order.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use abi::{Answer, Refusal, Status};
use config::{Kv, KvPassword, KvServers};
use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::cluster::ClusterClient;
use redis::cluster_async::ClusterConnection;
use redis::{AsyncConnectionConfig, Client, Cmd, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, RedisResult};
use redis::{RedisConnectionInfo, TlsCertificates};
use tokio::sync::watch;

use crate::clock;

/// How often a cluster is asked again when a key has moved or a node is gone, within one call.
const CLUSTER_RETRIES: u32 = 3;

/// A place for one connection, which is made when it is first needed and shared by all calls.
#[derive(Default)]
pub struct Lane {
    state: RefCell<State>,
    /// Counts the connections that were made here.
    generation: Cell<u64>,
}

#[derive(Default)]
enum State {
    #[default]
    Empty,
    /// Somebody makes it; all who need it wait for the same attempt.
    Making(watch::Receiver<Option<Answer<Line>>>),
    Ready(Line),
}

/// A connection, and which of its lane's it is.
#[derive(Clone)]
pub struct Line {
    connection: Connection,
    generation: u64,
}

#[derive(Clone)]
enum Connection {
    One(MultiplexedConnection),
    Cluster(ClusterConnection),
}

impl Lane {
    /// The connection that stands, or a new one.
    pub async fn line(self: &Rc<Self>, spec: &Rc<Kv>) -> Answer<Line> {
        let standing = match &*self.state.borrow() {
            State::Ready(line) => return Ok(line.clone()),
            State::Making(made) => Some(made.clone()),
            State::Empty => None,
        };
        let mut made = standing.unwrap_or_else(|| {
            let made = self.make(spec);
            *self.state.borrow_mut() = State::Making(made.clone());
            made
        });
        let made = made.wait_for(Option::is_some).await;
        match made.as_deref() {
            Ok(Some(answer)) => answer.clone(),
            // The task that made it is gone, which ends with the worker only.
            _ => Err(Refusal::new(Status::Unavailable, "the worker ends")),
        }
    }

    /// On a task of its own: who asked first may be gone before it is there.
    fn make(self: &Rc<Self>, spec: &Rc<Kv>) -> watch::Receiver<Option<Answer<Line>>> {
        let (tell, made) = watch::channel(None);
        let (lane, spec) = (self.clone(), spec.clone());
        let generation = lane.generation.get() + 1;
        lane.generation.set(generation);
        tokio::task::spawn_local(async move {
            let connected = clock::timeout(spec.timeout, connect(&spec)).await;
            let answer = match connected {
                Ok(connected) => connected.map(|connection| Line { connection, generation }),
                Err(_) => Err(Refusal::new(Status::Timeout, format!("no connection within {:?}", spec.timeout))),
            };
            // Unless it was let go of meanwhile.
            if lane.generation.get() == generation {
                *lane.state.borrow_mut() = match &answer {
                    Ok(line) => State::Ready(line.clone()),
                    Err(_) => State::Empty,
                };
            }
            tell.send_replace(Some(answer));
        });
        made
    }

    /// Lets go of a connection that broke. Calls that are under way on it keep it until they end.
    pub fn discard(&self, line: &Line) {
        if self.generation.get() == line.generation {
            *self.state.borrow_mut() = State::Empty;
        }
    }

    /// Lets go of whatever there is: the next call connects anew.
    pub fn clear(&self) {
        self.generation.set(self.generation.get() + 1);
        *self.state.borrow_mut() = State::Empty;
    }
}

impl Line {
    pub async fn ask(&mut self, command: &Cmd) -> RedisResult<redis::Value> {
        match &mut self.connection {
            Connection::One(connection) => connection.req_packed_command(command).await,
            Connection::Cluster(connection) => connection.req_packed_command(command).await,
        }
    }
}

async fn connect(spec: &Kv) -> Answer<Connection> {
    let unavailable = |why: String| Refusal::new(Status::Unavailable, why);
    let password = spec.password.as_ref().map(password).transpose()?;
    let certificates = match &spec.ca {
        Some(path) => {
            let pem = tokio::fs::read(path).await;
            let pem = pem.map_err(|error| unavailable(format!("cannot read {}: {error}", path.display())))?;
            Some(TlsCertificates { client_tls: None, root_cert: Some(pem) })
        }
        None => None,
    };
    let connected = match &spec.servers {
        KvServers::One { host, port, database } => {
            let info = info(spec, host, *port, *database, password.as_deref());
            one(info, certificates).await.map(Connection::One)
        }
        KvServers::Cluster(nodes) => {
            cluster(spec, nodes, password.as_deref(), certificates).await.map(Connection::Cluster)
        }
    };
    connected.map_err(|error| unavailable(format!("cannot connect: {error}")))
}

async fn one(info: RedisResult<ConnectionInfo>, tls: Option<TlsCertificates>) -> RedisResult<MultiplexedConnection> {
    let client = match tls {
        Some(tls) => Client::build_with_tls(info?, tls)?,
        None => Client::open(info?)?,
    };
    // The call's own time limit is the only one.
    let config = AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None);
    client.get_multiplexed_async_connection_with_config(&config).await
}

async fn cluster(
    spec: &Kv,
    nodes: &[(String, u16)],
    password: Option<&str>,
    tls: Option<TlsCertificates>,
) -> RedisResult<ClusterConnection> {
    let nodes: RedisResult<Vec<_>> = nodes.iter().map(|(host, port)| info(spec, host, *port, 0, password)).collect();
    let mut builder = ClusterClient::builder(nodes?)
        .retries(CLUSTER_RETRIES)
        .connection_timeout(spec.timeout)
        .response_timeout(spec.timeout);
    if let Some(tls) = tls {
        builder = builder.certs(tls);
    }
    builder.build()?.get_async_connection().await
}

fn info(spec: &Kv, host: &str, port: u16, database: u8, password: Option<&str>) -> RedisResult<ConnectionInfo> {
    let host = host.to_owned();
    let address = match spec.tls {
        true => ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None },
        false => ConnectionAddr::Tcp(host, port),
    };
    let mut login = RedisConnectionInfo::default().set_db(database.into());
    if let Some(username) = &spec.username {
        login = login.set_username(username);
    }
    if let Some(password) = password {
        login = login.set_password(password);
    }
    Ok(address.into_connection_info()?.set_redis_settings(login))
}

/// As it is now: it may have been changed since the edge started.
fn password(from: &KvPassword) -> Answer<String> {
    let unavailable = |why: String| Refusal::new(Status::Unavailable, why);
    match from {
        KvPassword::File(path) => {
            let text = std::fs::read_to_string(path);
            let text = text.map_err(|error| unavailable(format!("cannot read {}: {error}", path.display())))?;
            Ok(text.trim_end_matches(['\r', '\n']).to_owned())
        }
        KvPassword::Env(name) => {
            std::env::var(name).map_err(|_| unavailable(format!("the environment has no {name} that is text")))
        }
    }
}
