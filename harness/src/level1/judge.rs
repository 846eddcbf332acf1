//! Applies the rules to a push, fetching the objects that they ask for.
//!
//! Used in two places: by the hook on every push, and by the audit that replays a whole chain.

use anyhow::{Context, Result};
use thiserror::Error;

use super::{
    difficulty::Difficulty,
    git::{Git, Object, Objects},
    ledger::Entry,
    object::{self, Commit, ObjectId, TreeEntry},
    rules::{self, Ancestry, RefUpdate, Violation},
};

/// The file that ends a round; only round repositories have it.
const END_TIME_FILE: &str = "end-time.txt";

/// Why a push is not accepted.
#[derive(Debug, Error)]
pub enum Refusal {
    /// The pusher broke a rule.
    #[error(transparent)]
    Violation(#[from] Violation),
    /// The server could not tell.
    #[error("the server cannot judge this push: {0:#}")]
    Trouble(#[from] anyhow::Error),
}

/// Who pushes, and when.
#[derive(Debug, Clone, Copy, Default)]
pub struct Circumstances<'a> {
    /// The player's name, where it is known.
    pub pusher: Option<&'a str>,
    /// Unix seconds; `None` where a chain is replayed and its rounds are over.
    pub now: Option<u64>,
}

/// A judge over one repository.
pub struct Judge {
    git: Git,
    objects: Objects,
}

impl Judge {
    /// A judge that reads through `git`.
    pub fn new(git: Git) -> Result<Self> {
        let objects = git.objects()?;
        Ok(Self { git, objects })
    }

    /// Where `master` stands.
    pub fn head(&mut self) -> Result<ObjectId> {
        Ok(self.objects.read(rules::BRANCH, "commit")?.id)
    }

    /// Judges what a push asks for; `head` is where `master` stands now.
    pub fn push(
        &mut self,
        updates: &[RefUpdate],
        head: ObjectId,
        circumstances: Circumstances<'_>,
    ) -> Result<Entry, Refusal> {
        let update = rules::check_updates(updates, head)?;
        self.coin(head, update.new, circumstances)
    }

    /// Judges the step from `old` to `new`.
    pub fn coin(
        &mut self,
        old: ObjectId,
        new: ObjectId,
        circumstances: Circumstances<'_>,
    ) -> Result<Entry, Refusal> {
        let object = self.objects.find(&new.to_string())?;
        let object = object.with_context(|| format!("there is no object {new}"))?;
        if object.kind != "commit" {
            return Err(Violation::NotACommit(object.kind).into());
        }
        let commit = Commit::parse(&object.content).map_err(|error| malformed(&error))?;
        rules::check_parents(&commit, old, || {
            self.ancestry(old, new).map_err(Refusal::from)
        })?;
        let (old_tree, _) = self.tree(old)?;
        let new_tree = self.objects.read(&commit.tree.to_string(), "tree")?;
        let new_tree = object::parse_tree(&new_tree.content).map_err(|error| malformed(&error))?;
        let (old_ledger, new_ledger) = rules::check_tree(&old_tree, &new_tree)?;
        let old_ledger = self.objects.read(&old_ledger.to_string(), "blob")?;
        let new_ledger = self.objects.read(&new_ledger.to_string(), "blob")?;
        let entry = rules::check_ledger(
            &old_ledger.content,
            &new_ledger.content,
            circumstances.pusher,
        )?;
        rules::check_work(new, &self.difficulty(old)?)?;
        if let (Some(now), Some(end)) = (circumstances.now, self.end_time(old)?) {
            rules::check_time(now, end)?;
        }
        Ok(entry)
    }

    /// The commit and its tree's entries.
    pub fn tree(&mut self, commit: ObjectId) -> Result<(Vec<TreeEntry>, Commit)> {
        let object = self.objects.read(&commit.to_string(), "commit")?;
        let commit = Commit::parse(&object.content)?;
        let tree = self.objects.read(&commit.tree.to_string(), "tree")?;
        Ok((object::parse_tree(&tree.content)?, commit))
    }

    /// A file at a commit, `None` if it is not there.
    pub fn file(&mut self, commit: ObjectId, name: &str) -> Result<Option<Object>> {
        self.objects.find(&format!("{commit}:{name}"))
    }

    /// The difficulty that a successor of `commit` has to meet.
    pub fn difficulty(&mut self, commit: ObjectId) -> Result<Difficulty> {
        let name = format!("{commit}:difficulty.txt");
        Difficulty::from_file(&self.objects.read(&name, "blob")?.content)
    }

    fn end_time(&mut self, commit: ObjectId) -> Result<Option<u64>> {
        let Some(object) = self.file(commit, END_TIME_FILE)? else {
            return Ok(None);
        };
        let text = String::from_utf8_lossy(&object.content);
        let seconds = text.trim().parse();
        Ok(Some(seconds.with_context(|| {
            format!("{END_TIME_FILE} holds no Unix time")
        })?))
    }

    fn ancestry(&self, old: ObjectId, new: ObjectId) -> Result<Ancestry> {
        let count = |from: ObjectId, to: ObjectId| -> Result<u64> {
            let range = format!("{from}..{to}");
            let text = self.git.run(&["rev-list", "--count", &range])?;
            Ok(text.trim().parse()?)
        };
        Ok(match (count(old, new)?, count(new, old)?) {
            (0, _) => Ancestry::Behind,
            (ahead, 0) => Ancestry::Ahead(ahead),
            _ => Ancestry::Beside,
        })
    }
}

fn malformed(error: &anyhow::Error) -> Refusal {
    Violation::Malformed(format!("{error:#}")).into()
}
