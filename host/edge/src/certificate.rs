//! What a certificate says of whom it names, for properties.

use ring::digest::{SHA256, digest};
use rustls::pki_types::CertificateDer;

/// Facts about one certificate.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Certificate {
    /// As RFC 2253 writes it: `CN=shop,O=Example`.
    pub subject: String,
    /// The first name of each kind.
    pub dns: Option<String>,
    pub uri: Option<String>,
    /// SHA-256 of the whole of it, in hexadecimal digits.
    pub sha256: String,
}

impl Certificate {
    /// Only the digest of one that is too old or too odd to be read; it may still serve.
    pub fn of(der: &CertificateDer<'_>) -> Certificate {
        let sha256 = digest(&SHA256, der).as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        let Ok(certificate) = webpki::EndEntityCert::try_from(der) else {
            return Certificate { sha256, ..Certificate::default() };
        };
        Certificate {
            sha256,
            subject: subject(certificate.subject()),
            dns: certificate.valid_dns_names().next().map(str::to_owned),
            uri: certificate.valid_uri_names().next().map(str::to_owned),
        }
    }
}

const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const OID: u8 = 0x06;

/// The last name first.
fn subject(names: &[u8]) -> String {
    let mut all: Vec<String> = Items(names).filter(|(tag, _)| *tag == SET).map(|(_, set)| together(set)).collect();
    all.reverse();
    all.join(",")
}

/// Mostly one attribute.
fn together(set: &[u8]) -> String {
    let one = |(tag, attribute): (u8, &[u8])| {
        let mut parts = Items(attribute);
        let ((OID, oid), (kind, value)) = (parts.next()?, parts.next()?) else { return None };
        (tag == SEQUENCE).then(|| format!("{}={}", kind_of(oid), text(kind, value)))
    };
    Items(set).filter_map(one).collect::<Vec<_>>().join("+")
}

fn kind_of(oid: &[u8]) -> String {
    let name = match oid {
        [0x55, 4, 3] => "CN",
        [0x55, 4, 6] => "C",
        [0x55, 4, 7] => "L",
        [0x55, 4, 8] => "ST",
        [0x55, 4, 9] => "street",
        [0x55, 4, 10] => "O",
        [0x55, 4, 11] => "OU",
        [0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 25] => "DC",
        [0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 1] => "UID",
        [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 1] => "emailAddress",
        [0x55, 4, 5] => "serialNumber",
        _ => return dotted(oid),
    };
    name.to_owned()
}

fn dotted(oid: &[u8]) -> String {
    let (mut arcs, mut arc) = (Vec::new(), 0u64);
    for byte in oid {
        arc = arc << 7 | u64::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            if arcs.is_empty() {
                let first = (arc / 40).min(2);
                arcs.push(first.to_string());
                arc -= first * 40;
            }
            arcs.push(std::mem::take(&mut arc).to_string());
        }
    }
    arcs.join(".")
}

/// Escaped where it would be read as more than a value. Text of two bytes a letter is all that is not
/// nearly UTF-8.
fn text(kind: u8, value: &[u8]) -> String {
    const TWO_BYTES: u8 = 0x1e;
    let plain = if kind == TWO_BYTES {
        let units: Vec<u16> = value.chunks_exact(2).map(|two| u16::from_be_bytes([two[0], two[1]])).collect();
        String::from_utf16_lossy(&units)
    } else {
        String::from_utf8_lossy(value).into_owned()
    };
    let last = plain.chars().count().saturating_sub(1);
    let escaped = plain.chars().enumerate().map(|(at, letter)| {
        let edge = letter == ' ' && (at == 0 || at == last) || letter == '#' && at == 0;
        if edge || ",+\"\\<>;".contains(letter) { format!("\\{letter}") } else { letter.to_string() }
    });
    escaped.collect()
}

/// DER: tag and content of one item after the other, as far as they are whole.
struct Items<'a>(&'a [u8]);

impl<'a> Iterator for Items<'a> {
    type Item = (u8, &'a [u8]);

    fn next(&mut self) -> Option<(u8, &'a [u8])> {
        let (&tag, rest) = self.0.split_first()?;
        let (&first, rest) = rest.split_first()?;
        let (len, rest) = match first {
            0..=0x7f => (first as usize, rest),
            0x81..=0x83 => {
                let (digits, rest) = rest.split_at_checked((first & 0x7f) as usize)?;
                (digits.iter().fold(0, |len, digit| len << 8 | *digit as usize), rest)
            }
            _ => return None,
        };
        let (content, rest) = rest.split_at_checked(len)?;
        self.0 = rest;
        Some((tag, content))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(tag: u8, content: &[u8]) -> Vec<u8> {
        [&[tag, content.len() as u8], content].concat()
    }

    fn attribute(oid: &[u8], kind: u8, value: &[u8]) -> Vec<u8> {
        item(SEQUENCE, &[item(OID, oid), item(kind, value)].concat())
    }

    #[test]
    fn a_subject_is_written_as_rfc_2253_has_it() {
        let country = item(SET, &attribute(&[0x55, 4, 6], 0x13, b"DE"));
        let organization = item(SET, &attribute(&[0x55, 4, 10], 0x0c, "Läden, GmbH ".as_bytes()));
        let two = [attribute(&[0x55, 4, 3], 0x1e, b"\0s\0h"), attribute(&[0x2a, 0x03, 0x84, 0x01], 0x0c, b"#x")];
        let names = [country, organization, item(SET, &two.concat())].concat();
        assert_eq!(subject(&names), "CN=sh+1.2.3.513=\\#x,O=Läden\\, GmbH\\ ,C=DE");
        for cut in 0..names.len() {
            assert!(subject(&names[..cut]).len() < 60, "no cut is read past its end");
        }
    }
}
