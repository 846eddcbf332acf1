//! Who this node is, kept in its folder: `node`, a small text file.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;

use crate::ids::{ClusterId, Incarnation, NodeId};

const FILE: &str = "node";
/// What every release begins the file with; the version follows.
const NAME: &str = "level4 node ";
const FORMAT: &str = "level4 node 2";

/// The node's lasting facts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Drawn when the folder was empty.
    pub node: NodeId,
    /// `None`: belongs to no cluster yet.
    pub cluster: Option<ClusterId>,
    /// How often the node was started.
    pub incarnation: Incarnation,
    /// The log has been begun: without one, the folder is not whole.
    pub has_log: bool,
}

impl Identity {
    /// A node that has not been started yet, and has done nothing.
    pub fn new(node: NodeId) -> Self {
        Self {
            node,
            cluster: None,
            incarnation: Incarnation::default(),
            has_log: false,
        }
    }

    /// Reads the folder's file; `None` if there is none.
    ///
    /// # Errors
    ///
    /// If it cannot be read, or is not in the format.
    pub fn load(folder: &Path) -> io::Result<Option<Self>> {
        let text = match fs::read_to_string(folder.join(FILE)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other?,
        };
        Self::parse(&text).map(Some).ok_or_else(|| {
            let first = text.lines().next().unwrap_or_default();
            let version = first.strip_prefix(NAME).unwrap_or_default();
            let is_version = !version.is_empty() && version.bytes().all(|c| c.is_ascii_digit());
            let reason = if is_version && first != FORMAT {
                format!(
                    "it is in the format \"{first}\", and this release of level4 reads \"{FORMAT}\": start the release that wrote it, or empty the folder and join again"
                )
            } else {
                "it is damaged: restore it from a backup, or empty the folder and join again"
                    .to_owned()
            };
            io::Error::new(io::ErrorKind::InvalidData, reason)
        })
    }

    /// Reads the file's content.
    pub fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        if lines.next()? != FORMAT {
            return None;
        }
        let mut field = |name: &str| {
            let value = lines.next()?.strip_prefix(name)?.strip_prefix(' ')?;
            u64::from_str_radix(value, 16).ok()
        };
        let identity = Self {
            node: NodeId::new(field("id")?),
            cluster: ClusterId::new(field("cluster")?),
            incarnation: Incarnation::new(field("starts")?),
            has_log: field("log")? == 1,
        };
        (lines.next() == Some("end")).then_some(identity)
    }

    /// Writes the file and makes it durable.
    pub fn save(&self, folder: &Path) -> io::Result<()> {
        let partial = folder.join("node.partial");
        let mut file = File::create(&partial)?;
        let Self {
            node,
            cluster,
            incarnation,
            has_log,
        } = self;
        let (node, cluster) = (node.get(), ClusterId::number(*cluster));
        let (starts, log) = (incarnation.get(), u8::from(*has_log));
        writeln!(
            file,
            "{FORMAT}\nid {node:x}\ncluster {cluster:x}\nstarts {starts:x}\nlog {log}\nend"
        )?;
        file.sync_all()?;
        fs::rename(&partial, folder.join(FILE))?;
        File::open(folder)?.sync_all()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_saved_is_loaded_and_damage_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Identity::load(folder.path()).unwrap(), None);
        let identity = Identity {
            node: NodeId::new(77),
            cluster: ClusterId::new(u64::MAX),
            incarnation: Incarnation::new(3),
            has_log: true,
        };
        identity.save(folder.path()).unwrap();
        assert_eq!(Identity::load(folder.path()).unwrap(), Some(identity));
        fs::write(folder.path().join(FILE), "level4 node 1\nid zz\n").unwrap();
        assert!(Identity::load(folder.path()).is_err());
    }
}
