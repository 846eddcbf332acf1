//! `level1 search`: the search alone, as a vanity-commit tool.
//!
//! What can be wrong is found out before the work: the commit, the style, git's opinion of what
//! will come out, whether HEAD can be moved at all. What has been found is printed before anything
//! else can go wrong.

use super::progress::{Progress, time};
use super::{interrupt_flag, interrupted_exit};
use crate::cli::{SearchArgs, TargetArgs};
use anyhow::{Context, Result, bail};
use level1::{
    Commit, CommitTemplate, Control, HashFunction, Job, Match, Nonce, ObjectId, Outcome,
    Repository, Target, TargetError, Team, check_anywhere, search,
};
use std::hash::{BuildHasher, RandomState};
use std::io::{self, ErrorKind, Read, Write};
use std::ops::ControlFlow;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

pub fn run(args: &SearchArgs) -> Result<ExitCode> {
    let mut team = args.workers.team()?;
    team.workers().kernels()?;
    let interrupted = interrupt_flag()?;
    let source = Source::open(args)?;
    let commit = Commit::parse(&source.content)?;
    let target = target(&args.target, commit.hash())?;
    let placement = commit.place(args.style.map(Into::into))?;
    let seed = RandomState::new().hash_one(&commit);
    let template = CommitTemplate::new(&placement, seed);
    source.check(&commit, &template)?;

    let job = Job::new(template, target);
    match find(&job, &mut team, &interrupted)? {
        Outcome::Found(found) => source
            .deliver(&found, commit.is_signed())
            .map(|()| ExitCode::SUCCESS),
        Outcome::Halted => Ok(interrupted_exit()),
        Outcome::Exhausted => bail!("none of 2^64 nonces gives such an id"),
    }
}

/// Searches, with another backend where that is better, and shows how it goes.
fn find(job: &Job, team: &mut Team, interrupted: &AtomicBool) -> Result<Outcome> {
    let control = Control::default();
    let mut progress = Progress::new();
    let expected = job.target().expected_hashes();
    loop {
        let workers = team.workers().clone();
        let mut has_changed = false;
        let end = search(job, &workers, &control, &mut || {
            for note in control.take_notes() {
                progress.note(&note);
            }
            progress.update(control.tried(), |rate| {
                let tried = control.tried() as f64 / expected;
                let time = time(expected / rate.max(1.0));
                format!("{time} expected, {tried:.2} of it done")
            });
            has_changed = team.look(Instant::now()).is_some();
            if has_changed || interrupted.load(Ordering::Acquire) {
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        })?;
        if end != Outcome::Halted || !has_changed {
            return Ok(end);
        }
        // Rows that were tried are tried again: a second's work, at most once a minute.
        control.resume();
    }
}

fn target(args: &TargetArgs, hash: HashFunction) -> Result<Target, TargetError> {
    match (&args.prefix, &args.below) {
        (Some(prefix), _) => Target::prefix_with(hash, prefix),
        (None, below) => Target::below_with(hash, below.as_deref().unwrap_or_default()),
    }
}

/// Where the commit comes from and where the match goes.
struct Source {
    content: Vec<u8>,
    /// The repository that it is from, with the commit that HEAD named.
    repository: Option<(Repository, ObjectId)>,
    amend: bool,
}

impl Source {
    fn open(args: &SearchArgs) -> Result<Self> {
        let Some(dir) = &args.repo else {
            let mut content = Vec::new();
            io::stdin()
                .read_to_end(&mut content)
                .context("cannot read standard input")?;
            return Ok(Self {
                content,
                repository: None,
                amend: false,
            });
        };
        let repository = Repository::discover(dir)?;
        let head = repository.head().context("HEAD names no commit")?;
        let object = repository.read(&[&head.to_string()])?.pop().flatten();
        let content = object.context("HEAD's commit cannot be read")?.content;
        Ok(Self {
            content,
            repository: Some((repository, head)),
            amend: args.amend,
        })
    }

    /// Looks for what would be in the way of the match.
    fn check(&self, commit: &Commit, template: &CommitTemplate) -> Result<()> {
        let (sample, id) = (template.commit(Nonce(0)), template.id(Nonce(0)));
        let named = match &self.repository {
            Some((repository, _)) => repository.check("commit", &sample).map(Some),
            None if commit.hash() == HashFunction::Sha1 => check_anywhere("commit", &sample),
            // Without a repository, git knows no other hash function.
            None => Ok(None),
        };
        if let Some(named) = named.context("git would not take the commit")?
            && named != id
        {
            bail!("git names a commit {named}, this program {id}");
        }
        let Some((repository, head)) = &self.repository else {
            return Ok(());
        };
        if !self.amend {
            return Ok(());
        }
        if let Some(lock) = repository.held_lock()? {
            bail!(
                "another git is at work in this repository: {} exists",
                lock.display()
            );
        }
        if repository.is_cut_off(*head)? {
            bail!(
                "HEAD is where this shallow clone was cut off: its parents are not here \
                 ('git fetch --deepen 1' brings them)"
            );
        }
        let parents: Vec<&str> = commit.parents().collect();
        let read = repository.read(&parents)?;
        if let Some((missing, _)) = parents.iter().zip(&read).find(|(_, read)| read.is_none()) {
            bail!("HEAD's parent {missing} is not in the repository");
        }
        if commit.is_signed() {
            repository.verify(*head).context(
                "HEAD's signature cannot be verified here, so that nobody could say \
                 whether it stays valid",
            )?;
        }
        Ok(())
    }

    fn deliver(&self, found: &Match, is_signed: bool) -> Result<()> {
        // First of all, so that nothing that follows can keep it back.
        let _ = writeln!(io::stderr(), "{}", found.id);
        let Some((repository, head)) = self.repository.as_ref().filter(|_| self.amend) else {
            let mut stdout = io::stdout().lock();
            return match stdout
                .write_all(&found.commit)
                .and_then(|()| stdout.flush())
            {
                Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
                written => written.context("cannot write to standard output"),
            };
        };
        let id = repository.write("commit", &found.commit)?;
        if id != found.id {
            bail!("git names the commit {id}, this program {}", found.id);
        }
        if is_signed {
            repository
                .verify(id)
                .with_context(|| format!("HEAD stays: the signature of {id} is not valid"))?;
        }
        repository
            .move_head(id, *head, "level1 search: amend")
            .with_context(|| {
                format!(
                    "HEAD stays, and {id} is in the repository ('git reset --soft {id}' takes it)"
                )
            })
    }
}
