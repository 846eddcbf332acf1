//! Why a call of git failed, in words that give no secret away.

use std::io;
use std::time::Duration;
use thiserror::Error;

/// Why a call of git failed.
#[derive(Debug, Error)]
pub enum GitError {
    /// There is no `git` to call.
    #[error("cannot run the 'git' command: {0}; is git installed and on the PATH?")]
    Missing(io::Error),
    /// Git ran and said no.
    #[error("git {what} failed: {words}")]
    Failed {
        /// The subcommand.
        what: String,
        /// What git said, on one line.
        words: String,
    },
    /// Git's answer makes no sense.
    #[error("git {what} gave an unexpected answer: {answer}")]
    Unexpected {
        /// The subcommand.
        what: &'static str,
        /// The answer.
        answer: String,
    },
    /// Talking to git failed.
    #[error("lost the connection to git")]
    Io(#[from] io::Error),
    /// Git, or the server behind it, is silent.
    #[error("git {what} gave no answer within {} s", .limit.as_secs_f64())]
    TimedOut {
        /// The subcommand.
        what: String,
        /// How long it was given.
        limit: Duration,
    },
    /// The call was ended because the program is to end.
    #[error("git {0} was interrupted")]
    Stopped(String),
    /// Git printed more than can be meant.
    #[error("git {what} printed more than {} MiB", .limit >> 20)]
    TooLong {
        /// The subcommand.
        what: String,
        /// How much is read, in bytes.
        limit: usize,
    },
}

/// Joins the lines that say something, without the secrets of URLs; hints about how to go on are
/// for people who typed git.
pub(super) fn one_line(text: &str) -> String {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let lines: Vec<&str> = lines.filter(|line| !line.starts_with("hint:")).collect();
    without_secrets(&lines.join("; "))
}

/// The text with `***` for what stands between `//` and `@` in its URLs: a token, or a user's name
/// and password.
pub fn without_secrets(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("//") {
        let (before, after) = rest.split_at(at + 2);
        shown.push_str(before);
        // The authority of a URL ends at a slash, a quotation mark, or where the URL does. A
        // password may hold an '@' of its own, so the last one counts.
        let end = after.find(['/', '\'', '"', '?', '#']);
        let end = end.unwrap_or(after.len());
        let end = after[..end].find(char::is_whitespace).unwrap_or(end);
        match after[..end].rfind('@') {
            Some(secret) => {
                shown.push_str("***");
                rest = &after[secret..];
            }
            None => rest = after,
        }
    }
    shown.push_str(rest);
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_of_urls_are_not_shown() {
        for (text, shown) in [
            (
                "fatal: unable to access 'http://ann:t0ken@host:80/level1/': no",
                "fatal: unable to access 'http://***@host:80/level1/': no",
            ),
            (
                "https://t0ken@host/x and ssh://u@h/y",
                "https://***@host/x and ssh://***@h/y",
            ),
            ("https://ann:p@ss@host/x", "https://***@host/x"),
            ("https://host/a@b // c@d", "https://host/a@b // c@d"),
            ("git@host:level1", "git@host:level1"),
            ("https://host", "https://host"),
            ("", ""),
        ] {
            assert_eq!(without_secrets(text), shown);
        }
    }

    #[test]
    fn hints_are_left_out() {
        assert_eq!(one_line("a\nhint: b\n\n c\n"), "a; c");
    }
}
