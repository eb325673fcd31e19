//! A certificate (for `localhost` unless it is said), made for one test, and the client that trusts it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::authority::Identity;

pub struct Certificate {
    pub certificate: PathBuf,
    pub key: PathBuf,
    der: CertificateDer<'static>,
}

impl Certificate {
    /// Writes `certificate.pem` and `key.pem` into `folder`.
    pub fn write(folder: &Path) -> Certificate {
        Certificate::write_for(folder, "localhost")
    }

    /// The same for another name, or an address.
    pub fn write_for(folder: &Path, name: &str) -> Certificate {
        let made = rcgen::generate_simple_self_signed([name.to_owned()]).expect("a name can be certified");
        let (certificate, key) = (folder.join("certificate.pem"), folder.join("key.pem"));
        std::fs::write(&certificate, made.cert.pem()).expect("the test's folder can be written");
        std::fs::write(&key, made.signing_key.serialize_pem()).expect("the test's folder can be written");
        Certificate { certificate, key, der: made.cert.der().clone() }
    }

    /// A server that shows this certificate.
    pub fn server(&self) -> rustls::ServerConfig {
        let key = PrivateKeyDer::from_pem_file(&self.key).expect("it was just written");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("ring has the default versions")
            .with_no_client_auth()
            .with_single_cert(vec![self.der.clone()], key)
            .expect("they belong together")
    }

    /// A client configuration that trusts this certificate alone.
    pub fn client(&self, alpn: &[&str]) -> rustls::ClientConfig {
        self.client_as(alpn, None)
    }

    /// The same, with a certificate to show if it is asked for one.
    pub fn client_as(&self, alpn: &[&str], identity: Option<&Identity>) -> rustls::ClientConfig {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(self.der.clone()).expect("a self-signed certificate can be trusted");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("ring has the default versions")
            .with_root_certificates(roots);
        let mut config = match identity.map(Identity::parts) {
            Some((chain, key)) => config.with_client_auth_cert(chain, key).expect("they belong together"),
            None => config.with_no_client_auth(),
        };
        config.alpn_protocols = alpn.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        config
    }
}
