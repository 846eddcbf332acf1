//! The server's branch as seen from the clone: fetched, read, and watched while threads search.

use crate::chain::{DIFFICULTY, Head, HeadError, LEDGER, difficulty};
use crate::git::{GitError, Object, Repository};
use crate::object_id::ObjectId;
use crate::tree::Tree;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use thiserror::Error;

/// The branch that is the chain.
pub const BRANCH: &str = "master";

/// Where fetched heads are kept: apart from `refs/remotes/origin`, which pushes update at the same
/// time.
const UPSTREAM: &str = "refs/gitcoin/upstream";

/// A head, and when the fetch that brought it ended.
#[derive(Clone, Debug)]
pub struct Fetched {
    /// The server's head.
    pub head: Head,
    /// The end of the fetch, before anything was read.
    pub at: Instant,
}

/// Why there is no head to mine on.
#[derive(Debug, Error)]
pub enum UpstreamError {
    /// Git failed, perhaps for a moment only.
    #[error(transparent)]
    Git(#[from] GitError),
    /// The head was fetched, and it cannot be mined on.
    #[error(transparent)]
    Head(#[from] HeadError),
}

/// Something the watch has to tell, and when it learned of it.
#[derive(Debug)]
pub struct Report {
    /// [`Upstream::changes`] when the fetch began. If another head has been chosen since, the news
    /// may be older than that head.
    pub changes: u64,
    /// The news.
    pub event: Event,
}

/// What the watch found.
#[derive(Debug)]
pub enum Event {
    /// The server's head is another one than the one mined on.
    Moved(Box<Fetched>),
    /// The server could not be asked; the old head may still be good. Sent once for each outage.
    Trouble(GitError),
    /// The server answers again, and its head is the one mined on.
    Recovered,
    /// The server's head cannot be mined on.
    Unusable(HeadError),
}

/// The server's branch.
#[derive(Debug)]
pub struct Upstream<'a> {
    repository: &'a Repository,
    /// Held during a fetch, because two fetches cannot write one reference at a time.
    fetching: Mutex<()>,
    mined_on: Mutex<MinedOn>,
}

/// The head that threads work on.
#[derive(Debug, Default)]
struct MinedOn {
    id: Option<ObjectId>,
    changes: u64,
}

impl<'a> Upstream<'a> {
    /// The branch `master` of the repository's `origin`.
    pub fn new(repository: &'a Repository) -> Self {
        Self {
            repository,
            fetching: Mutex::new(()),
            mined_on: Mutex::default(),
        }
    }

    /// Fetches the branch and reads what mining on its head needs.
    pub fn fetch(&self) -> Result<Fetched, UpstreamError> {
        self.fetch_by(self.repository)
    }

    /// The same with another repository's limits.
    fn fetch_by(&self, repository: &Repository) -> Result<Fetched, UpstreamError> {
        let _fetching = locked(&self.fetching);
        repository.fetch(BRANCH, UPSTREAM)?;
        let at = Instant::now();
        let head = read_head(repository)?;
        Ok(Fetched { head, at })
    }

    /// Says which head is mined on from now, so that [`Upstream::watch`] reports other ones only.
    pub fn set_mined_on(&self, id: ObjectId) {
        let mut mined_on = locked(&self.mined_on);
        mined_on.id = Some(id);
        mined_on.changes += 1;
    }

    /// How often [`Upstream::set_mined_on`] was called.
    pub fn changes(&self) -> u64 {
        locked(&self.mined_on).changes
    }

    /// Fetches the branch every `interval` and reports, until the other end of `end` is dropped.
    /// Each report is sent before `alarm` is called. `repository` is the same one, with limits of
    /// its own.
    pub fn watch(
        &self,
        repository: &Repository,
        interval: Duration,
        end: &Receiver<()>,
        reports: &Sender<Report>,
        alarm: impl Fn(),
    ) {
        let mut is_silent = false;
        while end.recv_timeout(interval) == Err(RecvTimeoutError::Timeout) {
            let changes = self.changes();
            let fetched = self.fetch_by(repository);
            let mut mined_on = locked(&self.mined_on);
            let was_silent = is_silent;
            is_silent = matches!(fetched, Err(UpstreamError::Git(_)));
            if mined_on.changes != changes && !is_silent && !was_silent {
                continue;
            }
            let event = match fetched {
                Ok(fetched) if mined_on.id == Some(fetched.head.id) => {
                    if !was_silent {
                        continue;
                    }
                    Event::Recovered
                }
                Ok(fetched) => {
                    // Once is enough to report it.
                    mined_on.id = Some(fetched.head.id);
                    Event::Moved(Box::new(fetched))
                }
                Err(UpstreamError::Git(_)) if was_silent => continue,
                Err(UpstreamError::Git(error)) => Event::Trouble(error),
                Err(UpstreamError::Head(error)) => Event::Unusable(error),
            };
            let is_news = matches!(event, Event::Moved(_) | Event::Unusable(_));
            if reports.send(Report { changes, event }).is_err() {
                return;
            }
            if is_news {
                alarm();
            }
        }
    }
}

/// Reads the fetched head, all from one process of git.
fn read_head(repository: &Repository) -> Result<Head, UpstreamError> {
    let file = |name| format!("{UPSTREAM}:{name}");
    let names = [
        UPSTREAM.to_owned(),
        format!("{UPSTREAM}^{{tree}}"),
        file(LEDGER),
        file(DIFFICULTY),
    ];
    let mut objects = repository
        .read(&names.each_ref().map(String::as_str))?
        .into_iter();
    let mut next = || objects.next().flatten();
    let damaged = || GitError::Unexpected {
        what: "cat-file",
        answer: format!("{UPSTREAM} is no commit"),
    };
    let commit = next().ok_or_else(damaged)?;
    let tree = Tree::new(next().ok_or_else(damaged)?.content);
    let mut blob = |name| -> Result<Vec<u8>, UpstreamError> {
        let object = next();
        let entry = tree.file(name).map_err(HeadError::Tree)?;
        let same = |object: &Object| entry.is_some_and(|entry| entry.id == object.id);
        let object = object.filter(same).ok_or(HeadError::NoFile(name))?;
        Ok(object.content)
    };
    let ledger = blob(LEDGER)?;
    let (difficulty, target) = difficulty(&blob(DIFFICULTY)?)?;
    Ok(Head {
        id: commit.id,
        tree,
        ledger,
        target,
        difficulty,
    })
}

/// A panic elsewhere leaves nothing half done in what these locks protect.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
