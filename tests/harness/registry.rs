//! An OCI registry over TLS, as far as an image is pulled from it: tokens, manifests, blobs. What it
//! has can be changed while it is asked, and it can be made to lie.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};

use crate::certificate::Certificate;
use crate::origin::{Exchange, Origin};
use crate::signer::{Signer, sha256};

pub struct Registry {
    pub origin: Origin,
    shelf: Arc<Mutex<Shelf>>,
}

#[derive(Default)]
struct Shelf {
    /// By digest.
    blobs: BTreeMap<String, Vec<u8>>,
    /// By digest or tag.
    manifests: BTreeMap<String, Vec<u8>>,
    login: Option<(String, String)>,
    /// `https://host:port` where tokens are said to be.
    realm: Option<String>,
    /// `https://host:port` where blobs are redirected to.
    blobs_at: Option<String>,
}

/// What every token of this registry is.
const TOKEN: &str = "t0ken-of-the-registry";

impl Registry {
    /// On an address that the certificate is for.
    pub fn start(certificate: &Certificate) -> Registry {
        let shelf = Arc::new(Mutex::new(Shelf::default()));
        let asked = shelf.clone();
        let origin = Origin::serve_tls(certificate, move |exchange| answer(&asked, exchange));
        Registry { origin, shelf }
    }

    /// `127.0.0.1:port`.
    pub fn host(&self) -> String {
        self.origin.address.to_string()
    }

    /// Where an image of the repository `plugins/test` is.
    pub fn reference(&self, digest: &str) -> String {
        format!("oci://{}/plugins/test@sha256:{digest}", self.host())
    }

    /// As `wasm-to-oci` and `oras` push it: the module is a layer. The digest of the image.
    pub fn push_artifact(&self, module: &[u8]) -> String {
        let config = self.layer("application/vnd.module.wasm.config.v1+json", b"{}");
        self.push(&[config, self.layer("application/vnd.module.wasm.content.layer.v1+wasm", module)])
    }

    /// As `docker build` and `buildah` push it: a file in a tar.gz.
    pub fn push_compat(&self, module: &[u8]) -> String {
        let mut tar = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
        let mut header = tar::Header::new_gnu();
        header.set_size(module.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, "plugin.wasm", module).expect("memory can be written");
        let packed = tar.into_inner().and_then(GzEncoder::finish).expect("memory can be written");
        self.push(&[self.layer("application/vnd.oci.image.layer.v1.tar+gzip", &packed)])
    }

    /// Cosign's signature of an image, which says that it is of `of`.
    pub fn sign(&self, digest: &str, of: &str, signer: &Signer) {
        let payload = json!({
            "critical": {
                "identity": { "docker-reference": format!("{}/plugins/test", self.host()) },
                "image": { "docker-manifest-digest": format!("sha256:{of}") },
                "type": "cosign container image signature",
            },
            "optional": null,
        });
        let payload = payload.to_string().into_bytes();
        let mut layer = self.layer("application/vnd.dev.cosign.simplesigning.v1+json", &payload);
        layer["annotations"] = json!({ "dev.cosignproject.cosign/signature": signer.sign_text(&payload) });
        let manifest = manifest(&[layer]);
        self.shelf().manifests.insert(format!("sha256-{digest}.sig"), manifest);
    }

    /// Gives `bytes` for a manifest, whatever its digest.
    pub fn put_manifest(&self, reference: &str, bytes: &[u8]) {
        self.shelf().manifests.insert(reference.to_owned(), bytes.to_vec());
    }

    /// Gives other bytes for every blob than were pushed.
    pub fn spoil_blobs(&self) {
        self.shelf().blobs.values_mut().for_each(|blob| *blob.last_mut().expect("no blob is empty") ^= 1);
    }

    /// Only this user gets a token.
    pub fn login(&self, user: &str, password: &str) {
        self.shelf().login = Some((user.to_owned(), password.to_owned()));
    }

    /// Says that tokens are to be had from another host.
    pub fn tokens_at(&self, host: &str) {
        self.shelf().realm = Some(format!("https://{host}"));
    }

    /// Redirects blobs to another host.
    pub fn blobs_at(&self, host: &str) {
        self.shelf().blobs_at = Some(format!("https://{host}"));
    }

    fn push(&self, layers: &[Value]) -> String {
        let manifest = manifest(layers);
        let digest = sha256(&manifest);
        self.shelf().manifests.insert(format!("sha256:{digest}"), manifest);
        digest
    }

    fn layer(&self, kind: &str, bytes: &[u8]) -> Value {
        let digest = format!("sha256:{}", sha256(bytes));
        self.shelf().blobs.insert(digest.clone(), bytes.to_vec());
        json!({ "mediaType": kind, "digest": digest, "size": bytes.len() })
    }

    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        self.shelf.lock().expect("no test thread panicked with the lock")
    }
}

fn manifest(layers: &[Value]) -> Vec<u8> {
    let empty = json!({ "mediaType": "application/vnd.oci.image.config.v1+json", "digest": format!("sha256:{}", sha256(b"{}")), "size": 2 });
    json!({ "schemaVersion": 2, "config": empty, "layers": layers }).to_string().into_bytes()
}

fn answer(shelf: &Mutex<Shelf>, exchange: &mut Exchange) -> io::Result<()> {
    let host = exchange.headers().get("host").unwrap_or_default().to_owned();
    let target = exchange.head.target().to_owned();
    let authorization = exchange.headers().get("authorization").map(str::to_owned);
    let shelf = shelf.lock().expect("no test thread panicked with the lock");
    if let Some(query) = target.strip_prefix("/token?") {
        let wanted = shelf.login.as_ref().map(|(user, password)| basic(user, password));
        // Anybody gets one for a public image, and nobody but the user for another.
        if wanted.is_some() && authorization != wanted {
            return exchange.respond(401, &[], b"");
        }
        if query != "service=tests&scope=repository%3Aplugins%2Ftest%3Apull" {
            return exchange.respond(400, &[], b"");
        }
        let token = json!({ "token": TOKEN }).to_string();
        return exchange.respond(200, &[], token.as_bytes());
    }
    let Some(rest) = target.strip_prefix("/v2/plugins/test/") else { return exchange.respond(404, &[], b"") };
    if authorization.as_deref() != Some(&*format!("Bearer {TOKEN}")) {
        let realm = shelf.realm.clone().unwrap_or_else(|| format!("https://{host}"));
        let challenge =
            format!("Bearer realm=\"{realm}/token\",service=\"tests\",scope=\"repository:plugins/test:pull,push\"");
        return exchange.respond(401, &[("www-authenticate", &challenge)], b"");
    }
    match rest.split_once('/') {
        Some(("manifests", reference)) => match shelf.manifests.get(reference) {
            Some(manifest) => {
                let kind = [("content-type", "application/vnd.oci.image.manifest.v1+json")];
                exchange.respond(200, &kind, manifest)
            }
            None => exchange.respond(404, &[], b""),
        },
        Some(("blobs", digest)) => match (&shelf.blobs_at, shelf.blobs.get(digest)) {
            (_, None) => exchange.respond(404, &[], b""),
            (Some(host), Some(_)) => {
                let to = format!("{host}/storage/{digest}?signature=x");
                exchange.respond(307, &[("location", &to)], b"")
            }
            (None, Some(blob)) => exchange.respond(200, &[], blob),
        },
        _ => exchange.respond(404, &[], b""),
    }
}

/// The value of `authorization` of a user.
pub fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", BASE64.encode(format!("{user}:{password}")))
}
