//! `LEDGER.txt`: two header lines, then one `name: balance` line for each player.

use thiserror::Error;

/// The entries begin after this many lines.
const HEADER_LINES: usize = 2;

/// A player's name: one or more of letters, digits, `_`, space, `.`, `@` and `-`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Player(String);

/// The text cannot be a player's name.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0:?} is no player's name: use letters, digits and any of '_ .@-'")]
pub struct PlayerError(String);

impl Player {
    /// Checks a name.
    pub fn new(name: &str) -> Result<Self, PlayerError> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || "_ .@-".contains(c);
        if name.is_empty() || !name.chars().all(allowed) {
            return Err(PlayerError(name.to_owned()));
        }
        Ok(Self(name.to_owned()))
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.0
    }
}

/// The ledger with one coin more for `player`: the player's own line goes up by one, or, if there
/// is none, a new line is added at the end. Nothing else changes, and the text ends with a newline
/// if it did before. The ledger is bytes: other players' lines need not be UTF-8.
pub fn with_coin(ledger: &[u8], player: &Player) -> Vec<u8> {
    let mut lines = ledger.split_inclusive(|&byte| byte == b'\n');
    let mut changed: Vec<u8> = lines
        .by_ref()
        .take(HEADER_LINES)
        .flatten()
        .copied()
        .collect();
    let mut found = false;
    for line in lines {
        match balance(line, player).filter(|_| !found) {
            Some((digits, end)) => {
                found = true;
                changed.extend_from_slice(player.name().as_bytes());
                changed.extend_from_slice(b": ");
                changed.extend(incremented(digits));
                changed.extend_from_slice(end);
            }
            None => changed.extend_from_slice(line),
        }
    }
    if !found {
        let entry = format!("{}: 1", player.name());
        // A ledger without its last newline stays without one.
        let ends_line = changed.is_empty() || changed.ends_with(b"\n");
        let (before, after) = if ends_line { ("", "\n") } else { ("\n", "") };
        changed.extend_from_slice(format!("{before}{entry}{after}").as_bytes());
    }
    changed
}

/// The digits of the player's balance and the line's end, if the line is the player's.
fn balance<'a>(line: &'a [u8], player: &Player) -> Option<(&'a [u8], &'a [u8])> {
    let rest = line
        .strip_prefix(player.name().as_bytes())?
        .strip_prefix(b": ")?;
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (digits, end) = rest.split_at(digits);
    let whole = matches!(end, b"" | b"\n" | b"\r\n");
    (whole && digits.first().is_some_and(|&digit| digit != b'0')).then_some((digits, end))
}

/// Adds one to a decimal number of any length.
fn incremented(digits: &[u8]) -> Vec<u8> {
    let mut digits = digits.to_vec();
    for digit in digits.iter_mut().rev() {
        if *digit < b'9' {
            *digit += 1;
            return digits;
        }
        *digit = b'0';
    }
    digits.insert(0, b'1');
    digits
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEDGER: &str = "Private Gitcoin ledger\n====\ngdb: 25\nandy: 9\nandy b: 99\n";

    fn mined(ledger: &str, name: &str) -> String {
        let changed = with_coin(ledger.as_bytes(), &Player::new(name).unwrap());
        String::from_utf8(changed).unwrap()
    }

    #[test]
    fn ones_own_entry_goes_up_by_one() {
        assert_eq!(
            mined(LEDGER, "andy"),
            LEDGER.replace("andy: 9\n", "andy: 10\n")
        );
        assert_eq!(mined(LEDGER, "andy b"), LEDGER.replace("b: 99", "b: 100"));
        assert_eq!(
            mined("a\nb\nx: 18446744073709551615", "x"),
            "a\nb\nx: 18446744073709551616"
        );
    }

    #[test]
    fn a_new_name_is_added_at_the_end() {
        assert_eq!(mined(LEDGER, "and"), format!("{LEDGER}and: 1\n"));
        assert_eq!(mined("a\nb\nc: 1", "x"), "a\nb\nc: 1\nx: 1");
        assert_eq!(mined("", "x"), "x: 1\n");
    }

    #[test]
    fn lines_that_only_look_like_the_entry_stay() {
        let ledger = "x: 1\nx: 2\nx: 03\nx: 4 \nx:5\nx: 6\nx: 6\n";
        assert_eq!(mined(ledger, "x"), ledger.replacen("x: 6\n", "x: 7\n", 1));
    }

    #[test]
    fn names_are_checked() {
        for name in ["a", "A b_c.d@e-f", "0"] {
            assert!(Player::new(name).is_ok(), "{name}");
        }
        for name in ["", "a:b", "a\nb", "é", "a/b", "<a>"] {
            assert!(Player::new(name).is_err(), "{name}");
        }
    }
}
