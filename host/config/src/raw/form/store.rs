//! Where a key-value store is.

use super::{Wrong, form};

/// `redis://host:port/database`, taken apart.
#[derive(Clone, Debug, PartialEq)]
pub struct RedisAt {
    pub tls: bool,
    pub host: String,
    pub port: u16,
    /// 0 if the URL names none.
    pub database: u8,
}

const PORT: u16 = 6379;

form! {
    /// A Redis server: `redis://host:port/database`, or `rediss://` for TLS. Port 6379 and database 0
    /// may be left out.
    RedisUrl(RedisAt), "redis://host:port/database or rediss://host:port/database, the port and the database optional",
    { "pattern": "^rediss?://[^@/?#]+(/[0-9]*)?$" },
    |text| {
        if text.contains('@') {
            return Err(Wrong::secret("a URL with credentials", "they stand in a file or the environment: `username`, `password_file`, `password_env`"));
        }
        redis_at(text).ok_or_else(|| {
            let bare = text.rsplit_once("://").map_or(text, |(_, rest)| rest);
            let scheme = if text.starts_with("rediss") || text.starts_with("https") { "rediss" } else { "redis" };
            let near = format!("{scheme}://{bare}");
            Wrong::near((near != text && redis_at(&near).is_some()).then_some(near))
        })
    }
}

fn redis_at(text: &str) -> Option<RedisAt> {
    let (tls, rest) = match (text.strip_prefix("redis://"), text.strip_prefix("rediss://")) {
        (Some(rest), _) => (false, rest),
        (_, Some(rest)) => (true, rest),
        _ => return None,
    };
    let (authority, database) = rest.split_once('/').unwrap_or((rest, ""));
    let database = if database.is_empty() { 0 } else { digits(database)?.parse().ok()? };
    let (host, port) = match authority.strip_prefix('[') {
        Some(v6) => {
            let (host, port) = v6.split_once(']')?;
            host.parse::<std::net::Ipv6Addr>().ok()?;
            (host, port.strip_prefix(':').or(port.is_empty().then_some(""))?)
        }
        None => {
            let (host, port) = authority.split_once(':').unwrap_or((authority, ""));
            let fits = !host.is_empty() && host.chars().all(|c| c.is_ascii_alphanumeric() || "-._".contains(c));
            (fits.then_some(host)?, port)
        }
    };
    let port = if port.is_empty() { PORT } else { digits(port)?.parse().ok().filter(|port| *port > 0)? };
    Some(RedisAt { tls, host: host.to_owned(), port, database })
}

/// `+1` is a number for Rust.
fn digits(text: &str) -> Option<&str> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then_some(text)
}

form! {
    /// The name of an environment variable.
    EnvName(String), "the name of an environment variable: letters, digits and '_', the first no digit",
    { "pattern": "^[A-Za-z_][A-Za-z0-9_]*$" },
    |text| {
        let fits = !text.is_empty()
            && !text.starts_with(|c: char| c.is_ascii_digit())
            && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        if fits { Ok(text.to_owned()) } else { Err(Wrong::near(text.strip_prefix('$').map(str::to_owned))) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_taken_apart_or_refused_whole() {
        let at = |tls, host: &str, port, database| Some(RedisAt { tls, host: host.to_owned(), port, database });
        assert_eq!(redis_at("redis://cache"), at(false, "cache", 6379, 0));
        assert_eq!(redis_at("rediss://cache.internal:7000/3"), at(true, "cache.internal", 7000, 3));
        assert_eq!(redis_at("redis://[::1]:7000/"), at(false, "::1", 7000, 0));
        assert_eq!(redis_at("redis://[::1]"), at(false, "::1", 6379, 0));
        for bad in [
            "redis://",
            "redis:///0",
            "redis://a:0",
            "redis://a:+7",
            "redis://a:70000",
            "redis://a/x",
            "redis://a/256",
            "redis://a/1/2",
            "redis://a b",
            "redis://[::1",
            "redis://[x]:1",
            "redis://[::1]7",
            "http://a",
            "a:1",
        ] {
            assert_eq!(redis_at(bad), None, "{bad}");
        }
    }
}
