//! Following changes: indexes again when files below the indexed folder change.
//!
//! An event says only that something may have changed. Whether it has is found out by a walk of the
//! tree (a third of a second for the Linux kernel), and what it was by an ordinary job. So nothing
//! drifts from the truth when events are lost, and a walk from time to time makes up for changes
//! that have no events, as on network file systems. Folders that the system does not let us watch
//! are polled by more frequent walks, and `/status` names them.
//!
//! Folders are watched one by one, hidden ones and our own data excepted, and so are the folders
//! above the root: it may be removed and made again, or renamed. When folders come or go, all is
//! set up anew, because a watch belongs to a folder and not to its name.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use notify::event::{CreateKind, ModifyKind, RemoveKind};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use serde::Serialize;
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

use super::{Master, reindex};
use crate::corpus::{Folder, FolderId, Listing};

/// How often to look whether another folder is wanted, and to try again after a failure.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// How often to walk the tree though there was no event.
const WALK_ANYWAY: Duration = Duration::from_secs(30);

/// Walks take at most this share of the time.
const WALK_SHARE: u32 = 20;

/// Polled folders that `/status` names.
const MAX_NAMED: usize = 20;

/// What `/status` says about following changes.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct WatchStatus {
    /// Folders that are watched.
    watched: usize,
    /// Folders that are polled instead, and the first of them.
    polled: usize,
    polled_folders: Vec<PathBuf>,
    /// Why they are not watched.
    reason: Option<String>,
}

/// The latest [`WatchStatus`].
#[derive(Default)]
pub(crate) struct Watching(Mutex<WatchStatus>);

impl Watching {
    /// How changes are followed at present.
    pub(crate) fn status(&self) -> WatchStatus {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn set(&self, status: WatchStatus) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = status;
    }
}

/// Follows whichever folder is wanted.
pub(crate) async fn run(master: Arc<Master>) {
    loop {
        match master.requests.wanted() {
            Some(root) => follow(&master, &root).await,
            None => sleep(LOOK_AGAIN).await,
        }
    }
}

/// Follows `root` until another folder is wanted, or folders have come or gone.
async fn follow(master: &Master, root: &Path) {
    let folders = match reindex::walk(master, root).await {
        Ok(listing) => listing.folders,
        Err(_) => Vec::new(),
    };
    let limit = master.config.watch_limit;
    let watch = {
        let root = root.to_owned();
        // Adding thousands of folders takes its time.
        tokio::task::spawn_blocking(move || Watch::new(&root, folders, limit)).await
    };
    let Ok(watch) = watch else {
        return sleep(LOOK_AGAIN).await;
    };
    let status = watch.status();
    if let Some(reason) = &status.reason {
        let polled = status.polled;
        crate::note!("{polled} folders cannot be watched and are polled: {reason}");
    }
    let polls = status.polled > 0;
    master.watching.set(status);
    while !watch.signal.is_structural() {
        let started = Instant::now();
        let listing = reindex::walk(master, root).await.ok();
        let took = started.elapsed();
        if listing
            .as_ref()
            .is_some_and(|listing| !watch.covers(listing))
        {
            return;
        }
        if master.requests.wanted().as_deref() != Some(root) {
            return;
        }
        if master.requests.is_news(root, listing.as_ref())
            && let Err(error) = master.requests.request(root.to_owned())
        {
            crate::note!("cannot follow {}: {error}", root.display());
        }
        let regular = if polls || listing.is_none() {
            master.config.poll_every
        } else {
            WALK_ANYWAY
        };
        wait(master, root, &watch.signal, regular.max(took * WALK_SHARE)).await;
    }
}

/// Waits for an event, and then for what belongs to it; or until it is time for a walk, or another
/// folder is wanted.
async fn wait(master: &Master, root: &Path, signal: &Signal, longest: Duration) {
    let until = Instant::now() + longest;
    while master.requests.wanted().as_deref() == Some(root) {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return;
        }
        let event = timeout(left.min(LOOK_AGAIN), signal.changed.notified());
        if event.await.is_ok() {
            // Saving a file and switching a branch are many events.
            return sleep(master.config.watch_settle).await;
        }
    }
}

/// What events leave behind.
#[derive(Default)]
struct Signal {
    changed: Notify,
    /// Whether folders have come or gone.
    structural: AtomicBool,
}

impl Signal {
    fn is_structural(&self) -> bool {
        self.structural.load(Ordering::Relaxed)
    }

    /// Takes note of an event, which may be about something outside `root`: the folders above it
    /// have other entries as well.
    fn note(&self, root: &Path, event: notify::Result<Event>) {
        let (kind, paths) = match event {
            Ok(event) if event.need_rescan() => (EventKind::Other, Vec::new()),
            Ok(event) => (event.kind, event.paths),
            // Events were lost.
            Err(_) => (EventKind::Other, Vec::new()),
        };
        let concerns = |path: &PathBuf| path.starts_with(root) || root.starts_with(path);
        if !paths.is_empty() && !paths.iter().any(concerns) {
            return;
        }
        let is_above = paths.iter().any(|path| root.starts_with(path));
        let is_content = matches!(
            kind,
            EventKind::Modify(ModifyKind::Data(_) | ModifyKind::Metadata(_))
        );
        let is_file = matches!(
            kind,
            EventKind::Create(CreateKind::File) | EventKind::Remove(RemoveKind::File)
        );
        // Indexing reads files, which must not count as a change. A folder above the root changes
        // with every file that is made beside it.
        if matches!(kind, EventKind::Access(_)) || (is_above && is_content) {
            return;
        }
        if is_above || !(is_content || is_file) {
            self.structural.store(true, Ordering::Relaxed);
        }
        self.changed.notify_one();
    }
}

/// The folders of a tree under watch.
struct Watch {
    signal: Arc<Signal>,
    watched: HashSet<(PathBuf, FolderId)>,
    polled: HashSet<(PathBuf, FolderId)>,
    reason: Option<String>,
    /// Ends the watch when it is dropped.
    _watcher: Option<RecommendedWatcher>,
}

impl Watch {
    /// Watches these folders, at most `limit` of them, and those above the root.
    fn new(root: &Path, folders: Vec<Folder>, limit: usize) -> Self {
        let signal = Arc::new(Signal::default());
        let handler = {
            let (signal, root) = (Arc::clone(&signal), root.to_owned());
            move |event| signal.note(&root, event)
        };
        let (mut watched, mut polled) = (HashSet::new(), HashSet::new());
        let mut reason = None;
        let mut watcher = match notify::recommended_watcher(handler) {
            Ok(watcher) => Some(watcher),
            Err(error) => {
                reason = Some(error.to_string());
                None
            }
        };
        // Those that cannot be watched hide what happens to the root, which walks will tell.
        if let Some(watcher) = &mut watcher {
            for above in root.ancestors().skip(1) {
                let _ = watcher.watch(above, RecursiveMode::NonRecursive);
            }
        }
        let mut is_full = false;
        for folder in folders {
            let refusal = match &mut watcher {
                _ if watched.len() >= limit => Some(format!("--watch-limit {limit}")),
                Some(watcher) if !is_full => watcher
                    .watch(&folder.path, RecursiveMode::NonRecursive)
                    .inspect_err(|error| {
                        is_full = matches!(error.kind, notify::ErrorKind::MaxFilesWatch);
                    })
                    .err()
                    .map(|error| error.to_string()),
                _ => reason.clone(),
            };
            let key = (folder.path, folder.id);
            if refusal.is_some() {
                reason = reason.or(refusal);
                polled.insert(key);
            } else {
                watched.insert(key);
            }
        }
        Self {
            signal,
            watched,
            polled,
            reason,
            _watcher: watcher,
        }
    }

    /// Whether these are the folders that are followed.
    fn covers(&self, listing: &Listing) -> bool {
        let is_known = |folder: &Folder| {
            let key = (folder.path.clone(), folder.id);
            self.watched.contains(&key) || self.polled.contains(&key)
        };
        listing.folders.len() == self.watched.len() + self.polled.len()
            && listing.folders.iter().all(is_known)
    }

    fn status(&self) -> WatchStatus {
        let mut polled: Vec<PathBuf> = self.polled.iter().map(|(path, _)| path.clone()).collect();
        polled.sort();
        polled.truncate(MAX_NAMED);
        WatchStatus {
            watched: self.watched.len(),
            polled: self.polled.len(),
            polled_folders: polled,
            reason: self.reason.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn structural(kind: EventKind, path: &str) -> (bool, bool) {
        let signal = Signal::default();
        let event = Event::new(kind).add_path(path.into());
        signal.note(Path::new("/a/root"), Ok(event));
        let changed = futures_util::FutureExt::now_or_never(signal.changed.notified());
        (changed.is_some(), signal.is_structural())
    }

    #[test]
    fn events_are_told_apart() {
        use notify::event::{AccessKind, DataChange, RenameMode};
        let data = EventKind::Modify(ModifyKind::Data(DataChange::Any));
        let rename = EventKind::Modify(ModifyKind::Name(RenameMode::Any));
        let folder = EventKind::Create(CreateKind::Folder);
        assert_eq!(structural(data, "/a/root/file"), (true, false));
        assert_eq!(structural(rename, "/a/root/b"), (true, true));
        assert_eq!(structural(folder, "/a/root"), (true, true));
        assert_eq!(structural(rename, "/a"), (true, true));
        assert_eq!(structural(folder, "/a/other"), (false, false));
        assert_eq!(
            structural(EventKind::Access(AccessKind::Any), "/a/root/file"),
            (false, false)
        );
        assert_eq!(structural(EventKind::Other, "/a/root"), (true, true));
    }

    #[test]
    fn folders_beyond_the_limit_are_polled_and_named() {
        let dir = tempfile::tempdir().unwrap();
        for folder in ["a", "b", "c"] {
            std::fs::create_dir(dir.path().join(folder)).unwrap();
        }
        let listing = crate::corpus::walk(dir.path()).unwrap();
        let watch = Watch::new(dir.path(), listing.folders.clone(), 1);
        let status = watch.status();
        assert_eq!((status.watched, status.polled), (1, 3));
        assert_eq!(status.polled_folders.len(), 3);
        assert!(status.reason.unwrap().contains("limit"));
        assert!(watch.covers(&listing));
        std::fs::create_dir(dir.path().join("d")).unwrap();
        assert!(!watch.covers(&crate::corpus::walk(dir.path()).unwrap()));
    }
}
