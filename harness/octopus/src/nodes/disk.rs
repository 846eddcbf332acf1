//! A small file system for one node's folder, which can be full: a tmpfs of limited size, so
//! mounting it needs the rights of root.

use std::{
    fs::File,
    io::{self, ErrorKind, Write},
    path::{Path, PathBuf},
};

use crate::{
    error::Error,
    process::watcher::{self, Notice},
};

/// The file that fills the disk up.
pub(super) const BALLAST: &str = ".ballast";

/// A mounted file system. Dropping it unmounts it.
#[derive(Debug)]
pub struct SmallDisk {
    folder: PathBuf,
}

impl SmallDisk {
    /// Mounts a file system of so many bytes at an empty folder.
    ///
    /// # Errors
    /// Not on Linux, or no right to mount.
    #[cfg(target_os = "linux")]
    pub fn mount(folder: &Path, bytes: u64) -> Result<Self, Error> {
        use crate::error::Doing;
        use rustix::mount::{MountFlags, mount};
        let options = std::ffi::CString::new(format!("size={bytes},mode=0777"))
            .map_err(io::Error::from)
            .doing(|| "cannot name a size".to_owned())?;
        let flags = MountFlags::NODEV | MountFlags::NOSUID;
        mount("tmpfs", folder, "tmpfs", flags, options.as_c_str())
            .map_err(io::Error::from)
            .doing(|| {
                let shown = folder.display();
                format!("cannot mount a small disk at {shown} (it needs root)")
            })?;
        watcher::tell(&Notice::Mounted(folder));
        Ok(Self {
            folder: folder.to_owned(),
        })
    }

    /// Small disks need Linux's tmpfs.
    #[cfg(not(target_os = "linux"))]
    pub fn mount(_folder: &Path, _bytes: u64) -> Result<Self, Error> {
        Err(Error::NoSmallDisks)
    }

    /// Takes all the room that is left.
    pub fn fill(&mut self) -> io::Result<()> {
        let mut ballast = File::create(self.folder.join(BALLAST))?;
        // Blocks first, then the bytes that no whole block has room for.
        for size in [64 * 1024, 1] {
            let block = vec![0; size];
            loop {
                match ballast.write_all(&block) {
                    Ok(()) => {}
                    Err(error) if error.kind() == ErrorKind::StorageFull => break,
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(())
    }

    /// Makes the room free again.
    pub fn free(&mut self) -> io::Result<()> {
        std::fs::remove_file(self.folder.join(BALLAST))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Detached, as a dying process may still have a file open.
        #[cfg(target_os = "linux")]
        let _already_gone =
            rustix::mount::unmount(&self.folder, rustix::mount::UnmountFlags::DETACH);
        watcher::tell(&Notice::Unmounted(&self.folder));
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_takes_nothing_until_it_is_freed() {
        let home = tempfile::tempdir().unwrap();
        // Without the right to mount there is nothing to test but the message.
        let mut disk = match SmallDisk::mount(home.path(), 256 * 1024) {
            Ok(disk) => disk,
            Err(error) => {
                assert!(error.to_string().contains("needs root"), "{error}");
                return;
            }
        };
        disk.fill().unwrap();
        let refused = std::fs::write(home.path().join("file"), "x").unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::StorageFull);
        disk.free().unwrap();
        std::fs::write(home.path().join("file"), "x").unwrap();
        drop(disk);
        assert!(!home.path().join("file").exists());
    }
}
