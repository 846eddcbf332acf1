//! TLS towards clients (HTTPS): the node shows a certificate, and clients do too where that is asked for.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::server::WebPkiClientVerifier;
use tokio_rustls::TlsAcceptor;

use super::SecurityError;
use super::tls::{authorities, bad, certificates, private_key};
use crate::transport::Socket;

/// Where the certificate that clients are shown is, PEM files.
#[derive(Debug, Clone)]
pub struct HttpsFiles {
    /// The certificate, and those between it and an authority's.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// Clients show a certificate that one of these has signed.
    pub client_ca: Option<PathBuf>,
}

/// A node's side of HTTPS.
#[derive(Clone)]
pub struct Https(TlsAcceptor);

impl fmt::Debug for Https {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.write_str("Https")
    }
}

impl Https {
    /// Reads the files.
    ///
    /// # Errors
    ///
    /// If one cannot be read, or they do not belong together.
    pub fn load(files: &HttpsFiles) -> Result<Self, SecurityError> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|error| bad(&files.cert, error))?;
        let builder = match &files.client_ca {
            None => builder.with_no_client_auth(),
            Some(path) => {
                let roots = authorities(path)?;
                let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider)
                    .build()
                    .map_err(|error| bad(path, error))?;
                builder.with_client_cert_verifier(verifier)
            }
        };
        let mut config = builder
            .with_single_cert(certificates(&files.cert)?, private_key(&files.key)?)
            .map_err(|error| bad(&files.cert, error))?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self(TlsAcceptor::from(Arc::new(config))))
    }

    /// Speaks TLS with a client.
    ///
    /// # Errors
    ///
    /// If it does not, or has no certificate where one is asked for.
    pub async fn accept(&self, socket: Box<dyn Socket>) -> std::io::Result<Box<dyn Socket>> {
        Ok(Box::new(self.0.accept(socket).await?))
    }
}
