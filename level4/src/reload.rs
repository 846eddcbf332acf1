//! Secrets, certificates and users, which are read again whenever the operator says so.

use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::watch;

use crate::notes::note;
use crate::security::{Credentials, Https, HttpsFiles, SecurityError, SecurityFiles};
use crate::transport::Transport;

/// Who may ask for what; `None`: everybody for everything.
pub type Users = Option<Arc<Credentials>>;

/// The files that are read again.
#[derive(Debug, Clone)]
pub struct Reloaded {
    /// What peers prove themselves with.
    pub security: SecurityFiles,
    /// The certificate that clients are shown.
    pub https: Option<HttpsFiles>,
    /// Users.
    pub auth: Option<PathBuf>,
}

/// What clients meet, as the files say now.
#[derive(Debug)]
pub struct Current {
    /// Users.
    pub users: watch::Sender<Users>,
    /// TLS towards clients; `None`: they speak plain HTTP.
    pub https: watch::Sender<Option<Https>>,
}

impl Reloaded {
    fn users(&self) -> Result<Users, SecurityError> {
        let users = self.auth.as_deref().map(Credentials::load).transpose()?;
        Ok(users.map(Arc::new))
    }

    fn https(&self) -> Result<Option<Https>, SecurityError> {
        self.https.as_ref().map(Https::load).transpose()
    }

    /// Reads what clients meet for the first time.
    ///
    /// # Errors
    ///
    /// If a file cannot be read, or does not hold what it should.
    pub fn load(&self) -> Result<Current, SecurityError> {
        Ok(Current {
            users: watch::Sender::new(self.users()?),
            https: watch::Sender::new(self.https()?),
        })
    }

    /// Reads everything again whenever `told` changes. What cannot be used changes nothing.
    pub async fn keep(
        self,
        mut told: watch::Receiver<()>,
        current: Current,
        transport: Arc<Transport>,
    ) {
        while told.changed().await.is_ok() {
            if self.auth.is_some() {
                again("users", self.users(), |users| {
                    current.users.send_replace(users);
                    String::new()
                });
            }
            if self.https.is_some() {
                again("the certificates for clients", self.https(), |https| {
                    current.https.send_replace(https);
                    String::new()
                });
            }
            if !self.security.is_empty() {
                again(
                    "secrets and certificates",
                    self.security.load(),
                    |security| {
                        let secrets = security.secrets.len();
                        transport.set_security(security);
                        format!(": {secrets} secrets are accepted")
                    },
                );
            }
        }
    }
}

/// Says what came of reading `what` again, after having it `used`, which gives more to say.
fn again<T>(what: &str, read: Result<T, SecurityError>, used: impl FnOnce(T) -> String) {
    match read {
        Ok(value) => {
            let more = used(value);
            note(format_args!("{what} were read again{more}"));
        }
        Err(error) => note(format_args!("{error}; the earlier ones stay in force")),
    }
}
