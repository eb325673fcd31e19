//! One attempt to fetch a module.

use config::{Remote, RemoteAt};
use http::StatusCode;
use http::header::HeaderValue;

use super::Terms;
use super::client::{Ask, Client, Url};
use super::image;
use super::parts::{self, Parts};
use super::registry::{self, Registry};
use super::signature::{Key, Signed};

/// Bytes of a signature, or of the text that one of cosign's is of.
const MOST_SIGNATURE: u64 = 64 << 10;

/// What the module is made of; whoever takes it holds it against the region file.
pub async fn fetch(remote: &Remote, terms: &Terms) -> Result<Parts, String> {
    let client = Client::new(terms.tls.clone());
    match &remote.at {
        RemoteAt::Https { url, signature, .. } => {
            let login = remote.login.as_ref().map(registry::basic).transpose()?;
            let url = parse(url)?;
            let blob = file(&client, &url, login.clone(), wasm::MAX_MODULE).await?;
            let signature = match &terms.key {
                Some(_) => {
                    let at = parse(signature)?;
                    // The login is for the host of the module.
                    let login = login.filter(|_| at.same_host(&url));
                    Some(file(&client, &at, login, MOST_SIGNATURE).await?.to_vec())
                }
                None => None,
            };
            Ok(Parts { manifest: None, blob, signature })
        }
        RemoteAt::Oci { registry, repository, sha256 } => {
            let login = remote.login.as_ref();
            let registry = Registry::new(&client, registry, repository, login, remote.token_host.as_deref());
            let manifest = registry.manifest(&format!("sha256:{sha256}")).await?;
            parts::hold("the manifest", &manifest, sha256)?;
            let layer = image::layer(&manifest)?;
            // Before the large part: what is not signed need not be fetched.
            let signature = match &terms.key {
                Some(key) => Some(signature(&registry, sha256, key).await?.to_bytes()),
                None => None,
            };
            let blob = registry.blob(&layer.blob).await?;
            Ok(Parts { manifest: Some(manifest), blob, signature })
        }
    }
}

fn parse(url: &str) -> Result<Url, String> {
    Url::parse(url).ok_or_else(|| format!("{url:?} is no https:// URL"))
}

async fn file(
    client: &Client,
    url: &Url,
    authorization: Option<HeaderValue>,
    most: u64,
) -> Result<bytes::Bytes, String> {
    let answer = client.get(&Ask { url, accept: "*/*", authorization, most }).await?;
    match answer.status {
        StatusCode::OK => Ok(answer.body),
        status => Err(format!("{url}: {status}")),
    }
}

/// The first of cosign's signatures of an image that the key verifies.
async fn signature(registry: &Registry<'_>, sha256: &str, key: &Key) -> Result<Signed, String> {
    let named = |why| format!("the signature of the image: {why}");
    let manifest = registry.manifest(&format!("sha256-{sha256}.sig")).await.map_err(named)?;
    let mut last = String::new();
    for (blob, signature) in image::signatures(&manifest, MOST_SIGNATURE).map_err(named)? {
        let payload = registry.blob(&blob).await.map_err(named)?;
        let signed = Signed { payload: payload.to_vec(), signature };
        match parts::hold("what is signed", &payload, &blob.sha256).and_then(|()| key.verify_image(sha256, &signed)) {
            Ok(()) => return Ok(signed),
            Err(why) => last = why,
        }
    }
    Err(last)
}
