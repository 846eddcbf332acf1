//! Mutual TLS between nodes (TLS 1.3, RFC 8446): both ends show a certificate that the cluster's own
//! authority has signed.
//!
//! Whoever dials also checks that the certificate is for the host that it dialled; a unix socket's host
//! is `localhost`.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::{Acceptor, WebPkiClientVerifier};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::{Blind, SecurityError, read};
use crate::transport::{Socket, is_path};

/// Where a node's certificate is, PEM files.
#[derive(Debug, Clone)]
pub struct TlsFiles {
    /// This node's certificate, and those between it and the authority's.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// The authority's certificate, or several; without it, nobody's certificate is looked at.
    pub ca: Option<PathBuf>,
}

/// By which a node that dials another says what it wants, where clients speak TLS to the same port
/// (RFC 7301).
const PEERS_PROTOCOL: &[u8] = b"level4";

/// Both roles of a node in TLS.
#[derive(Clone)]
pub struct Tls {
    accepts: TlsAcceptor,
    dials: TlsConnector,
    /// Who speaks it belongs to the cluster.
    pub(super) proves: bool,
}

impl fmt::Debug for Tls {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.write_str("Tls")
    }
}

pub(super) fn bad(path: &Path, what: impl fmt::Display) -> SecurityError {
    SecurityError::Certificate {
        path: path.to_owned(),
        what: what.to_string(),
    }
}

pub(super) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, SecurityError> {
    let bytes = read(path)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) => Err(bad(path, "there is no certificate in this file (PEM)")),
        Err(error) => Err(bad(path, format_args!("not a certificate: {error}"))),
    }
}

pub(super) fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, SecurityError> {
    PrivateKeyDer::from_pem_slice(&read(path)?)
        .map_err(|error| bad(path, format_args!("not a private key: {error}")))
}

/// A certificate, with those between it and an authority's, and its private key.
///
/// # Errors
///
/// If a file cannot be read, or holds something else.
pub fn identity(
    cert: &Path,
    key: &Path,
) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), SecurityError> {
    Ok((certificates(cert)?, private_key(key)?))
}

/// The certificates of authorities.
///
/// # Errors
///
/// If the file cannot be read, or holds something else.
pub fn authorities(path: &Path) -> Result<Arc<RootCertStore>, SecurityError> {
    let mut roots = RootCertStore::empty();
    for authority in certificates(path)? {
        roots.add(authority).map_err(|error| bad(path, error))?;
    }
    Ok(Arc::new(roots))
}

/// Whether a connection that begins with these bytes, those of TLS, is a peer's; `None`: more are needed.
pub fn is_peers_hello(bytes: &[u8]) -> Option<bool> {
    let mut acceptor = Acceptor::default();
    let mut rest = bytes;
    loop {
        match acceptor.accept() {
            Ok(None) if rest.is_empty() => return None,
            Ok(None) => {}
            Ok(Some(accepted)) => {
                let hello = accepted.client_hello();
                let protocols = hello.alpn();
                return Some(protocols.is_some_and(|mut all| all.any(|one| one == PEERS_PROTOCOL)));
            }
            Err(_) => return Some(false),
        }
        if !matches!(acceptor.read_tls(&mut rest), Ok(1..)) {
            return Some(false);
        }
    }
}

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    ///
    /// If one cannot be read, or they do not belong together.
    pub fn load(files: &TlsFiles) -> Result<Self, SecurityError> {
        let chain = certificates(&files.cert)?;
        let key = private_key(&files.key)?;
        let roots = files.ca.as_deref().map(authorities).transpose()?;
        let proves = roots.is_some();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let client = Self::client(
            &provider,
            roots.as_ref(),
            files,
            chain.clone(),
            key.clone_key(),
        )?;
        let server = Self::server(provider, roots, files, chain, key)?;
        Ok(Self {
            accepts: TlsAcceptor::from(Arc::new(server)),
            dials: TlsConnector::from(Arc::new(client)),
            proves,
        })
    }

    fn client(
        provider: &Arc<CryptoProvider>,
        roots: Option<&Arc<RootCertStore>>,
        files: &TlsFiles,
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    ) -> Result<ClientConfig, SecurityError> {
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|error| bad(&files.cert, error))?;
        let builder = match roots {
            Some(roots) => builder.with_root_certificates(roots.clone()),
            None => builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(Blind(provider.clone()))),
        };
        let mut config = builder
            .with_client_auth_cert(chain, key)
            .map_err(|error| bad(&files.cert, error))?;
        config.alpn_protocols = vec![PEERS_PROTOCOL.to_vec()];
        Ok(config)
    }

    fn server(
        provider: Arc<CryptoProvider>,
        roots: Option<Arc<RootCertStore>>,
        files: &TlsFiles,
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    ) -> Result<ServerConfig, SecurityError> {
        let verifier = match roots {
            Some(roots) => WebPkiClientVerifier::builder_with_provider(roots, provider.clone())
                .build()
                .map_err(|error| bad(files.ca.as_ref().unwrap_or(&files.cert), error))?,
            None => WebPkiClientVerifier::no_client_auth(),
        };
        ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| bad(&files.cert, error))?
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain, key)
            .map_err(|error| bad(&files.cert, error))
    }

    /// Speaks TLS with who dialled.
    ///
    /// # Errors
    ///
    /// If the other end does not, or has no certificate of the authority's.
    pub async fn accept(&self, socket: Box<dyn Socket>) -> std::io::Result<Box<dyn Socket>> {
        Ok(Box::new(self.accepts.accept(socket).await?))
    }

    /// Speaks TLS with who was dialled at `address`.
    ///
    /// # Errors
    ///
    /// If the other end does not, or its certificate is not the authority's, or for another host.
    pub async fn dial(
        &self,
        address: &str,
        socket: Box<dyn Socket>,
    ) -> std::io::Result<Box<dyn Socket>> {
        let host = host(address);
        let name = ServerName::try_from(host.to_owned()).map_err(std::io::Error::other)?;
        Ok(Box::new(self.dials.connect(name, socket).await?))
    }
}

/// The host that a certificate has to be for.
fn host(address: &str) -> &str {
    if is_path(address) {
        return "localhost";
    }
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    host.trim_start_matches('[').trim_end_matches(']')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_of_an_address() {
        assert_eq!(host("db1.example:4000"), "db1.example");
        assert_eq!(host("10.0.0.1:4000"), "10.0.0.1");
        assert_eq!(host("[::1]:4000"), "::1");
        assert_eq!(host("./node0.sock"), "localhost");
    }

    #[test]
    fn files_that_are_no_certificates_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let authority = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        std::fs::write(path("ca"), authority.cert.pem()).unwrap();
        std::fs::write(path("key"), authority.signing_key.serialize_pem()).unwrap();
        std::fs::write(path("empty"), "").unwrap();
        let load = |cert: &str, key: &str, ca: &str| {
            Tls::load(&TlsFiles {
                cert: path(cert),
                key: path(key),
                ca: Some(path(ca)),
            })
        };
        assert!(load("ca", "key", "ca").unwrap().proves);
        let blind = TlsFiles {
            cert: path("ca"),
            key: path("key"),
            ca: None,
        };
        assert!(!Tls::load(&blind).unwrap().proves);
        for (cert, key, ca, named) in [
            ("empty", "key", "ca", "empty"),
            ("ca", "empty", "ca", "empty"),
            ("ca", "key", "empty", "empty"),
            ("none", "key", "ca", "none"),
        ] {
            let error = load(cert, key, ca).unwrap_err().to_string();
            assert!(error.contains(&format!("/{named}")), "{error}");
        }
    }
}
