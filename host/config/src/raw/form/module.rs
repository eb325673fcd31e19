//! Where a plugin's code is fetched from, and by what it is known.

use super::{Wrong, form};

/// Where a module is, as it is written.
#[derive(Clone, Debug, PartialEq)]
pub enum ModuleAt {
    File(String),
    Https(String),
    Oci {
        /// `host` or `host:port`.
        registry: String,
        repository: String,
        /// Of the manifest.
        sha256: String,
    },
}

form! {
    /// A Wasm module: the path of a file or folder, `https://host/path`, or
    /// `oci://registry/repository@sha256:digest`.
    ModulePlace(ModuleAt), "a path, https://host/path, or oci://registry/repository@sha256:digest",
    { "minLength": 1 },
    |text| module_at(text)
}

form! {
    /// A URL that begins with `https://`.
    HttpsUrl(String), "a URL such as https://host/path, without user and fragment",
    { "pattern": "^https://[^@#]+$" },
    |text| https(text)
}

form! {
    /// A SHA-256: 64 hexadecimal digits.
    Sha256(String), "a SHA-256 of 64 hexadecimal digits", { "pattern": "^[0-9A-Fa-f]{64}$" },
    |text| {
        let bare = text.strip_prefix("sha256:").unwrap_or(text);
        match sha256(bare) {
            Some(digest) if bare == text => Ok(digest),
            found => Err(Wrong::near(found)),
        }
    }
}

form! {
    /// A host, and a port where it is not 443.
    Authority(String), "a host, with its port if that is not 443, such as auth.example.com", {},
    |text| authority(text).ok_or_else(|| {
        let near = text.rsplit_once("://").map_or(text, |(_, rest)| rest);
        let near = near.split('/').next().unwrap_or_default();
        Wrong::near(authority(near).filter(|near| near != text))
    })
}

fn module_at(text: &str) -> Result<ModuleAt, Wrong> {
    match text.split_once("://") {
        Some(("https", _)) => https(text).map(ModuleAt::Https),
        Some(("oci", rest)) => image(rest),
        Some(("http", rest)) => Err(Wrong {
            near: Some(format!("https://{rest}")),
            ..Wrong::why("what comes in clear can be changed on the way")
        }),
        Some(("docker" | "image" | "registry", rest)) => Err(Wrong::near(Some(format!("oci://{rest}")))),
        Some(("file", rest)) => Err(Wrong::near(Some(rest.to_owned()))),
        Some(_) => Err(Wrong::default()),
        None if text.is_empty() || text.contains('\0') => Err(Wrong::default()),
        None => Ok(ModuleAt::File(text.to_owned())),
    }
}

fn https(text: &str) -> Result<String, Wrong> {
    let Some(rest) = text.strip_prefix("https://") else {
        let near = text.strip_prefix("http://").map(|rest| format!("https://{rest}"));
        return Err(Wrong::near(near));
    };
    let (host, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    if host.contains('@') {
        let why = "they stand in `fetch`: `username`, and `password`, which names a secret";
        return Err(Wrong::secret("a URL with credentials", why));
    }
    let host = authority(host).ok_or_else(Wrong::default)?;
    if !path.starts_with('/') || path.contains('#') || !path.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(Wrong::default());
    }
    Ok(format!("https://{host}{path}"))
}

fn image(rest: &str) -> Result<ModuleAt, Wrong> {
    let (name, digest) = match rest.split_once('@') {
        Some((name, digest)) => (name, Some(digest)),
        None => (rest, None),
    };
    let (registry, repository) = name.split_once('/').ok_or_else(Wrong::default)?;
    let (repository, tag) = match repository.rsplit_once(':') {
        Some((repository, tag)) => (repository, Some(tag)),
        None => (repository, None),
    };
    let registry = authority(registry).ok_or_else(Wrong::default)?;
    if !is_repository(repository) {
        let lower = repository.to_ascii_lowercase();
        let near = is_repository(&lower).then(|| format!("oci://{}", rest.replacen(repository, &lower, 1)));
        return Err(Wrong::near(near));
    }
    let pinned = format!("oci://{registry}/{repository}@sha256:...");
    let Some(digest) = digest else {
        // What is fetched tomorrow must be what was looked at today.
        let why = match tag {
            Some(tag) => format!(
                "a tag can be moved: pin the digest of the image, {pinned}; `crane digest {registry}/{repository}:{tag}` \
                 and `docker buildx imagetools inspect` tell it"
            ),
            None => format!("no digest: pin that of the image, {pinned}"),
        };
        return Err(Wrong::why(why));
    };
    let digest = digest.strip_prefix("sha256:").and_then(sha256);
    let sha256 = digest.ok_or_else(|| Wrong::why("its digest is no sha256: with 64 hexadecimal digits"))?;
    Ok(ModuleAt::Oci { registry, repository: repository.to_owned(), sha256 })
}

fn is_repository(text: &str) -> bool {
    let part = |part: &str| {
        let ends = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        part.starts_with(ends) && part.ends_with(ends) && part.chars().all(|c| ends(c) || "._-".contains(c))
    };
    text.len() <= 255 && text.split('/').all(part)
}

/// `host` or `host:port`, in lower case.
fn authority(text: &str) -> Option<String> {
    let (host, port) = match text.strip_prefix('[') {
        Some(v6) => {
            let (host, port) = v6.split_once(']')?;
            host.parse::<std::net::Ipv6Addr>().ok()?;
            (host, port.strip_prefix(':').or(port.is_empty().then_some("443"))?)
        }
        None => text.split_once(':').unwrap_or((text, "443")),
    };
    let fits = host.contains(':') || host.chars().all(|c| c.is_ascii_alphanumeric() || "-.".contains(c));
    let port = port.bytes().all(|byte| byte.is_ascii_digit()).then(|| port.parse::<u16>().ok()).flatten();
    (fits && !host.is_empty() && host.len() <= 253 && port.is_some_and(|port| port > 0))
        .then(|| text.to_ascii_lowercase())
}

fn sha256(text: &str) -> Option<String> {
    (text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit())).then(|| text.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    #[test]
    fn a_place_is_taken_apart_or_refused_whole() {
        let at = |text: &str| module_at(text).ok();
        assert_eq!(at("plugins/a.wasm"), Some(ModuleAt::File("plugins/a.wasm".to_owned())));
        assert_eq!(at("https://A.test:8443/x?v=1"), Some(ModuleAt::Https("https://a.test:8443/x?v=1".to_owned())));
        let oci = |registry: &str, repository: &str| {
            let (registry, repository) = (registry.to_owned(), repository.to_owned());
            Some(ModuleAt::Oci { registry, repository, sha256: DIGEST.to_owned() })
        };
        assert_eq!(at(&format!("oci://ghcr.io/a/b-c@sha256:{DIGEST}")), oci("ghcr.io", "a/b-c"));
        assert_eq!(at(&format!("oci://[::1]:5000/a@sha256:{}", DIGEST.to_uppercase())), oci("[::1]:5000", "a"));
        assert_eq!(at(&format!("oci://ghcr.io/a:v1@sha256:{DIGEST}")), oci("ghcr.io", "a"), "the digest counts");
        for bad in [
            "",
            "ftp://a/b",
            "https://",
            "https:///a",
            "https://a",
            "https://a/b#c",
            "https://a/b c",
            "https://u:p@a/b",
            "https://a:0/b",
            "https://a:+1/b",
            "oci://a",
            "oci://a/b",
            "oci://a/b:latest",
            "oci://a/b@sha256:12",
            "oci://a/../b@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
        ] {
            assert_eq!(at(bad), None, "{bad}");
        }
    }
}
