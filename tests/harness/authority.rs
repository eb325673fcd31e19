//! Who signs the certificates of clients, and clients that have one.

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair, SanType, date_time_ymd,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// An authority of its own; its certificate is a root.
pub struct Authority {
    pub pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// What a client shows, and that it is its own.
#[derive(Debug)]
pub struct Identity {
    pub certificate: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
}

impl Clone for Identity {
    fn clone(&self) -> Identity {
        Identity { certificate: self.certificate.clone(), key: self.key.clone_key() }
    }
}

impl Authority {
    pub fn new(name: &str) -> Authority {
        let key = KeyPair::generate().expect("a key can be made");
        let mut params = CertificateParams::default();
        params.distinguished_name = named(name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let root = params.self_signed(&key).expect("an authority certifies itself");
        Authority { pem: root.pem(), issuer: Issuer::new(params, key) }
    }

    /// Certifies a client by that name, which is also `NAME.clients.test` and `spiffe://test/NAME`.
    pub fn client(&self, name: &str) -> Identity {
        self.certify(name, |_| {})
    }

    /// The same, but it was good only until the year 2020.
    pub fn expired_client(&self, name: &str) -> Identity {
        self.certify(name, |params| params.not_after = date_time_ymd(2020, 1, 1))
    }

    fn certify(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> Identity {
        let key = KeyPair::generate().expect("a key can be made");
        let mut params = CertificateParams::new([format!("{name}.clients.test")]).expect("a name can be certified");
        let uri = format!("spiffe://test/{name}").try_into().expect("a URI can be certified");
        params.subject_alt_names.push(SanType::URI(uri));
        params.distinguished_name = named(name);
        change(&mut params);
        let certificate = params.signed_by(&key, &self.issuer).expect("an authority certifies");
        let key = PrivateKeyDer::try_from(key.serialize_der()).expect("a key that was just made");
        Identity { certificate: certificate.der().clone(), key }
    }
}

impl Identity {
    /// For rustls: the chain and the key.
    pub(crate) fn parts(&self) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        (vec![self.certificate.clone()], self.key.clone_key())
    }
}

fn named(name: &str) -> DistinguishedName {
    let mut names = DistinguishedName::new();
    names.push(DnType::OrganizationName, "Tests, all of them");
    names.push(DnType::CommonName, name);
    names
}
