//! Private folders for nodes without a data folder.
//!
//! A folder is removed when its node ends. A node that is killed cannot do so; then the next one
//! to start does, which it can tell by the lock that only a living node holds. Making and sweeping
//! happen under a lock of their own, so that nobody sweeps a folder whose node has made it and has
//! not yet locked it. All of that is in a folder of the user's own: another user could take a lock
//! that lies where all can write.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

const PREFIX: &str = "level3-node-";
const OWNER: &str = "owner";

/// A folder that is removed when the value is dropped.
pub struct PrivateFolder {
    dir: TempDir,
    /// Locked for as long as it is open.
    _owner: File,
}

impl PrivateFolder {
    /// Makes a folder for node `id` among the system's temporary files.
    pub fn new(id: u32) -> io::Result<Self> {
        let temporary = std::env::temp_dir();
        match own_folder(&temporary) {
            Ok(parent) => Self::below(&parent, id),
            // Somebody else was there first. A folder that nobody can foresee will do, though one
            // that is left behind by a kill is then not swept.
            Err(error) => {
                crate::note!("{error}; using another folder");
                Self::make(&temporary, id)
            }
        }
    }

    fn below(parent: &Path, id: u32) -> io::Result<Self> {
        let turn = File::create(parent.join("lock"))?;
        turn.lock()?;
        sweep(parent)?;
        Self::make(parent, id)
    }

    fn make(parent: &Path, id: u32) -> io::Result<Self> {
        let dir = tempfile::Builder::new()
            .prefix(&format!("{PREFIX}{id}-"))
            .tempdir_in(parent)?;
        let owner = File::create(dir.path().join(OWNER))?;
        owner.lock()?;
        Ok(Self { dir, _owner: owner })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }
}

/// The user's folder among the temporary files, where all can write: made if need be, and refused
/// if anybody else could have put something in it.
fn own_folder(temporary: &Path) -> io::Result<PathBuf> {
    use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
    let user = rustix::process::geteuid().as_raw();
    let path = temporary.join(format!("level3-{user}"));
    match fs::DirBuilder::new().mode(0o700).create(&path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let meta = fs::symlink_metadata(&path)?;
    if !meta.is_dir() || meta.uid() != user || meta.mode() & 0o077 != 0 {
        let error = format!("{} is open to others than this user", path.display());
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, error));
    }
    Ok(path)
}

/// Removes folders of nodes that were killed.
fn sweep(parent: &Path) -> io::Result<()> {
    for path in folders(parent)? {
        // What has no such file, or one that is not ours to open, is somebody else's.
        let Ok(owner) = File::open(path.join(OWNER)) else {
            continue;
        };
        if owner.try_lock().is_ok()
            && let Err(error) = fs::remove_dir_all(&path)
        {
            crate::note!("cannot remove {}: {error}", path.display());
        }
    }
    Ok(())
}

fn folders(parent: &Path) -> io::Result<Vec<PathBuf>> {
    let mut folders = Vec::new();
    for item in fs::read_dir(parent)? {
        let item = item?;
        if item
            .file_name()
            .to_str()
            .is_some_and(|name| name.starts_with(PREFIX))
        {
            folders.push(item.path());
        }
    }
    Ok(folders)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_folders_of_dead_nodes_are_swept() {
        let parent = tempfile::tempdir().unwrap();
        let alive = PrivateFolder::below(parent.path(), 1).unwrap();
        let dead = parent.path().join("level3-node-2-x");
        let stranger = parent.path().join("level3-node-3-x");
        for dir in [&dead, &stranger] {
            fs::create_dir(dir).unwrap();
        }
        File::create(dead.join(OWNER)).unwrap();
        let next = PrivateFolder::below(parent.path(), 4).unwrap();
        assert!(alive.path().exists() && next.path().exists() && stranger.exists());
        assert!(!dead.exists());
        drop((alive, next));
        assert_eq!(folders(parent.path()).unwrap(), [stranger]);
    }

    #[test]
    fn a_folder_that_others_can_write_to_is_refused() {
        use std::os::unix::fs::PermissionsExt as _;
        let temporary = tempfile::tempdir().unwrap();
        let own = own_folder(temporary.path()).unwrap();
        assert_eq!(own_folder(temporary.path()).unwrap(), own);
        fs::set_permissions(&own, fs::Permissions::from_mode(0o777)).unwrap();
        assert!(own_folder(temporary.path()).is_err());
        fs::remove_dir(&own).unwrap();
        let elsewhere = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(elsewhere.path(), &own).unwrap();
        assert!(own_folder(temporary.path()).is_err());
    }

    /// Nodes of one cluster start at the same moment and must not sweep each other.
    #[test]
    fn nodes_that_start_together_keep_their_folders() {
        let temporary = tempfile::tempdir().unwrap();
        let parent = temporary.path();
        let made: Vec<PrivateFolder> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..16)
                .map(|id| scope.spawn(move || PrivateFolder::below(parent, id).unwrap()))
                .collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .collect()
        });
        assert!(made.iter().all(|folder| folder.path().join(OWNER).exists()));
    }
}
