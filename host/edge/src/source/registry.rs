//! The three GETs of the OCI distribution specification that an image takes: a token, a manifest, a blob.
//!
//! A registry answers a first request with 401 and says where a token is to be had; anybody gets one
//! for a public image, and user and password get one for others. They are told to the registry alone, and
//! to `token_host` if the region file names one: where a registry has its tokens elsewhere, that is for
//! the operator to allow, not for the registry to say.

use std::cell::RefCell;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use config::Login;
use http::header::{self, HeaderValue};
use http::{HeaderMap, StatusCode};
use serde_json::Value;

use super::client::{Answer, Ask, Client, Url};
use super::image::{Blob, MANIFESTS, MOST_MANIFEST};

/// Bytes of a token and what comes with it.
const MOST_TOKEN: u64 = 64 << 10;

pub struct Registry<'a> {
    client: &'a Client,
    /// `https://host:port`.
    base: String,
    repository: String,
    login: Option<&'a Login>,
    token_host: Option<&'a str>,
    /// What the registry has asked for, once it has.
    authorization: RefCell<Option<HeaderValue>>,
}

/// What a registry wants to be told.
#[derive(Debug, PartialEq)]
enum Challenge {
    Basic,
    Bearer { realm: String, service: Option<String> },
}

impl<'a> Registry<'a> {
    pub fn new(
        client: &'a Client,
        registry: &str,
        repository: &str,
        login: Option<&'a Login>,
        token_host: Option<&'a str>,
    ) -> Registry<'a> {
        // The one name that is not where its registry is.
        let (host, official) = match registry {
            "docker.io" | "index.docker.io" => ("registry-1.docker.io", !repository.contains('/')),
            other => (other, false),
        };
        let repository = if official { format!("library/{repository}") } else { repository.to_owned() };
        Registry {
            client,
            base: format!("https://{host}"),
            repository,
            login,
            token_host,
            authorization: RefCell::default(),
        }
    }

    /// `reference` is a tag or `sha256:…`; whoever asks by the latter holds it against the bytes.
    pub async fn manifest(&self, reference: &str) -> Result<Bytes, String> {
        self.get(&format!("manifests/{reference}"), MANIFESTS, MOST_MANIFEST).await
    }

    pub async fn blob(&self, blob: &Blob) -> Result<Bytes, String> {
        self.get(&format!("blobs/sha256:{}", blob.sha256), "*/*", blob.size).await
    }

    async fn get(&self, path: &str, accept: &'static str, most: u64) -> Result<Bytes, String> {
        let text = format!("{}/v2/{}/{path}", self.base, self.repository);
        let url = Url::parse(&text).ok_or_else(|| format!("{text} is no URL"))?;
        let mut answer = self.ask(&url, accept, most).await?;
        // A token may have run out as well.
        if answer.status == StatusCode::UNAUTHORIZED {
            let given = self.authorize(&answer.headers, &url).await.map_err(|why| format!("{url}: {why}"))?;
            *self.authorization.borrow_mut() = Some(given);
            answer = self.ask(&url, accept, most).await?;
        }
        match answer.status {
            StatusCode::OK => Ok(answer.body),
            status => Err(format!("{url}: {status}")),
        }
    }

    async fn ask(&self, url: &Url, accept: &'static str, most: u64) -> Result<Answer, String> {
        let authorization = self.authorization.borrow().clone();
        self.client.get(&Ask { url, accept, authorization, most }).await
    }

    async fn authorize(&self, headers: &HeaderMap, url: &Url) -> Result<HeaderValue, String> {
        let asked = headers.get_all(header::WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok());
        let challenge = asked.filter_map(challenge).next().ok_or("401, and no way to log in that is known here")?;
        let (realm, service) = match (challenge, self.login) {
            (Challenge::Basic, Some(login)) => return basic(login),
            (Challenge::Basic, None) => return Err("401: it asks for a user and a password".to_owned()),
            (Challenge::Bearer { realm, service }, _) => (realm, service),
        };
        let at = Url::parse(&realm).ok_or_else(|| format!("its tokens are at {realm:?}, which is no https:// URL"))?;
        let known = at.same_host(url) || self.token_host == Some(&at.authority());
        let authorization = match self.login {
            Some(login) if known => Some(basic(login)?),
            Some(_) => {
                let host = at.authority();
                return Err(format!(
                    "its tokens are at {host}, which is not told the password; `token_host: {host}` allows it"
                ));
            }
            None => None,
        };
        let sign = if realm.contains('?') { '&' } else { '?' };
        let service = service.map(|service| format!("service={}&", escaped(&service))).unwrap_or_default();
        // What is needed, whatever it asks for.
        let scope = escaped(&format!("repository:{}:pull", self.repository));
        let text = format!("{realm}{sign}{service}scope={scope}");
        let token = Url::parse(&text).ok_or_else(|| format!("its tokens are at {realm:?}, which is no URL"))?;
        let ask = Ask { url: &token, accept: "application/json", authorization, most: MOST_TOKEN };
        let answer = self.client.get(&ask).await?;
        if answer.status != StatusCode::OK {
            return Err(format!("a token from {token}: {}", answer.status));
        }
        bearer(&answer.body).ok_or_else(|| format!("{token} gives no token"))
    }
}

/// For `authorization`.
pub fn basic(login: &Login) -> Result<HeaderValue, String> {
    let pair = [login.username.as_bytes(), b":", login.password.bytes()].concat();
    let mut value =
        HeaderValue::try_from(format!("Basic {}", BASE64.encode(pair))).map_err(|error| error.to_string())?;
    value.set_sensitive(true);
    Ok(value)
}

fn bearer(body: &[u8]) -> Option<HeaderValue> {
    let body: Value = serde_json::from_slice(body).ok()?;
    let token = body["token"].as_str().or_else(|| body["access_token"].as_str()).filter(|token| !token.is_empty())?;
    let mut value = HeaderValue::try_from(format!("Bearer {token}")).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// `Bearer realm="…",service="…"`; other parameters are passed over.
fn challenge(text: &str) -> Option<Challenge> {
    let (scheme, mut rest) = text.trim().split_once(' ').unwrap_or((text.trim(), ""));
    if scheme.eq_ignore_ascii_case("basic") {
        return Some(Challenge::Basic);
    }
    if !scheme.eq_ignore_ascii_case("bearer") {
        return None;
    }
    let (mut realm, mut service) = (None, None);
    while let Some((name, value)) = rest.split_once('=') {
        let (value, after) = match value.trim_start().strip_prefix('"') {
            Some(quoted) => quoted.split_once('"')?,
            None => value.split_at(value.find(',').unwrap_or(value.len())),
        };
        match name.trim_matches([' ', ',']).to_ascii_lowercase().as_str() {
            "realm" => realm = Some(value.to_owned()),
            "service" => service = Some(value.to_owned()),
            _ => {}
        }
        rest = after;
    }
    Some(Challenge::Bearer { realm: realm?, service })
}

fn escaped(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_challenge_is_read_however_it_is_written() {
        let bearer = |realm: &str, service: Option<&str>| {
            Some(Challenge::Bearer { realm: realm.to_owned(), service: service.map(str::to_owned) })
        };
        let usual = r#"Bearer realm="https://a.test/token",service="a.test",scope="repository:x:pull,push""#;
        assert_eq!(challenge(usual), bearer("https://a.test/token", Some("a.test")));
        assert_eq!(challenge(r#"bearer error="a=b", realm="https://a.test/t""#), bearer("https://a.test/t", None));
        assert_eq!(challenge("Bearer realm=https://a.test/t, service=s"), bearer("https://a.test/t", Some("s")));
        assert_eq!(challenge("Basic realm=\"x\""), Some(Challenge::Basic));
        for bad in ["", "Bearer", "Bearer service=\"x\"", "Bearer realm=\"x", "Negotiate x"] {
            assert_eq!(challenge(bad), None, "{bad}");
        }
    }

    #[test]
    fn what_goes_into_a_query_stays_one_value() {
        assert_eq!(escaped("repository:a/b:pull&x=1"), "repository%3Aa%2Fb%3Apull%26x%3D1");
    }

    #[test]
    fn a_token_that_is_no_header_is_none() {
        assert!(bearer(br#"{"token": "abc"}"#).is_some() && bearer(br#"{"access_token": "abc"}"#).is_some());
        assert!(bearer(br#"{"token": "a\r\nb: c"}"#).is_none());
        assert!(bearer(b"{}").is_none() && bearer(b"").is_none() && bearer(br#"{"token": ""}"#).is_none());
    }
}
