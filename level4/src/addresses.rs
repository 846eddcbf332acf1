//! Where a node is reached, by peers and by clients.

use crate::name::MemberName;
use crate::settings::{RunError, Settings, unreachable};
use crate::transport::is_path;

/// The addresses of this node, as others know them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Addresses {
    /// For peers: `host:port` or a socket's path.
    pub peers: String,
    /// For clients, likewise.
    pub clients: String,
    /// Clients speak TLS.
    pub is_https: bool,
    /// Its name in the membership, which holds the others.
    pub name: String,
}

impl Addresses {
    /// Those of a node that listens for clients, and for peers if they have a port of their own.
    ///
    /// # Errors
    ///
    /// If one leads nowhere.
    pub fn of(settings: &Settings, clients: &str, peers: Option<&str>) -> Result<Self, RunError> {
        let advertised = settings.advertise.as_deref();
        let at_peers = advertised.unwrap_or_else(|| peers.unwrap_or(clients));
        let usual = if peers.is_some() { clients } else { at_peers };
        let at_clients = settings.advertise_api.as_deref().unwrap_or(usual);
        for (who, address, flag) in [
            ("peers", at_peers, "--advertise"),
            ("clients", at_clients, "--advertise-api"),
        ] {
            if let Some(what) = unreachable(address) {
                let address = address.to_owned();
                return Err(RunError::Advertise {
                    who,
                    address,
                    what,
                    flag,
                });
            }
        }
        let is_https = settings.https.is_some();
        let plain = MemberName {
            address: at_peers,
            api: None,
            label: settings.label.as_deref(),
            is_nonvoter: settings.nonvoter,
        };
        let url = url(at_clients, is_https);
        let name = MemberName {
            api: url.as_deref().filter(|_| plain.url() != url),
            ..plain
        };
        Ok(Self {
            peers: at_peers.to_owned(),
            clients: at_clients.to_owned(),
            is_https,
            name: name.to_string(),
        })
    }
}

/// The URL of an address for clients; a socket's path has none.
fn url(address: &str, is_https: bool) -> Option<String> {
    let scheme = if is_https { "https" } else { "http" };
    (!is_path(address)).then(|| format!("{scheme}://{address}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::security::HttpsFiles;

    #[test]
    fn the_name_holds_what_is_not_usual() {
        let usual = Settings::listening_at("10.0.0.1:1");
        let name = |settings: &Settings, clients: &str, peers: Option<&str>| {
            Addresses::of(settings, clients, peers).unwrap().name
        };
        assert_eq!(name(&usual, "10.0.0.1:1", None), "10.0.0.1:1");
        assert_eq!(
            name(&usual, "10.0.0.1:1", Some("10.0.0.1:2")),
            "10.0.0.1:2 api=http://10.0.0.1:1"
        );
        assert_eq!(name(&usual, "./a.sock", Some("10.0.0.1:2")), "10.0.0.1:2");
        let special = Settings {
            advertise: Some("db1:7".into()),
            https: Some(HttpsFiles {
                cert: "c".into(),
                key: "k".into(),
                client_ca: None,
            }),
            nonvoter: true,
            ..usual.clone()
        };
        assert_eq!(
            name(&special, "0.0.0.0:1", None),
            "db1:7 api=https://db1:7 nonvoter"
        );
        let told = Addresses::of(&special, "0.0.0.0:1", Some("0.0.0.0:2")).unwrap_err();
        assert!(
            told.to_string().contains("--advertise-api HOST:PORT"),
            "{told}"
        );
        let told = Addresses::of(&usual, "0.0.0.0:1", None).unwrap_err();
        assert!(told.to_string().contains("--advertise HOST:PORT"), "{told}");
    }
}
