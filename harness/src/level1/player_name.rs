//! What a player may be called.
//!
//! The ledger's own form (`[\w .@-]+`, of 2014) holds names that look like flags, like folders, or
//! like nothing at all. Who is let into a game has a name that people can read and tell apart, that
//! a command line and a URL can carry, and that git takes for an author.

use thiserror::Error;

use super::{bots::BOT_PREFIX, ledger};

/// The most characters of a name: a line of the scoreboard.
pub const CHARACTERS_MAX: usize = 40;

/// Why somebody may not be called so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum NameError {
    /// Nothing, or blanks only.
    #[error("a name is not blank")]
    Blank,
    /// More than [`CHARACTERS_MAX`].
    #[error("a name has at most {CHARACTERS_MAX} characters")]
    TooLong,
    /// Something that no ledger can hold.
    #[error("a name has letters, digits, `_`, space, `.`, `@` and `-` only (ASCII)")]
    Character,
    /// `-x`, `.`, `@home`.
    #[error("a name begins with a letter, a digit or `_`")]
    Beginning,
    /// Blanks that nobody sees.
    #[error("a name has single spaces, and none at its end")]
    Spaces,
    /// The bots' own.
    #[error("names that begin with `{BOT_PREFIX}` are the bots'")]
    Bot,
}

/// Checks the name of somebody who wants to play.
///
/// # Errors
/// The first rule that it breaks.
///
/// ```
/// use harness::level1::player_name;
///
/// assert!(player_name::check("ada l.").is_ok());
/// assert!(player_name::check("--help").is_err());
/// ```
pub fn check(name: &str) -> Result<(), NameError> {
    let begins_well = |first: char| first.is_ascii_alphanumeric() || first == '_';
    if name.trim().is_empty() {
        Err(NameError::Blank)
    } else if name.chars().count() > CHARACTERS_MAX {
        Err(NameError::TooLong)
    } else if !ledger::is_name(name) {
        Err(NameError::Character)
    } else if name.ends_with(' ') || name.contains("  ") {
        Err(NameError::Spaces)
    } else if !name.starts_with(begins_well) {
        Err(NameError::Beginning)
    } else if is_bot(name) {
        Err(NameError::Bot)
    } else {
        Ok(())
    }
}

/// Whether the name belongs to a bot of the server's.
pub fn is_bot(name: &str) -> bool {
    let prefix = name.get(..BOT_PREFIX.len());
    prefix.is_some_and(|prefix| prefix.eq_ignore_ascii_case(BOT_PREFIX))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_are_for_people_command_lines_and_git() {
        for good in ["ada", "Ada L.", "a.b@c-d_e 9", "_", "7", &"x".repeat(40)] {
            assert_eq!(check(good), Ok(()), "{good:?}");
        }
        let long = "x".repeat(41);
        for (bad, error) in [
            ("", NameError::Blank),
            (" ", NameError::Blank),
            ("\t", NameError::Blank),
            ("-x", NameError::Beginning),
            ("--help", NameError::Beginning),
            (".", NameError::Beginning),
            ("..", NameError::Beginning),
            ("@ada", NameError::Beginning),
            (" ada", NameError::Beginning),
            ("ada ", NameError::Spaces),
            ("a  b", NameError::Spaces),
            ("a\nb", NameError::Character),
            ("a\u{1b}[31m", NameError::Character),
            ("a/b", NameError::Character),
            ("<b>", NameError::Character),
            ("é", NameError::Character),
            ("bot-1", NameError::Bot),
            ("Bot-1", NameError::Bot),
            (&long, NameError::TooLong),
        ] {
            assert_eq!(check(bad), Err(error), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn whoever_may_play_can_stand_in_the_ledger(name in "\\PC{0,50}|[ -z]{0,50}") {
            if check(&name).is_ok() {
                prop_assert!(ledger::is_name(&name));
                prop_assert_eq!(name.trim(), &name);
            }
        }
    }
}
