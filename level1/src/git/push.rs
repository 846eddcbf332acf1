//! Pushing a commit, whatever its user has set for pushes of their own.

use super::child::{self, Limits};
use super::error::one_line;
use super::{GitError, PUSH_GRACE, Repository, network_git};
use crate::object_id::ObjectId;

/// How the server answered a push.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Push {
    /// The branch was moved to the commit pushed.
    Accepted,
    /// The branch stayed where it was; the server's words on one line.
    Refused(String),
    /// No answer came: the server could not be reached, or is no repository at the moment.
    Unreachable(String),
}

/// What a user may have set that has nothing to do with a coin: a signature that needs a pass
/// phrase, options that the server does not take, a remote that mirrors everything.
const SETTINGS: [&str; 12] = [
    "-c",
    "push.gpgSign=false",
    "-c",
    "push.followTags=false",
    "-c",
    "push.pushOption=",
    "-c",
    "push.recurseSubmodules=no",
    "-c",
    "push.useForceIfIncludes=false",
    "-c",
    "remote.origin.mirror=false",
];

impl Repository {
    /// Pushes `commit` to `branch` of `origin`, without force.
    pub fn push(&self, commit: ObjectId, branch: &str) -> Result<Push, GitError> {
        let refspec = format!("{commit}:refs/heads/{branch}");
        let mut command = self.prepare(network_git(), &SETTINGS);
        command.args([
            "push",
            "--porcelain",
            "--no-verify",
            "--no-signed",
            "--no-follow-tags",
            "--recurse-submodules=no",
            "origin",
            &refspec,
        ]);
        let limits = Limits {
            grace: PUSH_GRACE,
            ..self.limits.clone()
        };
        let ended = match child::run("push", &mut command, None, &limits) {
            // What became of it shows when the head is looked at.
            Err(error @ GitError::TimedOut { .. }) => {
                return Ok(Push::Unreachable(error.to_string()));
            }
            ended => ended?,
        };
        if ended.status.success() {
            return Ok(Push::Accepted);
        }
        // With --porcelain, a line that begins with '!' is the server's answer about a branch.
        let stdout = String::from_utf8_lossy(&ended.stdout);
        let refusal = stdout.lines().find_map(|line| line.strip_prefix('!'));
        let stderr = String::from_utf8_lossy(&ended.stderr);
        let Some(refusal) = refusal else {
            return Ok(Push::Unreachable(one_line(&stderr)));
        };
        let remote: Vec<&str> = stderr
            .lines()
            .filter_map(|line| line.strip_prefix("remote:"))
            .collect();
        let summary = refusal.rsplit('\t').next().unwrap_or(refusal).trim();
        Ok(Push::Refused(one_line(&format!(
            "{summary}\n{}",
            remote.join("\n")
        ))))
    }
}
