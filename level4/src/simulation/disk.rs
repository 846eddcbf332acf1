//! A disk that keeps only what was synced: a crash loses names and sectors written since, in any
//! combination.

use std::collections::BTreeMap;
use std::io;

use crate::log::Disk;
use rand::Rng;

/// Writes shorter than this are whole or lost; longer ones can tear between.
const SECTOR: usize = 512;

#[derive(Debug, Default, Clone)]
struct File {
    content: Vec<u8>,
    durable: Vec<u8>,
}

/// Files by name, now and as a crash would leave them.
#[derive(Debug, Default, Clone)]
pub struct SimulatedDisk {
    files: BTreeMap<u64, File>,
    names: BTreeMap<String, u64>,
    durable_names: BTreeMap<String, u64>,
    next: u64,
    /// Operations until the power fails; `None`: it does not.
    pub budget: Option<u64>,
}

impl SimulatedDisk {
    fn spend(&mut self) -> io::Result<()> {
        match &mut self.budget {
            Some(0) => Err(io::Error::other("power failure")),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn id(&self, name: &str) -> io::Result<u64> {
        self.names
            .get(name)
            .copied()
            .ok_or(io::ErrorKind::NotFound.into())
    }

    /// Puts other content into a file, or takes it away, for good.
    pub fn replace(&mut self, name: &str, content: Option<Vec<u8>>) {
        match content {
            None => drop(self.names.remove(name)),
            Some(content) => {
                self.next += 1;
                let durable = content.clone();
                self.files.insert(self.next, File { content, durable });
                self.names.insert(name.to_owned(), self.next);
            }
        }
        self.durable_names = self.names.clone();
    }

    /// What is left after the power failed: of everything not synced, a random part.
    #[must_use]
    pub fn crash(mut self, rng: &mut impl Rng) -> Self {
        self.budget = None;
        if rng.random_bool(0.5) {
            self.names = self.durable_names.clone();
        }
        self.durable_names = self.names.clone();
        for file in self.files.values_mut() {
            let mut left = file.durable.clone();
            if rng.random_bool(0.7) {
                left.resize(file.content.len(), 0);
                for (start, sector) in (0..).step_by(SECTOR).zip(file.content.chunks(SECTOR)) {
                    if rng.random_bool(0.5) {
                        left[start..start + sector.len()].copy_from_slice(sector);
                    }
                }
            }
            file.content.clone_from(&left);
            file.durable = left;
        }
        self
    }
}

impl Disk for SimulatedDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.names.keys().cloned().collect())
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        Ok(self.files[&self.id(name)?].content.clone())
    }

    fn create(&mut self, name: &str, size: u64) -> io::Result<()> {
        self.spend()?;
        self.next += 1;
        let content = vec![0; size as usize];
        self.files.insert(
            self.next,
            File {
                content,
                durable: Vec::new(),
            },
        );
        self.names.insert(name.to_owned(), self.next);
        Ok(())
    }

    fn write(&mut self, name: &str, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let result = self.spend();
        let id = self.id(name)?;
        let file = self.files.get_mut(&id).expect("named files exist");
        let end = offset as usize + bytes.len();
        if file.content.len() < end {
            file.content.resize(end, 0);
        }
        // A write during which the power fails may still have reached some sectors.
        file.content[offset as usize..end].copy_from_slice(bytes);
        result
    }

    fn sync(&mut self, name: &str) -> io::Result<()> {
        self.spend()?;
        let id = self.id(name)?;
        let file = self.files.get_mut(&id).expect("named files exist");
        file.durable.clone_from(&file.content);
        Ok(())
    }

    fn sync_folder(&mut self) -> io::Result<()> {
        self.spend()?;
        self.durable_names = self.names.clone();
        Ok(())
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        self.spend()?;
        let id = self.id(from)?;
        self.names.remove(from);
        self.names.insert(to.to_owned(), id);
        Ok(())
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        self.spend()?;
        self.names.remove(name);
        Ok(())
    }
}
