//! Who may ask for what: users with passwords and permissions, from a file as rqlite's `-auth` has it.
//!
//! It protects what clients may do. Peers prove themselves otherwise ([`super`]).
//!
//! A password stands there as it is, or as a bcrypt hash, which is then no password itself. Either is
//! compared in a time that tells nothing of it, and a user that does not exist takes as long as the one whose
//! hash is the most costly (names of others can be told by the time). bcrypt is slow on purpose, so a password that was right is remembered, as a MAC by a key that this
//! process drew.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bcrypt::HashParts;
use hmac::Mac as _;
use rand::RngCore as _;
use serde::Deserialize;

use super::secret::keyed;
use super::{SecurityError, read, without_values};

/// The user that stands for everybody, with a password or without.
const EVERYBODY: &str = "*";
/// A file has no more bytes.
const FILE_LIMIT: usize = 1024 * 1024;
/// The highest cost of a hash: checking one takes some seconds.
const HIGHEST_COST: u32 = 16;

/// What a request needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Permission {
    /// Everything.
    All,
    /// Changing the database.
    Execute,
    /// Reading it.
    Query,
    /// Replacing it.
    Load,
    /// A copy of it.
    Backup,
    /// Snapshots of the log's state.
    Snapshot,
    /// What the node and its cluster are doing.
    Status,
    /// Whether it is ready.
    Ready,
    /// For rqlite's nodes; ours prove themselves by secrets and certificates.
    Join,
    /// Likewise.
    JoinReadOnly,
    /// Likewise, by another name.
    JoinReadReplica,
    /// Taking members out.
    Remove,
    /// Who leads, and making another one lead.
    LeaderOps,
    /// The console.
    Ui,
}

/// A line of the file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    username: String,
    #[serde(default)]
    password: String,
    #[serde(default)]
    perms: BTreeSet<Permission>,
}

/// What a user shows that he is himself by.
enum Password {
    /// As it is; kept as a MAC.
    Plain([u8; 32]),
    /// A bcrypt hash.
    Hashed(String),
}

struct User {
    password: Password,
    permissions: BTreeSet<Permission>,
}

impl User {
    fn may(&self, needed: Permission) -> bool {
        self.permissions.contains(&needed) || self.permissions.contains(&Permission::All)
    }
}

/// All users.
pub struct Credentials {
    users: HashMap<String, User>,
    /// Of the MACs of passwords, drawn for this process.
    key: [u8; 32],
    /// What unknown users' passwords are compared with: of the most costly kind that there is here.
    nobody: Password,
    /// By user, the MAC of the password that its hash was found to be of.
    verified: Mutex<HashMap<String, [u8; 32]>>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        write!(formatter, "{} users", self.users.len())
    }
}

/// What is known of a password at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known {
    /// It is the user's.
    Right,
    /// It is not.
    Wrong,
    /// Only [`Credentials::verify`] can tell, which takes some tenths of a second.
    NotYet,
}

impl Credentials {
    /// Reads the file.
    ///
    /// # Errors
    ///
    /// If it cannot be read, or is not in the format.
    pub fn load(path: &Path) -> Result<Self, SecurityError> {
        Self::parse(&read(path)?).map_err(|what| SecurityError::Credentials {
            path: path.to_owned(),
            what,
        })
    }

    fn parse(bytes: &[u8]) -> Result<Self, String> {
        if bytes.len() > FILE_LIMIT {
            return Err("it has more than 1 MiB".to_owned());
        }
        let entries: Vec<Entry> =
            serde_json::from_slice(bytes).map_err(|error| without_values(&error))?;
        let mut key = [0; 32];
        rand::rng().fill_bytes(&mut key);
        let mut users = HashMap::new();
        let mut costliest: Option<(u32, String)> = None;
        for entry in entries {
            let name = entry.username;
            let password = match entry.password.parse::<HashParts>() {
                Ok(hash) if hash.get_cost() > HIGHEST_COST => {
                    return Err(format!(
                        "the hash of the user {name:?} has a cost of {}: {HIGHEST_COST} is the most",
                        hash.get_cost()
                    ));
                }
                Ok(hash) => {
                    if costliest
                        .as_ref()
                        .is_none_or(|(cost, _)| *cost < hash.get_cost())
                    {
                        costliest = Some((hash.get_cost(), entry.password.clone()));
                    }
                    Password::Hashed(entry.password)
                }
                Err(_) if entry.password.starts_with("$2") => {
                    return Err(format!(
                        "the password of the user {name:?} begins as a bcrypt hash does, and is none"
                    ));
                }
                Err(_) => Password::Plain(mac(&key, &entry.password)),
            };
            let user = User {
                password,
                permissions: entry.perms,
            };
            if users.insert(name.clone(), user).is_some() {
                return Err(format!("the user {name:?} is there twice"));
            }
        }
        let nobody = match costliest {
            Some((_, hash)) => Password::Hashed(hash),
            None => Password::Plain([0; 32]),
        };
        Ok(Self {
            users,
            key,
            nobody,
            verified: Mutex::default(),
        })
    }

    /// Whether everybody may do what needs all these permissions, whoever he is.
    pub fn everybody_may(&self, needed: &[Permission]) -> bool {
        needed.iter().all(|&one| self.everybody_has(one))
    }

    fn everybody_has(&self, permission: Permission) -> bool {
        self.users
            .get(EVERYBODY)
            .is_some_and(|everybody| everybody.may(permission))
    }

    /// Whether the user, once he has shown who he is, may do what needs all these permissions.
    pub fn user_may(&self, name: &str, needed: &[Permission]) -> bool {
        let user = self.users.get(name);
        let has =
            |&one: &Permission| self.everybody_has(one) || user.is_some_and(|user| user.may(one));
        needed.iter().all(has)
    }

    fn user(&self, name: &str) -> Option<&User> {
        self.users.get(name).filter(|_| name != EVERYBODY)
    }

    /// What can be told at once of whether this is the user's password.
    pub fn look(&self, name: &str, password: &str) -> Known {
        let user = self.user(name);
        let compared = |is_right: bool| if is_right { Known::Right } else { Known::Wrong };
        match user.map_or(&self.nobody, |user| &user.password) {
            Password::Plain(mac) => {
                let is_right = is_mac(&self.key, password, mac);
                compared(is_right && user.is_some())
            }
            Password::Hashed(_) => {
                let known = self.verified().get(name).copied();
                match known {
                    Some(mac) if is_mac(&self.key, password, &mac) => Known::Right,
                    _ => Known::NotYet,
                }
            }
        }
    }

    /// Whether this is the user's password, by its hash. Takes long: not for a thread that others wait for.
    pub fn verify(&self, name: &str, password: &str) -> bool {
        let user = self.user(name);
        let Password::Hashed(hash) = user.map_or(&self.nobody, |user| &user.password) else {
            return self.look(name, password) == Known::Right;
        };
        let is_right = bcrypt::verify(password, hash).unwrap_or(false) && user.is_some();
        if is_right {
            self.verified()
                .insert(name.to_owned(), mac(&self.key, password));
        }
        is_right
    }

    fn verified(&self) -> MutexGuard<'_, HashMap<String, [u8; 32]>> {
        // Nothing panics while it is held.
        self.verified.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn mac(key: &[u8; 32], password: &str) -> [u8; 32] {
    let mac = keyed(key).chain_update(password.as_bytes());
    mac.finalize().into_bytes().into()
}

/// Whether this is the password's MAC, in a time that does not depend on where it differs.
fn is_mac(key: &[u8; 32], password: &str, expected: &[u8; 32]) -> bool {
    let mac = keyed(key).chain_update(password.as_bytes());
    mac.verify_slice(expected).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use Permission::{Execute, Query, Ready, Status};

    fn load(text: &str) -> Result<Credentials, String> {
        Credentials::parse(text.as_bytes())
    }

    fn allow(
        credentials: &Credentials,
        shown: Option<(&str, &str)>,
        needed: &[Permission],
    ) -> bool {
        let user = shown.filter(|(name, password)| match credentials.look(name, password) {
            Known::Right => true,
            Known::Wrong => false,
            Known::NotYet => credentials.verify(name, password),
        });
        match user {
            Some((name, _)) => credentials.user_may(name, needed),
            None => credentials.everybody_may(needed),
        }
    }

    #[test]
    fn users_may_what_the_file_says_and_what_everybody_may() {
        let credentials = load(
            r#"[{"username": "bob", "password": "secret", "perms": ["query", "status"]},
                {"username": "root", "password": "r", "perms": ["all"]},
                {"username": "guest", "password": ""},
                {"username": "*", "perms": ["ready"]}]"#,
        )
        .unwrap();
        let bob = Some(("bob", "secret"));
        assert!(allow(&credentials, bob, &[Query]) && allow(&credentials, bob, &[Status, Ready]));
        assert!(!allow(&credentials, bob, &[Execute]));
        assert!(!allow(&credentials, bob, &[Execute, Query]));
        assert!(allow(&credentials, Some(("root", "r")), &[Execute, Query]));
        for shown in [
            None,
            Some(("bob", "Secret")),
            Some(("nobody", "")),
            Some(("*", "")),
        ] {
            assert!(allow(&credentials, shown, &[Ready]), "{shown:?}");
            assert!(!allow(&credentials, shown, &[Query]), "{shown:?}");
        }
        assert!(!allow(&credentials, Some(("guest", "")), &[Query]));
    }

    #[test]
    fn hashes_are_no_passwords_and_what_was_right_is_remembered() {
        let hash = bcrypt::hash("secret", 4).unwrap();
        let credentials = load(&format!(
            r#"[{{"username": "bob", "password": "{hash}", "perms": ["all"]}},
                {{"username": "ann", "password": "plain", "perms": ["all"]}}]"#
        ))
        .unwrap();
        for (name, password, right) in [
            ("bob", "secret", true),
            ("bob", "Secret", false),
            ("bob", hash.as_str(), false),
            ("nobody", "secret", false),
        ] {
            assert_eq!(credentials.look(name, password), Known::NotYet, "{name}");
            assert_eq!(
                credentials.verify(name, password),
                right,
                "{name} {password}"
            );
            credentials.verified().clear();
        }
        assert!(credentials.verify("bob", "secret"));
        assert_eq!(credentials.look("bob", "secret"), Known::Right);
        assert_eq!(credentials.look("bob", "Secret"), Known::NotYet);
        assert_eq!(credentials.look("ann", "plain"), Known::Right);
        assert_eq!(credentials.look("ann", "secret"), Known::Wrong);
    }

    #[test]
    fn what_is_no_list_of_users_is_refused_with_the_reason() {
        for (text, told) in [
            (
                "{}",
                "a value is not of the kind that belongs there, at line 1",
            ),
            ("[{", "no JSON, at line 1"),
            (
                r#"[{"username": "a", "perms": ["fly"]}]"#,
                "unknown variant `fly`",
            ),
            (
                r#"[{"username": "a", "pasword": "x"}]"#,
                "unknown field `pasword`",
            ),
            (
                r#"[{"username": "a"}, {"username": "a"}]"#,
                "the user \"a\" is there twice",
            ),
            (
                r#"[{"username": "a", "password": "$2b$10$short"}]"#,
                "and is none",
            ),
            (
                r#"[{"username": "a", "password": "$2b$31$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy"}]"#,
                "a cost of 31",
            ),
        ] {
            let found = load(text).unwrap_err();
            assert!(found.contains(told), "{found}");
        }
        // What is at the wrong place may be a secret.
        let found = load(r#"[{"username": "a", "password": 7654321}]"#).unwrap_err();
        assert!(!found.contains("7654321"), "{found}");
    }
}
