//! The lease in Redis: one key with its holder and token, which expires; beside it, under
//! `KEY/token`, the highest token, which does not.

use std::time::Duration;

use config::region::{KvPassword, KvServers, Lease};
use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionAddr, IntoConnectionInfo, RedisConnectionInfo, RedisError,
    TlsCertificates,
};

use super::{Answer, Ask};

/// In place of how long the key lives: the count of tokens is none, or so high that a script cannot count on from it.
/// Whoever took it for true would never be granted anything again.
const NO_COUNT: i64 = -3;

/// The token, how long the key lives, the highest token. What a holder of the same name has is its own: it has
/// not heard the answer. A count that is behind what the asker knows is of a server that lost its data:
/// whoever leads by its own clock gets the time to hear of it, so nobody is granted anything for a ttl.
const ACQUIRE: &str = "local held = redis.call('GET', KEYS[1]) \
    local last = tonumber(redis.call('GET', KEYS[2]) or '0') \
    local above = tonumber(ARGV[2]) \
    if not last or last < 0 or last >= 9007199254740992 then return {0, -3, 0} end \
    if held and string.sub(held, 1, #ARGV[1] + 1) ~= ARGV[1] .. ' ' then \
        if last < above then redis.call('SET', KEYS[2], ARGV[2]) end \
        return {0, redis.call('PTTL', KEYS[1]), last} end \
    if last < above then \
        redis.call('SET', KEYS[2], ARGV[2]) \
        redis.call('SET', KEYS[1], 'nobody 0', 'PX', ARGV[3]) \
        return {0, tonumber(ARGV[3]), above} end \
    local token = redis.call('INCR', KEYS[2]) \
    redis.call('SET', KEYS[1], ARGV[1] .. ' ' .. string.format('%.0f', token), 'PX', ARGV[3]) \
    return {token, tonumber(ARGV[3]), token}";

const RENEW: &str = "if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end \
    return redis.call('PEXPIRE', KEYS[1], ARGV[2])";

const RELEASE: &str = "local held = redis.call('GET', KEYS[1]) \
    if held and string.sub(held, 1, #ARGV[1] + 1) == ARGV[1] .. ' ' then return redis.call('DEL', KEYS[1]) end \
    return 0";

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    #[error("no answer within {0:?}")]
    Late(Duration),
    #[error("{0}")]
    Redis(#[from] RedisError),
    #[error("cannot read {path}: {error}")]
    File { path: String, error: std::io::Error },
    #[error("the environment has no {0} that is text")]
    Environment(String),
    #[error("{key} is not a lease: {found}")]
    Foreign { key: String, found: String },
}

pub struct Server {
    config: Lease,
    /// Whose name stands in the key: no other process has it.
    holder: String,
    connection: Option<MultiplexedConnection>,
}

impl Server {
    pub fn new(config: Lease, holder: String) -> Server {
        Server { config, holder, connection: None }
    }

    /// Connecting included, within the store's time-out.
    pub async fn ask(&mut self, ask: Ask) -> Result<Answer, Failure> {
        let most = self.config.kv.timeout;
        let answer = tokio::time::timeout(most, self.ask_once(ask)).await.unwrap_or(Err(Failure::Late(most)));
        if answer.is_err() {
            // It may be what is wrong.
            self.connection = None;
        }
        answer
    }

    async fn ask_once(&mut self, ask: Ask) -> Result<Answer, Failure> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => connect(&self.config).await?,
        };
        let (key, ttl) = (&self.config.key, self.config.ttl.as_millis() as u64);
        let eval = |script: &str, keys: &[&str]| {
            let mut command = Cmd::new();
            command.arg("EVAL").arg(script).arg(keys.len());
            for key in keys {
                command.arg(*key);
            }
            command
        };
        let answer = match ask {
            Ask::Acquire { above } => {
                let mut command = eval(ACQUIRE, &[key, &format!("{key}/token")]);
                command.arg(&self.holder).arg(above).arg(ttl);
                let (token, rest, highest): (u64, i64, u64) = command.query_async(&mut connection).await?;
                match (token, u64::try_from(rest)) {
                    (0, Ok(rest)) => Answer::Held { rest: Duration::from_millis(rest), highest },
                    (0, Err(_)) if rest == NO_COUNT => {
                        let (key, found) =
                            (format!("{key}/token"), "what stands there is no count of tokens".to_owned());
                        return Err(Failure::Foreign { key, found });
                    }
                    (0, Err(_)) => {
                        let found = "what stands there never expires".to_owned();
                        return Err(Failure::Foreign { key: key.clone(), found });
                    }
                    (token, _) => Answer::Granted { token },
                }
            }
            Ask::Renew { token } => {
                let mut command = eval(RENEW, &[key]);
                command.arg(format!("{} {token}", self.holder)).arg(ttl);
                match command.query_async::<i64>(&mut connection).await? {
                    1 => Answer::Renewed,
                    _ => Answer::Lost,
                }
            }
            Ask::Release => {
                let mut command = eval(RELEASE, &[key]);
                command.arg(&self.holder).query_async::<i64>(&mut connection).await?;
                Answer::Released
            }
        };
        self.connection = Some(connection);
        Ok(answer)
    }
}

async fn connect(lease: &Lease) -> Result<MultiplexedConnection, Failure> {
    let kv = &lease.kv;
    let KvServers::One { host, port, database } = &kv.servers else {
        let found = format!("the store {} is a cluster", kv.name);
        return Err(Failure::Foreign { key: lease.key.clone(), found });
    };
    let (host, port) = (host.clone(), *port);
    let address = match kv.tls {
        true => ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None },
        false => ConnectionAddr::Tcp(host, port),
    };
    let mut login = RedisConnectionInfo::default().set_db((*database).into());
    if let Some(username) = &kv.username {
        login = login.set_username(username);
    }
    if let Some(password) = &kv.password {
        login = login.set_password(self::password(password)?);
    }
    let info = address.into_connection_info()?.set_redis_settings(login);
    let client = match &kv.ca {
        Some(path) => {
            let pem = std::fs::read(path).map_err(|error| Failure::File { path: path.display().to_string(), error })?;
            Client::build_with_tls(info, TlsCertificates { client_tls: None, root_cert: Some(pem) })?
        }
        None => Client::open(info)?,
    };
    // The question's own time limit is the only one.
    let config = AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None);
    Ok(client.get_multiplexed_async_connection_with_config(&config).await?)
}

/// As it is now: it may have been changed since.
fn password(from: &KvPassword) -> Result<String, Failure> {
    match from {
        KvPassword::File(path) => {
            let text = std::fs::read_to_string(path);
            let text = text.map_err(|error| Failure::File { path: path.display().to_string(), error })?;
            Ok(text.trim_end_matches(['\r', '\n']).to_owned())
        }
        KvPassword::Env(name) => std::env::var(name).map_err(|_| Failure::Environment(name.clone())),
    }
}

/// A name that no other process has, nor an earlier one.
pub fn holder(listener: &std::net::TcpListener) -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let address = listener.local_addr().map(|address| address.to_string()).unwrap_or_default();
    let born = jiff::Timestamp::now().as_nanosecond();
    format!("{}/{address}/{}/{born}", host.trim(), std::process::id())
}
