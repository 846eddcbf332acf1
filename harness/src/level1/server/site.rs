//! What is served: a repository, the players who may push to it, and the state of the game.

use std::{
    collections::{BTreeMap, HashMap},
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::Result;
use axum::http::{HeaderMap, header};
use base64::{Engine, prelude::BASE64_STANDARD};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

use super::{
    super::{
        repository::Repository,
        rounds::book::Records,
        scoreboard::{Landings, Scoreboard, Standing},
    },
    events::Feed,
};
use crate::web::same;

/// The most git processes at a time; further requests wait.
const GIT_MAX: usize = 16;

/// Something that happens to the chain while a player waits.
pub type Surprise = Box<dyn FnOnce() -> Result<()> + Send>;

/// What is served, and what changes while it is.
pub struct Site {
    pub(super) repository: Repository,
    title: String,
    /// Names and tokens.
    players: BTreeMap<String, String>,
    standing: Mutex<Standing>,
    /// Read when the scoreboard is first asked for.
    landings: Mutex<Option<Landings>>,
    /// The rounds before, where a book is kept.
    records: Option<Mutex<Records>>,
    /// Pushes that each player began, whatever became of them.
    attempts: Mutex<HashMap<String, u64>>,
    /// What is done before the first push of a player, and is gone then.
    before_push: Mutex<Option<Surprise>>,
    /// Whose turn it is, for each player that pushed.
    turns: Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>,
    pub(super) git: Semaphore,
    pub(super) tasks: TaskTracker,
    /// What pages that are open are told.
    pub(super) feed: Feed,
}

impl Site {
    /// A site for a repository and the players, names with tokens, who may push to it.
    pub fn new(
        repository: Repository,
        title: impl Into<String>,
        players: impl IntoIterator<Item = (String, String)>,
    ) -> Self {
        Self {
            repository,
            title: title.into(),
            players: players.into_iter().collect(),
            standing: Mutex::default(),
            landings: Mutex::default(),
            records: None,
            attempts: Mutex::default(),
            before_push: Mutex::default(),
            turns: Mutex::default(),
            git: Semaphore::new(GIT_MAX),
            tasks: TaskTracker::new(),
            feed: Feed::default(),
        }
    }

    /// The same site with the pages of the rounds before.
    #[must_use]
    pub fn with_records(self, records: Records) -> Self {
        Self {
            records: Some(Mutex::new(records)),
            ..self
        }
    }

    /// What is being played, for people.
    pub fn title(&self) -> &str {
        &self.title
    }

    /// Changes what the scoreboard says beside the coins.
    pub fn set_standing(&self, standing: Standing) {
        *lock(&self.standing) = standing;
    }

    /// Does something before the first push of a player is answered.
    pub fn surprise(&self, surprise: Surprise) {
        *lock(&self.before_push) = Some(surprise);
    }

    pub(super) fn take_surprise(&self) -> Option<Surprise> {
        lock(&self.before_push).take()
    }

    /// How many pushes a player has begun, landed or not.
    pub fn attempts(&self, player: &str) -> u64 {
        let attempts = lock(&self.attempts);
        attempts.get(player).copied().unwrap_or_default()
    }

    pub(super) fn count_attempt(&self, player: &str) {
        *lock(&self.attempts).entry(player.to_owned()).or_default() += 1;
    }

    /// The path of the repository's URL: its folder's name.
    pub fn path(&self) -> String {
        let name = self.repository.dir().file_name().unwrap_or_default();
        format!("/{}", name.to_string_lossy())
    }

    /// The URL of the repository on `address`; with name and token, if a player is named.
    pub fn url(&self, address: SocketAddr, player: Option<&str>) -> String {
        let token = player.and_then(|player| Some((player, self.players.get(player)?)));
        let login = token.map_or_else(String::new, |(player, token)| {
            format!("{}:{token}@", utf8_percent_encode(player, &RESERVED))
        });
        format!("http://{login}{}{}", shown(address), self.path())
    }

    /// The scoreboard now.
    pub fn scoreboard(&self) -> Result<Scoreboard> {
        let head = self.repository.head()?;
        let standing = lock(&self.standing).clone();
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now_s = now.unwrap_or_default().as_secs();
        let mut landings = lock(&self.landings);
        let landings = match landings.as_mut() {
            Some(landings) => {
                landings.refresh()?;
                landings
            }
            None => landings.insert(Landings::new(&self.repository)?),
        };
        let board = Scoreboard {
            title: self.title.clone(),
            path: self.path(),
            head: head.to_string(),
            difficulty: landings.difficulty().to_owned(),
            coins: standing.coins(self.players.keys(), landings, now_s),
            frozen: standing.is_frozen(now_s),
            phase: standing.phase,
            round: standing.round,
            ratings: standing.ratings,
            rounds: standing.rounds,
            course: standing.course,
            now_s,
        };
        Ok(board.with_rates())
    }

    /// Reads in the book; `None` where none is kept.
    pub fn read_records<T>(&self, read: impl FnOnce(&Records) -> Result<T>) -> Result<Option<T>> {
        let records = self.records.as_ref().map(lock);
        records.map(|records| read(&records)).transpose()
    }

    /// The player that a request's credentials belong to, if they are right.
    pub(super) fn authenticate(&self, headers: &HeaderMap) -> Option<String> {
        let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
        let (scheme, encoded) = value.split_once(' ')?;
        let decoded = BASE64_STANDARD.decode(encoded.trim()).ok()?;
        let text = String::from_utf8(decoded).ok()?;
        let (name, token) = text.split_once(':')?;
        let right = scheme.eq_ignore_ascii_case("basic")
            && same(token.as_bytes(), self.players.get(name)?.as_bytes());
        right.then(|| name.to_owned())
    }

    /// What a player's pushes wait for; players are known, so there are not many.
    pub(super) fn turn(&self, player: &str) -> Arc<tokio::sync::Mutex<()>> {
        Arc::clone(lock(&self.turns).entry(player.to_owned()).or_default())
    }
}

/// A panic of somebody who held it does not spoil what is behind it.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The address as players write it: this machine's name where we listen on all its addresses.
pub fn shown(address: SocketAddr) -> String {
    if address.ip().is_unspecified() {
        let system = rustix::system::uname();
        format!("{}:{}", system.nodename().to_string_lossy(), address.port())
    } else {
        address.to_string()
    }
}

/// What of a name is encoded in the user part of a URL (RFC 3986, 3.2.1).
const RESERVED: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_');

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_encoded_for_urls() {
        let encoded = utf8_percent_encode("a b@c.d-e_F9", &RESERVED);
        assert_eq!(encoded.to_string(), "a%20b%40c.d-e_F9");
    }

    #[test]
    fn an_address_of_all_interfaces_is_shown_by_name() {
        assert_eq!(shown("127.0.0.1:80".parse().unwrap()), "127.0.0.1:80");
        let name = shown("0.0.0.0:80".parse().unwrap());
        assert!(
            !name.starts_with("0.0.0.0") && name.ends_with(":80"),
            "{name}"
        );
    }
}
