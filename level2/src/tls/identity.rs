//! What a certificate says: whom it is for, from when to when, and what a client may be called by it.

use std::net::IpAddr;
use std::sync::Arc;

use rustls::sign::CertifiedKey;
use serde::Deserialize;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;

/// Which part of its certificate names a client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClientNaming {
    /// None: its address does.
    #[default]
    Address,
    /// The common name in its subject, or all of the subject where there is none.
    Subject,
    /// The first of its alternative names.
    San,
}

impl ClientNaming {
    /// What a client with this certificate is called. It cannot be taken for an address.
    pub fn name(self, certificate: &[u8]) -> Option<String> {
        let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
        let name = match self {
            Self::Address => return None,
            Self::Subject => {
                let subject = parsed.subject();
                let common = subject.iter_common_name().next();
                common
                    .and_then(|name| name.as_str().ok())
                    .map_or_else(|| subject.to_string(), String::from)
            }
            Self::San => {
                let names = parsed.subject_alternative_name().ok()??;
                names.value.general_names.iter().find_map(text)?
            }
        };
        Some(format!("cert:{name}"))
    }
}

/// An alternative name as text, if it is of a kind that names clients.
fn text(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) | GeneralName::RFC822Name(name) | GeneralName::URI(name) => {
            Some((*name).to_string())
        }
        GeneralName::IPAddress(bytes) => address(bytes).map(|address| address.to_string()),
        _ => None,
    }
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
        return Some(v4.into());
    }
    <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from)
}

/// A certificate with its key, and whom it is for.
#[derive(Debug)]
pub struct Identity {
    key: Arc<CertifiedKey>,
    /// In lower case; `*.` in front stands for one more label.
    hosts: Vec<String>,
    addresses: Vec<IpAddr>,
    /// Seconds of 1970.
    valid: (i64, i64),
}

impl Identity {
    /// Looks into the first certificate of a chain. `Err`: what is wrong with it.
    pub fn new(key: CertifiedKey) -> Result<Self, String> {
        let first = key.cert.first().ok_or("there is none")?;
        let (_, parsed) = X509Certificate::from_der(first).map_err(|error| error.to_string())?;
        let (mut hosts, mut addresses) = (Vec::new(), Vec::new());
        let names = parsed
            .subject_alternative_name()
            .map_err(|error| error.to_string())?;
        for name in names.iter().flat_map(|names| &names.value.general_names) {
            match name {
                GeneralName::DNSName(name) => hosts.push(name.to_ascii_lowercase()),
                GeneralName::IPAddress(bytes) => addresses.extend(address(bytes)),
                _ => {}
            }
        }
        if names.is_none() {
            // Of before alternative names were asked for: the common name is its host.
            let common = parsed.subject().iter_common_name();
            hosts.extend(common.filter_map(|name| Some(name.as_str().ok()?.to_ascii_lowercase())));
        }
        let validity = parsed.validity();
        let valid = (
            validity.not_before.timestamp(),
            validity.not_after.timestamp(),
        );
        Ok(Self {
            hosts,
            addresses,
            valid,
            key: Arc::new(key),
        })
    }

    /// The certificate and the key.
    pub fn key(&self) -> Arc<CertifiedKey> {
        self.key.clone()
    }

    /// What is wrong with it at such a time, in seconds of 1970.
    pub fn invalid_at(&self, now: i64) -> Option<&'static str> {
        if now > self.valid.1 {
            Some("has expired")
        } else if now < self.valid.0 {
            Some("is not valid yet")
        } else {
            None
        }
    }

    /// Whether it is for a host, with or without a port, as `Host` or `:authority` have it.
    pub fn covers(&self, host: &[u8]) -> bool {
        let Ok(host) = std::str::from_utf8(host) else {
            return false;
        };
        if let Some(rest) = host.strip_prefix('[') {
            let address = rest.split_once(']').map(|(address, _)| address);
            let parsed = address.and_then(|address| address.parse().ok());
            return parsed.is_some_and(|address: IpAddr| self.addresses.contains(&address));
        }
        let name = host.split_once(':').map_or(host, |(name, _)| name);
        let name = name.strip_suffix('.').unwrap_or(name);
        if let Ok(address) = name.parse::<IpAddr>() {
            return self.addresses.contains(&address);
        }
        self.hosts.iter().any(|known| {
            known.eq_ignore_ascii_case(name)
                || known.strip_prefix("*.").is_some_and(|parent| {
                    let rest = name.split_once('.');
                    rest.is_some_and(|(label, rest)| {
                        !label.is_empty() && rest.eq_ignore_ascii_case(parent)
                    })
                })
        })
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair, SanType};
    use rustls::crypto::aws_lc_rs::default_provider;
    use rustls::pki_types::PrivateKeyDer;

    use super::*;

    fn identity(params: &CertificateParams) -> Identity {
        let key = KeyPair::generate().unwrap();
        let cert = params.self_signed(&key).unwrap();
        let der = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let signing = default_provider()
            .key_provider
            .load_private_key(der)
            .unwrap();
        Identity::new(CertifiedKey::new(vec![cert.der().clone()], signing)).unwrap()
    }

    #[test]
    fn a_certificate_covers_its_names_and_no_others() {
        let names = ["example.org", "*.example.net", "127.0.0.1", "::1"].map(String::from);
        let identity = identity(&CertificateParams::new(names).unwrap());
        for host in [
            "example.org",
            "EXAMPLE.org:443",
            "example.org.",
            "a.example.net:8443",
            "127.0.0.1:1",
            "[::1]:443",
            "[::1]",
        ] {
            assert!(identity.covers(host.as_bytes()), "{host}");
        }
        for host in [
            "",
            "www.example.org",
            "example.net",
            "a.b.example.net",
            ".example.net",
            "127.0.0.2",
            "[::2]",
            "[::1",
            "xexample.org",
            "\u{e9}xample.org",
        ] {
            assert!(!identity.covers(host.as_bytes()), "{host}");
        }
        assert!(!identity.covers(b"\xff"));
    }

    #[test]
    fn the_common_name_counts_where_there_is_no_other() {
        let mut params = CertificateParams::default();
        params
            .distinguished_name
            .push(DnType::CommonName, "Old.example");
        assert!(identity(&params).covers(b"old.example"));
        params.subject_alt_names = vec![SanType::DnsName("new.example".try_into().unwrap())];
        assert!(!identity(&params).covers(b"old.example"));
    }

    #[test]
    fn validity_has_a_beginning_and_an_end() {
        let mut params = CertificateParams::default();
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2021, 1, 1);
        let identity = identity(&params);
        assert_eq!(identity.invalid_at(1_577_836_799), Some("is not valid yet"));
        assert_eq!(identity.invalid_at(1_590_000_000), None);
        assert_eq!(identity.invalid_at(1_609_459_201), Some("has expired"));
    }

    #[test]
    fn a_client_is_called_by_its_certificate() {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["alice.example".to_string()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, "Alice");
        let cert = params.self_signed(&key).unwrap();
        let name = |naming: ClientNaming| naming.name(cert.der());
        assert_eq!(name(ClientNaming::Address), None);
        assert_eq!(name(ClientNaming::Subject).as_deref(), Some("cert:Alice"));
        assert_eq!(
            name(ClientNaming::San).as_deref(),
            Some("cert:alice.example")
        );
        assert_eq!(ClientNaming::Subject.name(b"no certificate"), None);
    }
}
