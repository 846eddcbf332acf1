//! Certificates and keys as files, and what they come to together.

use std::fmt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use rustls::crypto::aws_lc_rs::{Ticketer, default_provider};
use rustls::pki_types::pem::{Error as PemError, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{
    ClientHello, NoServerSessionStorage, ProducesTickets, ResolvesServerCert, WebPkiClientVerifier,
};
use rustls::sign::CertifiedKey;
use rustls::{CipherSuite, RootCertStore, ServerConfig};

use super::identity::Identity;

/// Largest file of certificates or keys, in bytes.
const LARGEST: u64 = 1 << 20;

/// A certificate (with those between it and its authority's) and its key, in PEM files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    /// The file of the certificate.
    pub cert: PathBuf,
    /// The file of the key.
    pub key: PathBuf,
}

/// The files that TLS is made of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsFiles {
    /// What can be shown to clients: the first to those that name nobody or somebody unknown.
    pub pairs: Vec<Pair>,
    /// Certificates of the authorities of which a client must have one, if it must.
    pub client_ca: Option<PathBuf>,
}

/// Why the files do not serve. Each names its file.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// It cannot be read.
    #[error("cannot read {}: {error}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// It is not what it should be.
    #[error("{}: {what}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// A key that is not its certificate's.
    #[error("{} is not the key of {}", key.display(), cert.display())]
    Mismatch {
        /// The key's file.
        key: PathBuf,
        /// The certificate's file.
        cert: PathBuf,
    },
    /// The library has no use for the settings.
    #[error("TLS cannot be set up: {0}")]
    Setup(#[from] rustls::Error),
}

fn content(path: &Path, what: impl fmt::Display) -> TlsError {
    TlsError::Content {
        path: path.into(),
        what: what.to_string(),
    }
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    let wrong = |error| TlsError::Read {
        path: path.into(),
        error,
    };
    let found = std::fs::metadata(path).map_err(wrong)?;
    // Reading a pipe or a device might never end.
    if !found.is_file() {
        return Err(content(path, "is not a regular file"));
    }
    if found.len() > LARGEST {
        return Err(content(path, "is larger than 1 MiB"));
    }
    std::fs::read(path).map_err(wrong)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let text = read(path)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    match found {
        Ok(found) if found.is_empty() => Err(content(path, "has no certificate in it (PEM)")),
        Ok(found) => Ok(found),
        Err(error) => Err(content(path, format_args!("malformed PEM ({error})"))),
    }
}

fn key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_slice(&read(path)?).map_err(|error| match error {
        PemError::NoItemsFound => content(path, "has no private key in it (unencrypted PEM)"),
        error => content(path, format_args!("malformed PEM ({error})")),
    })
}

impl Pair {
    fn load(&self) -> Result<Identity, TlsError> {
        let chain = certificates(&self.cert)?;
        let key = key(&self.key)?;
        let signing = default_provider()
            .key_provider
            .load_private_key(key)
            .map_err(|error| content(&self.key, format_args!("unusable key ({error})")))?;
        let certified = CertifiedKey::new(chain, signing);
        match certified.keys_match() {
            Ok(()) | Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => {}
            Err(rustls::Error::InconsistentKeys(_)) => {
                return Err(TlsError::Mismatch {
                    key: self.key.clone(),
                    cert: self.cert.clone(),
                });
            }
            Err(error) => {
                return Err(content(
                    &self.cert,
                    format_args!("not a certificate ({error})"),
                ));
            }
        }
        Identity::new(certified)
            .map_err(|what| content(&self.cert, format_args!("not a certificate ({what})")))
    }
}

/// What the files came to.
#[derive(Debug)]
pub struct Credentials {
    files: TlsFiles,
    /// The settings of handshakes in which the order of ciphers is the proxy's, and in which it is the client's.
    config: Arc<ServerConfig>,
    config_as_asked: Arc<ServerConfig>,
    identities: Arc<Identities>,
    tickets: Arc<dyn ProducesTickets>,
    /// The bytes of the authorities' file.
    authorities: Vec<u8>,
}

impl Credentials {
    /// Reads the files; `None` if there are none. The tickets of sessions stay good, unless other
    /// authorities are asked about clients now.
    pub fn load(files: &TlsFiles, before: Option<&Self>) -> Result<Option<Self>, TlsError> {
        if files.pairs.is_empty() {
            return Ok(None);
        }
        let loaded: Result<Vec<_>, _> = files.pairs.iter().map(Pair::load).collect();
        let identities = Arc::new(Identities(loaded?.into_iter().map(Arc::new).collect()));
        let mut provider = default_provider();
        // A third less work in a handshake than with AES-256 and SHA-384, which many clients name first.
        let mut suites = std::mem::take(&mut provider.cipher_suites);
        suites.sort_by_key(|suite| !has_aes_128(suite.suite()));
        provider.cipher_suites = suites;
        let provider = Arc::new(provider);
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()?;
        let (builder, authorities) = match &files.client_ca {
            None => (builder.with_no_client_auth(), Vec::new()),
            Some(path) => {
                let mut roots = RootCertStore::empty();
                for authority in certificates(path)? {
                    roots.add(authority).map_err(|error| content(path, error))?;
                }
                let verifier =
                    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                        .build()
                        .map_err(|error| content(path, error))?;
                (builder.with_client_cert_verifier(verifier), read(path)?)
            }
        };
        let mut config = builder.with_cert_resolver(identities.clone());
        let tickets = match before {
            Some(before) if before.authorities == authorities => before.tickets.clone(),
            _ => Ticketer::new()?,
        };
        config.ticketer = tickets.clone();
        // A connection's end needs one for the next one's beginning, and each costs work.
        config.send_tls13_tickets = 1;
        // Tickets carry all that is to be remembered: no session takes memory here.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        // What comes before the handshake's end could be replayed by anybody.
        config.max_early_data_size = 0;
        let config_as_asked = Arc::new(config.clone());
        config.ignore_client_order = true;
        Ok(Some(Self {
            files: files.clone(),
            config: Arc::new(config),
            config_as_asked,
            identities,
            tickets,
            authorities,
        }))
    }

    /// The settings for a client that offers these ciphers, those that it likes best first: if that is ChaCha20, it has
    /// no instructions for AES, and its order counts.
    pub fn config(&self, offered: &[CipherSuite]) -> Arc<ServerConfig> {
        let first = offered.iter().find(|suite| !is_grease(**suite));
        if first.is_some_and(|suite| has_chacha20(*suite)) {
            self.config_as_asked.clone()
        } else {
            self.config.clone()
        }
    }

    /// What is shown to a client that asks for this name.
    pub fn identity(&self, name: Option<&str>) -> Option<Arc<Identity>> {
        self.identities.find(name).cloned()
    }

    /// A line for each certificate that is not valid now.
    pub fn warnings(&self) -> Vec<String> {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_secs() as i64);
        let pairs = self.files.pairs.iter().zip(&self.identities.0);
        pairs
            .filter_map(|(pair, identity)| {
                let what = identity.invalid_at(now)?;
                Some(format!("{}: the certificate {what}", pair.cert.display()))
            })
            .collect()
    }
}

fn has_aes_128(suite: CipherSuite) -> bool {
    matches!(
        suite,
        CipherSuite::TLS13_AES_128_GCM_SHA256
            | CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
            | CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256
    )
}

fn has_chacha20(suite: CipherSuite) -> bool {
    matches!(
        suite,
        CipherSuite::TLS13_CHACHA20_POLY1305_SHA256
            | CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256
            | CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256
    )
}

/// Whether this is none, but a number that some clients offer so that servers stay used to unknown ones (RFC 8701).
fn is_grease(suite: CipherSuite) -> bool {
    let [high, low] = u16::from(suite).to_be_bytes();
    high == low && low & 0xf == 0xa
}

/// All that can be shown.
#[derive(Debug)]
struct Identities(Vec<Arc<Identity>>);

impl Identities {
    fn find(&self, name: Option<&str>) -> Option<&Arc<Identity>> {
        let named = name.and_then(|name| {
            let covers = |identity: &&Arc<Identity>| identity.covers(name.as_bytes());
            self.0.iter().find(covers)
        });
        named.or(self.0.first())
    }
}

impl ResolvesServerCert for Identities {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.find(hello.server_name())
            .map(|identity| identity.key())
    }
}

/// What the file system says of the files: if it is the same, so are they.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fingerprint(Vec<Option<[i64; 5]>>);

impl Fingerprint {
    /// The files as they are now.
    pub fn of(files: &TlsFiles) -> Self {
        let pairs = files.pairs.iter().flat_map(|pair| [&pair.cert, &pair.key]);
        let all = pairs.chain(&files.client_ca);
        let of = |path: &PathBuf| {
            let found = std::fs::metadata(path).ok()?;
            let (device, inode) = (found.dev() as i64, found.ino() as i64);
            let size = found.size() as i64;
            Some([device, inode, size, found.mtime(), found.mtime_nsec()])
        };
        Self(all.map(of).collect())
    }
}
