//! `level1 search`: the search alone, as a vanity-commit tool.

use super::progress::{Progress, time};
use super::{interrupt_flag, interrupted_exit};
use crate::cli::{SearchArgs, TargetArgs};
use anyhow::{Context, Result, bail};
use level1::{
    Commit, CommitError, CommitTemplate, Control, Job, Match, ObjectId, Outcome, Repository,
    Target, TargetError, search,
};
use std::hash::{BuildHasher, RandomState};
use std::io::{self, ErrorKind, Read, Write};
use std::ops::ControlFlow;
use std::process::ExitCode;
use std::sync::atomic::Ordering;

pub fn run(args: &SearchArgs) -> Result<ExitCode> {
    let target = target(&args.target)?;
    let team = args.workers.team()?;
    let workers = team.workers();
    workers.kernels()?;
    let interrupted = interrupt_flag()?;
    let source = Source::open(args)?;
    let commit = Commit::parse(&source.content)?;

    let seed = RandomState::new().hash_one(&commit);
    let job = Job::new(CommitTemplate::new(&commit, seed), target);
    let control = Control::default();
    let mut progress = Progress::new();
    let expected = target.expected_hashes();
    let end = search(&job, workers, &control, &mut || {
        for note in control.take_notes() {
            progress.note(&note);
        }
        progress.update(control.tried(), |rate| {
            let tried = control.tried() as f64 / expected;
            format!(
                "{} expected, {tried:.2} of it done",
                time(expected / rate.max(1.0))
            )
        });
        if interrupted.load(Ordering::Acquire) {
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    })?;
    drop(progress);
    match end {
        Outcome::Found(found) => source.deliver(&found).map(|()| ExitCode::SUCCESS),
        Outcome::Halted => Ok(interrupted_exit()),
        Outcome::Exhausted => bail!("none of 2^64 nonces gives such an id"),
    }
}

fn target(args: &TargetArgs) -> Result<Target, TargetError> {
    match (&args.prefix, &args.below) {
        (Some(prefix), _) => Target::prefix(prefix),
        (None, below) => Target::below(below.as_deref().unwrap_or_default()),
    }
}

/// Where the commit comes from and where the match goes.
struct Source {
    content: Vec<u8>,
    /// The repository to amend, with the commit that HEAD named.
    amend: Option<(Repository, ObjectId)>,
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
                amend: None,
            });
        };
        let repository = Repository::open(dir)?;
        if repository.object_format()? != "sha1" {
            return Err(CommitError::Sha256.into());
        }
        let head = repository.head().context("HEAD names no commit")?;
        let object = repository.read(&[&head.to_string()])?.pop().flatten();
        let content = object.context("HEAD's commit cannot be read")?.content;
        Ok(Self {
            content,
            amend: args.amend.then_some((repository, head)),
        })
    }

    fn deliver(&self, found: &Match) -> Result<()> {
        if let Some((repository, head)) = &self.amend {
            let id = repository.write("commit", &found.commit)?;
            if id != found.id {
                bail!("git names the commit {id}, this program {}", found.id);
            }
            repository.move_head(id, *head, "level1 search: amend")?;
        } else {
            let mut stdout = io::stdout().lock();
            match stdout
                .write_all(&found.commit)
                .and_then(|()| stdout.flush())
            {
                Err(error) if error.kind() == ErrorKind::BrokenPipe => {}
                written => written.context("cannot write to standard output")?,
            }
        }
        let _ = writeln!(io::stderr(), "{}", found.id);
        Ok(())
    }
}
