//! A gitcoin miner: SHA-1 proof of work on git commits.
//!
//! The data path, from a server's head to a pushed commit:
//!
//! - `upstream` fetches the head, `chain` makes the next commit out of `ledger` and `tree`,
//! - `commit` and `template` lay it out so that a `nonce` costs little to change,
//! - `target` says which object ids count,
//! - `kernel` tries nonces, in one of several instruction sets,
//! - `job` asks a kernel about a range of nonces and checks what it says,
//! - `workers` do so on many threads until there is a match,
//! - `miner` pushes the match by way of `git` and starts again.
//!
//! The search alone, for a commit of any kind:
//!
//! ```
//! use level1::{Backend, Commit, CommitTemplate, Control, Job, Outcome, Target, Worker, search};
//! use std::num::NonZeroUsize;
//! use std::ops::ControlFlow;
//!
//! let text = "tree 4b825dc642cb6eb9a060e54bf8d69288fbee4904\n\
//!             author A <a@b> 1 +0000\ncommitter A <a@b> 1 +0000\n\nTitle\n";
//! let commit = Commit::parse(text.as_bytes())?;
//! let job = Job::new(CommitTemplate::new(&commit.place(None)?, 1), Target::prefix("c0f")?);
//! let workers = Worker::cpu(Backend::most_capable(), NonZeroUsize::MIN).into();
//! let go_on = &mut || ControlFlow::Continue(());
//! let Outcome::Found(found) = search(&job, &workers, &Control::default(), go_on)? else {
//!     panic!("one id in 4,096 begins so");
//! };
//! assert!(found.id.to_string().starts_with("c0f"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![deny(unsafe_code)]

mod bench;
mod chain;
mod clone_dir;
mod commit;
mod git;
mod hash;
mod job;
mod kept;
mod kernel;
mod ledger;
mod miner;
mod nonce;
mod object_id;
mod placement;
mod target;
mod template;
mod tree;
mod upstream;
mod workers;

pub use bench::{clock, hopeless_job, rate};
pub use chain::{Head, HeadError, NextCommit};
pub use clone_dir::{CloneDir, CloneError, classic_dir};
pub use commit::{Commit, CommitError, NewCommit};
pub use git::{
    GitError, NETWORK, Object, Push, Repository, check_anywhere, end_git_with_us, without_secrets,
};
pub use hash::HashFunction;
pub use job::{Job, Match, Searched};
pub use kept::{KeptError, KeptFile, KeptMatch};
pub use kernel::gpu::{Device, GpuKernel, devices};
pub use kernel::{
    Backend, BackendError, Batch, DeviceInfo, GpuError, Kernel, KernelError, Schedules, Sink,
    Tuning, Work,
};
pub use ledger::{Player, PlayerError};
pub use miner::{Coin, MineError, Observer, Plan, Status, Summary, mine};
pub use nonce::{Alphabet, COLUMNS, Nonce, ROWS};
pub use object_id::{ObjectId, ObjectIdError};
pub use placement::{Placement, Style};
pub use target::{Filter, Target, TargetError};
pub use template::{CommitTemplate, Tail};
pub use tree::{FileEntry, Tree, TreeError};
pub use upstream::{Fetched, Upstream, UpstreamError};
pub use workers::{Choice, Control, Outcome, Team, Worker, Workers, search};
