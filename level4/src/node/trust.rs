//! Whether this node's state is the cluster's, as the threads and the folder know it.
//!
//! A node whose state has parted from the others' notes that in its folder, so that it does not answer
//! from the same state after a restart; the note goes when the state has been rebuilt.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use super::locked;
use crate::consensus::Standing;
use crate::ids::Index;
use crate::notes::note;

const FILE: &str = "parted";

/// Shared by the threads.
#[derive(Debug)]
pub(super) struct Trust {
    home: PathBuf,
    standing: Mutex<Standing>,
}

/// What an earlier run noted: the state in the folder is not the cluster's from this index on.
pub(super) fn load(home: &Path) -> io::Result<Option<Index>> {
    match fs::read_to_string(home.join(FILE)) {
        // However it was damaged: it was there.
        Ok(text) => Ok(Some(Index::new(text.trim().parse().unwrap_or_default()))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

impl Trust {
    pub(super) fn new(home: PathBuf, parted: Option<Index>) -> Self {
        let standing = parted.map_or(Standing::Sound, Standing::Parted);
        Self {
            home,
            standing: Mutex::new(standing),
        }
    }

    /// What is known about the state.
    pub(super) fn get(&self) -> Standing {
        *locked(&self.standing)
    }

    /// Whether the state may be shown to anybody.
    pub(super) fn is_sound(&self) -> bool {
        self.get() == Standing::Sound
    }

    /// The standing has changed.
    pub(super) fn standing(&self, standing: Standing) {
        *locked(&self.standing) = standing;
        let written = match standing {
            Standing::Sound => {
                note(format_args!("this node's state agrees with the others'"));
                self.remove()
            }
            Standing::Doubtful(index) => {
                note(format_args!(
                    "replicas differ at index {index}, and no majority is known to agree: nothing is answered until one is"
                ));
                Ok(())
            }
            Standing::Parted(index) => {
                note(format_args!(
                    "this node's state has parted from the majority's at index {index}: it answers nothing until it is rebuilt from a snapshot"
                ));
                self.save(index)
            }
        };
        if let Err(error) = written {
            let path = self.home.join(FILE).display().to_string();
            note(format_args!("{path} cannot be written: {error}"));
        }
    }

    fn save(&self, index: Index) -> io::Result<()> {
        let mut file = File::create(self.home.join(FILE))?;
        writeln!(file, "{index}")?;
        file.sync_all()?;
        File::open(&self.home)?.sync_all()
    }

    fn remove(&self) -> io::Result<()> {
        match fs::remove_file(self.home.join(FILE)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_found_is_remembered_until_it_is_mended() {
        let home = tempfile::tempdir().unwrap();
        assert_eq!(load(home.path()).unwrap(), None);
        let trust = Trust::new(home.path().to_owned(), None);
        trust.standing(Standing::Parted(Index::new(77)));
        assert!(!trust.is_sound());
        assert_eq!(load(home.path()).unwrap(), Some(Index::new(77)));
        let trust = Trust::new(home.path().to_owned(), Some(Index::new(77)));
        assert!(!trust.is_sound());
        trust.standing(Standing::Sound);
        assert_eq!(load(home.path()).unwrap(), None);
        fs::write(home.path().join(FILE), "").unwrap();
        assert_eq!(load(home.path()).unwrap(), Some(Index::START));
    }
}
