//! Private folders for nodes without a data folder.
//!
//! A folder is removed when its node ends. A node that is killed cannot do so; then the next one
//! to start does, which it can tell by the lock that only a living node holds.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use tempfile::TempDir;

const PREFIX: &str = "level3-node-";

/// Makes a folder that is removed when the value is dropped.
pub fn folder(id: u32) -> io::Result<TempDir> {
    let parent = std::env::temp_dir();
    sweep(&parent)?;
    tempfile::Builder::new()
        .prefix(&format!("{PREFIX}{id}-"))
        .tempdir_in(parent)
}

/// Removes folders of nodes that were killed.
fn sweep(parent: &Path) -> io::Result<()> {
    for item in fs::read_dir(parent)? {
        let path = item?.path();
        let ours = path.file_name().and_then(|name| name.to_str());
        if !ours.is_some_and(|name| name.starts_with(PREFIX)) {
            continue;
        }
        // A folder without a lock is one whose node is just starting, or not ours to open.
        let Ok(lock) = File::open(path.join("node/lock")) else {
            continue;
        };
        if lock.try_lock().is_ok()
            && let Err(error) = fs::remove_dir_all(&path)
        {
            eprintln!("cannot remove {}: {error}", path.display());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_folders_of_dead_nodes_are_swept() {
        let parent = tempfile::tempdir().unwrap();
        let make = |name: &str| {
            let dir = parent.path().join(name).join("node");
            fs::create_dir_all(&dir).unwrap();
            File::create(dir.join("lock")).unwrap()
        };
        let alive = make("level3-node-1-a");
        alive.lock().unwrap();
        drop(make("level3-node-2-b"));
        drop(make("other"));
        sweep(parent.path()).unwrap();
        assert!(parent.path().join("level3-node-1-a").exists());
        assert!(!parent.path().join("level3-node-2-b").exists());
        assert!(parent.path().join("other").exists());
    }
}
