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
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use notify::event::{CreateKind, ModifyKind, RemoveKind};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use serde::Serialize;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::requests::{Root, Wanted};
use super::{Master, reindex};
use crate::corpus::{Folder, FolderId, GitFolder, Listing};

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

/// How many more folders may be watched, by all roots together.
#[derive(Clone)]
pub(crate) struct WatchRoom(Arc<AtomicUsize>);

impl WatchRoom {
    /// Room for so many folders.
    pub(crate) fn new(limit: usize) -> Self {
        Self(Arc::new(AtomicUsize::new(limit)))
    }

    /// Takes the room of one folder, if there is any.
    fn take(&self) -> bool {
        // Relaxed: only the number counts.
        let less = |left: usize| left.checked_sub(1);
        let taken = self
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
        taken.is_ok()
    }

    fn give_back(&self, folders: usize) {
        self.0.fetch_add(folders, Ordering::Relaxed);
    }
}

/// Follows all roots. Never ends.
pub(crate) async fn run(master: Arc<Master>) {
    let mut followed = JoinSet::new();
    let mut known: Vec<Arc<Root>> = Vec::new();
    loop {
        known.retain(|root| !root.is_over());
        for root in master.roots.list() {
            if !known.iter().any(|held| Arc::ptr_eq(held, &root)) {
                known.push(Arc::clone(&root));
                followed.spawn(follow_root(Arc::clone(&master), root));
            }
        }
        while followed.try_join_next().is_some() {}
        sleep(LOOK_AGAIN).await;
    }
}

/// Follows whichever folder a root is, until it is removed.
async fn follow_root(master: Arc<Master>, root: Arc<Root>) {
    while !root.is_over() {
        follow(&master, &root, &root.wanted()).await;
    }
}

/// Follows a folder until another one is wanted, or folders have come or gone.
async fn follow(master: &Master, root: &Root, wanted: &Wanted) {
    let listing = reindex::walk(master, wanted).await.unwrap_or_default();
    let watch = {
        let (path, room) = (wanted.path.clone(), master.watch_room.clone());
        // Adding thousands of folders takes its time.
        tokio::task::spawn_blocking(move || Watch::new(&path, listing.folders, room)).await
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
    root.set_watch(status);
    while !watch.signal.is_structural() {
        let started = Instant::now();
        let listing = reindex::walk(master, wanted).await.ok();
        let took = started.elapsed();
        if listing
            .as_ref()
            .is_some_and(|listing| !watch.covers(listing))
        {
            return;
        }
        if !is_wanted(root, wanted) {
            return;
        }
        if root.is_news(wanted, listing.as_ref())
            && let Err(error) = master.roots.request_again(root)
        {
            crate::note!("cannot follow {}: {error}", wanted.path.display());
        }
        let regular = if polls || listing.is_none() {
            master.config.poll_every
        } else {
            WALK_ANYWAY
        };
        let longest = regular.max(took * WALK_SHARE);
        wait(master, root, wanted, &watch.signal, longest).await;
    }
}

/// Whether the root is still there, and this folder.
fn is_wanted(root: &Root, wanted: &Wanted) -> bool {
    !root.is_over() && root.wanted() == *wanted
}

/// Waits for an event, and then for what belongs to it; or until it is time for a walk, or another
/// folder is wanted.
async fn wait(master: &Master, root: &Root, wanted: &Wanted, signal: &Signal, longest: Duration) {
    let until = Instant::now() + longest;
    while is_wanted(root, wanted) {
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
    fn note(&self, root: &Path, git: Option<&Path>, event: notify::Result<Event>) {
        let (kind, paths) = match event {
            Ok(event) if event.need_rescan() => (EventKind::Other, Vec::new()),
            Ok(event) => (event.kind, event.paths),
            // Events were lost.
            Err(_) => (EventKind::Other, Vec::new()),
        };
        let is_in = |path: &PathBuf, folder| path.starts_with(folder) && path != folder;
        let is_git = |path: &PathBuf| git.is_some_and(|git| is_in(path, git));
        if !paths.is_empty() && paths.iter().all(is_git) {
            if !matches!(kind, EventKind::Access(_)) {
                self.changed.notify_one();
            }
            return;
        }
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
    /// Where the room of the watched folders goes back to.
    room: WatchRoom,
    /// Ends the watch when it is dropped.
    _watcher: Option<RecommendedWatcher>,
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.room.give_back(self.watched.len());
    }
}

impl Watch {
    /// Watches these folders, as many as there is room for, and those above the root; and what git
    /// has of it, since a commit can change nothing else.
    fn new(root: &Path, folders: Vec<Folder>, room: WatchRoom) -> Self {
        let signal = Arc::new(Signal::default());
        let git = GitFolder::of(root).map(|git| git.path().to_owned());
        let handler = {
            let (signal, root, git) = (Arc::clone(&signal), root.to_owned(), git.clone());
            move |event| signal.note(&root, git.as_deref(), event)
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
            for above in root.ancestors().skip(1).chain(git.as_deref()) {
                let _ = watcher.watch(above, RecursiveMode::NonRecursive);
            }
        }
        let mut is_full = false;
        for folder in folders {
            let refusal = match &mut watcher {
                _ if is_full => reason.clone(),
                Some(_) if !room.take() => {
                    is_full = true;
                    Some("--watch-limit is reached".to_owned())
                }
                Some(watcher) => watcher
                    .watch(&folder.path, RecursiveMode::NonRecursive)
                    .inspect_err(|error| {
                        is_full = matches!(error.kind, notify::ErrorKind::MaxFilesWatch);
                        room.give_back(1);
                    })
                    .err()
                    .map(|error| error.to_string()),
                None => reason.clone(),
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
            room,
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
        let git = Path::new("/a/root/.git");
        signal.note(Path::new("/a/root"), Some(git), Ok(event));
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
        assert_eq!(structural(rename, "/a/root/.git/index"), (true, false));
    }

    #[test]
    fn folders_beyond_the_limit_are_polled_and_named() {
        let dir = tempfile::tempdir().unwrap();
        for folder in ["a", "b", "c"] {
            std::fs::create_dir(dir.path().join(folder)).unwrap();
        }
        let listing = crate::corpus::walk(dir.path()).unwrap();
        let room = WatchRoom::new(1);
        let watch = Watch::new(dir.path(), listing.folders.clone(), room.clone());
        let status = watch.status();
        assert_eq!((status.watched, status.polled), (1, 3));
        assert_eq!(status.polled_folders.len(), 3);
        assert!(status.reason.unwrap().contains("limit"));
        assert!(watch.covers(&listing));
        std::fs::create_dir(dir.path().join("d")).unwrap();
        assert!(!watch.covers(&crate::corpus::walk(dir.path()).unwrap()));
        assert!(!room.take());
        drop(watch);
        assert!(room.take() && !room.take());
    }
}
