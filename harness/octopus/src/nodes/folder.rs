//! What lies in a node's folder: files are laid out before its first start, and again when its disk was emptied.

use std::{collections::BTreeSet, ffi::OsString, fs, io, os::unix::fs::lchown, path::Path};

use super::{disk::BALLAST, plan::NodePlan};
use crate::rootless;

/// What stays in the folder when it is emptied.
#[derive(Debug)]
pub(super) struct Kept(BTreeSet<OsString>);

impl Kept {
    /// What was there before the node: the network's sockets.
    pub fn now(folder: &Path) -> io::Result<Self> {
        let names = fs::read_dir(folder)?.map(|entry| Ok(entry?.file_name()));
        let mut names: BTreeSet<OsString> = names.collect::<io::Result<_>>()?;
        names.insert(BALLAST.into());
        Ok(Self(names))
    }
}

/// Writes a node's files, and makes the folder its owner's.
pub(super) fn lay_out(plan: &NodePlan) -> io::Result<()> {
    for file in &plan.files {
        let path = plan.folder.join(&file.path);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(path, &file.text)?;
    }
    // Who is only called so has what is ours.
    let owner = plan.owner.filter(|&owner| rootless::is_mapped(owner));
    owner.map_or(Ok(()), |owner| give(&plan.folder, owner))
}

/// Removes everything but what is kept.
pub(super) fn empty(folder: &Path, kept: &Kept) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if kept.0.contains(&entry.file_name()) {
            continue;
        }
        if entry.file_type()?.is_dir() {
            fs::remove_dir_all(entry.path())?;
        } else {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// Makes a folder and everything in it a user's own. Links are given away, not followed.
fn give(folder: &Path, user: u32) -> io::Result<()> {
    lchown(folder, Some(user), Some(user))?;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            give(&entry.path(), user)?;
        } else {
            lchown(entry.path(), Some(user), Some(user))?;
        }
    }
    Ok(())
}
