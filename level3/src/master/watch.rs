//! Following changes: indexes again when files below the indexed folder change.
//!
//! An event says only that something has changed; what it was is found out by an ordinary job,
//! which compares the whole tree with the index. That costs a walk (a third of a second for the
//! Linux kernel) and cannot drift from the truth when events are lost.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use thiserror::Error;
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

use super::Master;
use super::error::MasterError;

/// How long to gather changes: saving a file and switching a branch are many events.
const SETTLE: Duration = Duration::from_millis(300);

/// How often to look whether another folder is wanted, and to try again after a failure.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Why a folder cannot be followed.
#[derive(Debug, Error)]
enum WatchError {
    #[error(transparent)]
    System(#[from] notify::Error),
    #[error(transparent)]
    Request(#[from] MasterError),
    #[error("the watching thread has failed")]
    Worker(#[from] tokio::task::JoinError),
}

/// Watches whichever folder is wanted.
pub(crate) async fn run(master: Arc<Master>) {
    loop {
        let Some(root) = master.requests.wanted() else {
            sleep(LOOK_AGAIN).await;
            continue;
        };
        if let Err(error) = watch(&master, &root).await {
            crate::note!("cannot watch {}: {error}", root.display());
            sleep(LOOK_AGAIN).await;
        }
    }
}

/// Watches `root` until another folder is wanted.
async fn watch(master: &Master, root: &Path) -> Result<(), WatchError> {
    let changed = Arc::new(Notify::new());
    let _watcher = {
        let (changed, root) = (Arc::clone(&changed), root.to_owned());
        // Adding thousands of folders takes its time.
        tokio::task::spawn_blocking(move || watcher(&root, changed)).await??
    };
    // What happened before the watcher was there, nobody has seen.
    changed.notify_one();
    while master.requests.wanted().as_deref() == Some(root) {
        if timeout(LOOK_AGAIN, changed.notified()).await.is_ok() {
            sleep(SETTLE).await;
            // Only if the folder is still wanted: the request would bring it back.
            if master.requests.wanted().as_deref() == Some(root) {
                master.requests.request(PathBuf::from(root))?;
            }
        }
    }
    Ok(())
}

fn watcher(root: &Path, changed: Arc<Notify>) -> notify::Result<RecommendedWatcher> {
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
        // Indexing reads files, which must not count as a change. Errors mean lost events.
        if !event.is_ok_and(|event| matches!(event.kind, EventKind::Access(_))) {
            changed.notify_one();
        }
    })?;
    watcher.watch(root, RecursiveMode::Recursive)?;
    Ok(watcher)
}
