//! What git runs on the server: `pre-receive` judges a push, `post-receive` notes a landed coin.
//!
//! The hooks are two-line scripts that call this harness with a hidden command. Between judging
//! and moving the branch nothing is locked: if two pushes pass at the same time, git itself moves
//! `master` only from the head that each of them saw, so exactly one lands.

use std::{
    env,
    io::{BufRead, Write},
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result};
use clap::ValueEnum;

use super::{
    git::Git,
    journal::{self, Event},
    judge::{Circumstances, Judge, Refusal},
    rules::RefUpdate,
};

/// The environment variable that tells the hooks who pushes; the server sets it.
pub const PLAYER_VARIABLE: &str = "GITCOIN_PLAYER";

/// Which hook git runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Hook {
    /// Before anything is changed; failing refuses the push.
    PreReceive,
    /// After `master` has moved.
    PostReceive,
}

impl Hook {
    /// The hook's file name, which is also its argument on our command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::PreReceive => "pre-receive",
            Self::PostReceive => "post-receive",
        }
    }
}

/// Runs a hook inside the repository it belongs to; `input` is what git writes to it.
///
/// Returns whether the push is accepted. What is said goes to `output`, which git shows to the
/// pusher line by line.
pub fn run(hook: Hook, input: impl BufRead, output: &mut impl Write) -> Result<bool> {
    let updates = read_updates(input)?;
    let pusher = env::var(PLAYER_VARIABLE).ok();
    match hook {
        Hook::PreReceive => pre_receive(&updates, pusher.as_deref(), output),
        Hook::PostReceive => post_receive(&updates, output).map(|()| true),
    }
}

fn read_updates(input: impl BufRead) -> Result<Vec<RefUpdate>> {
    let parse = |line: String| {
        let mut words = line.splitn(3, ' ');
        let mut next = || words.next().context("git told the hook too little");
        Ok(RefUpdate {
            old: next()?.parse()?,
            new: next()?.parse()?,
            name: next()?.to_owned(),
        })
    };
    input.lines().map(|line| parse(line?)).collect()
}

fn pre_receive(
    updates: &[RefUpdate],
    pusher: Option<&str>,
    output: &mut impl Write,
) -> Result<bool> {
    let mut judge = Judge::new(Git::in_hook())?;
    let head = judge.head()?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let circumstances = Circumstances {
        pusher,
        now: Some(now),
    };
    let Err(refusal) = judge.push(updates, head, circumstances) else {
        return Ok(true);
    };
    writeln!(output, "gitcoin: {refusal}")?;
    let rule = match &refusal {
        Refusal::Violation(violation) => violation.rule(),
        Refusal::Trouble(_) => "trouble",
    };
    journal::append(
        Path::new("."),
        Event::Refused {
            pusher: pusher.map(str::to_owned),
            rule: rule.to_owned(),
            message: refusal.to_string(),
        },
    )?;
    Ok(false)
}

fn post_receive(updates: &[RefUpdate], output: &mut impl Write) -> Result<()> {
    let mut judge = Judge::new(Git::in_hook())?;
    for update in updates {
        // It passed a moment ago; what is asked here is only whose coin it is.
        let entry = judge.coin(update.old, update.new, Circumstances::default())?;
        writeln!(output, "gitcoin: {} has {}", entry.name, entry.balance)?;
        journal::append(
            Path::new("."),
            Event::Landed {
                name: entry.name,
                balance: entry.balance,
                commit: update.new.to_string(),
            },
        )?;
    }
    Ok(())
}
