//! `LIKE` and `GLOB`: every comparison is charged, and none is made in vain for long.
#![allow(unsafe_code)]

use std::ffi::{CStr, c_int};

use rusqlite::ffi;

use super::{Arguments, Context, c_string, charge, text};

/// The longest pattern, bytes; SQLite's own limit.
const PATTERN_LIMIT: usize = 50_000;

pub unsafe extern "C" fn like(context: Context, count: c_int, arguments: Arguments) {
    // SAFETY: SQLite's arguments, within the call.
    unsafe { compare(context, count, arguments, Kind::Like) }
}

pub unsafe extern "C" fn like_exactly(context: Context, count: c_int, arguments: Arguments) {
    // SAFETY: SQLite's arguments, within the call.
    unsafe { compare(context, count, arguments, Kind::LikeExactly) }
}

pub unsafe extern "C" fn glob(context: Context, count: c_int, arguments: Arguments) {
    // SAFETY: SQLite's arguments, within the call.
    unsafe { compare(context, count, arguments, Kind::Glob) }
}

/// # Safety
///
/// Called by SQLite with two or three arguments: pattern, text, escape character.
unsafe fn compare(context: Context, count: c_int, arguments: Arguments, kind: Kind) {
    // SAFETY: the caller's.
    let (pattern, subject) = unsafe { (text(arguments, 0), text(arguments, 1)) };
    let too_complex = pattern.is_some_and(|pattern| pattern.len() > PATTERN_LIMIT);
    if too_complex {
        fail(context, c"LIKE or GLOB pattern too complex");
        return;
    }
    let mut escape = None;
    if count == 3 {
        // SAFETY: there is a third argument.
        let Some(given) = (unsafe { text(arguments, 2) }) else {
            return;
        };
        let mut at = 0;
        let character = next_char(given, &mut at);
        if given.is_empty() || at != given.len() {
            fail(context, c"ESCAPE expression must be a single character");
            return;
        }
        escape = Some(character);
    }
    let (Some(pattern), Some(subject)) = (pattern, subject) else {
        return;
    };
    let (pattern, subject) = (c_string(pattern), c_string(subject));
    // An item of the pattern takes as long as a few bytes of the text.
    if !charge(context, (8 * pattern.len() + subject.len()) as u64) {
        return;
    }
    let pattern = Pattern::new(pattern, kind, escape);
    let matched = pattern.matches(subject, |comparisons| charge(context, 4 * comparisons));
    if let Some(matched) = matched {
        // SAFETY: SQLite's own context, within the call.
        unsafe { ffi::sqlite3_result_int(context, c_int::from(matched)) };
    }
}

fn fail(context: Context, message: &CStr) {
    // SAFETY: SQLite copies the message, which ends with a NUL.
    unsafe { ffi::sqlite3_result_error(context, message.as_ptr(), -1) };
}

/// Which of the operators.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// ASCII letters of either case are the same.
    Like,
    /// As after `PRAGMA case_sensitive_like = ON`.
    LikeExactly,
    /// Shell patterns.
    Glob,
}

/// One item of a pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Item {
    /// Any text.
    Any,
    /// Any character.
    One,
    /// This character.
    Char(u32),
    /// A character in one of these ranges, or in none of them.
    Set(Vec<(u32, u32)>, bool),
    /// Nothing at all: a set that is not closed, or an escape at the end.
    Nothing,
}

/// A pattern of `LIKE` or `GLOB`.
#[derive(Debug)]
struct Pattern {
    items: Vec<Item>,
    folds: bool,
}

/// The character at `at`, the way SQLite reads UTF-8 that may be none.
fn next_char(text: &[u8], at: &mut usize) -> u32 {
    let Some(&first) = text.get(*at) else {
        return 0;
    };
    *at += 1;
    if first < 0xc0 {
        return u32::from(first);
    }
    let mut character = u32::from(match first {
        0xc0..=0xdf => first & 0x1f,
        0xe0..=0xef => first & 0x0f,
        0xf0..=0xf7 => first & 0x07,
        0xf8..=0xfb => first & 0x03,
        0xfc..=0xfd => first & 0x01,
        _ => 0,
    });
    while let Some(&byte) = text.get(*at)
        && byte & 0xc0 == 0x80
    {
        character = (character << 6).wrapping_add(u32::from(byte & 0x3f));
        *at += 1;
    }
    let is_none =
        character < 0x80 || character & 0xffff_f800 == 0xd800 || character & 0xffff_fffe == 0xfffe;
    if is_none { 0xfffd } else { character }
}

fn folded(character: u32) -> u32 {
    u8::try_from(character).map_or(character, |byte| u32::from(byte.to_ascii_lowercase()))
}

impl Pattern {
    fn new(text: &[u8], kind: Kind, escape: Option<u32>) -> Self {
        let folds = kind == Kind::Like;
        let mut items = Vec::new();
        let mut at = 0;
        while at < text.len() {
            let character = next_char(text, &mut at);
            let item = if Some(character) == escape {
                if at == text.len() {
                    Item::Nothing
                } else {
                    Item::Char(next_char(text, &mut at))
                }
            } else {
                match (kind, u8::try_from(character)) {
                    (Kind::Glob, Ok(b'*')) | (Kind::Like | Kind::LikeExactly, Ok(b'%')) => {
                        Item::Any
                    }
                    (Kind::Glob, Ok(b'?')) | (Kind::Like | Kind::LikeExactly, Ok(b'_')) => {
                        Item::One
                    }
                    (Kind::Glob, Ok(b'[')) => set(text, &mut at),
                    _ => Item::Char(character),
                }
            };
            match item {
                Item::Char(character) if folds => items.push(Item::Char(folded(character))),
                item => items.push(item),
            }
        }
        Self { items, folds }
    }

    /// How many comparisons it takes to know whether an item accepts a character.
    fn work(item: &Item) -> u64 {
        match item {
            Item::Set(ranges, _) => 1 + ranges.len() as u64 / 2,
            _ => 1,
        }
    }

    fn accepts(&self, item: &Item, character: u32) -> bool {
        match item {
            Item::One => true,
            Item::Char(wanted) if self.folds => *wanted == folded(character),
            Item::Char(wanted) => *wanted == character,
            Item::Set(ranges, is_inverted) => {
                let is_in = |&(from, to): &(u32, u32)| (from..=to).contains(&character);
                ranges.iter().any(is_in) != *is_inverted
            }
            Item::Any | Item::Nothing => false,
        }
    }

    /// Whether `text` matches. Told of how many comparisons were made, `go_on` may end it: `None`.
    ///
    /// Of several ways to match only the last `Any` need be tried again, as any earlier one can as well
    /// match less.
    fn matches(&self, text: &[u8], go_on: impl Fn(u64) -> bool) -> Option<bool> {
        const COMPARISONS: u64 = 4096;
        let (mut item, mut at) = (0, 0);
        let mut retry: Option<(usize, usize)> = None;
        let mut comparisons = 0;
        let matched = loop {
            comparisons += self.items.get(item).map_or(1, Self::work);
            if comparisons >= COMPARISONS {
                if !go_on(comparisons) {
                    return None;
                }
                comparisons = 0;
            }
            match self.items.get(item) {
                Some(Item::Any) => {
                    item += 1;
                    retry = Some((item, at));
                    continue;
                }
                Some(wanted) if at < text.len() => {
                    let mut after = at;
                    if self.accepts(wanted, next_char(text, &mut after)) {
                        (item, at) = (item + 1, after);
                        continue;
                    }
                }
                None if at == text.len() => break true,
                _ => {}
            }
            match &mut retry {
                Some((from, start)) if *start < text.len() => {
                    next_char(text, start);
                    (item, at) = (*from, *start);
                }
                _ => break false,
            }
        };
        go_on(comparisons).then_some(matched)
    }
}

/// A set of `GLOB`, behind its `[`.
fn set(text: &[u8], at: &mut usize) -> Item {
    let mut ranges = Vec::new();
    let mut prior = 0;
    let mut character = next_char(text, at);
    let is_inverted = character == u32::from(b'^');
    if is_inverted {
        character = next_char(text, at);
    }
    if character == u32::from(b']') {
        ranges.push((character, character));
        character = next_char(text, at);
    }
    while character != 0 && character != u32::from(b']') {
        let follows = text.get(*at).copied().unwrap_or(0);
        if character == u32::from(b'-') && follows != b']' && follows != 0 && prior > 0 {
            ranges.push((prior, next_char(text, at)));
            prior = 0;
        } else {
            ranges.push((character, character));
            prior = character;
        }
        character = next_char(text, at);
    }
    if character == 0 {
        return Item::Nothing;
    }
    Item::Set(ranges, is_inverted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The obvious way: every split is tried.
    fn obviously(items: &[Item], pattern: &Pattern, text: &[char]) -> bool {
        match items.split_first() {
            None => text.is_empty(),
            Some((Item::Any, rest)) => {
                (0..=text.len()).any(|skip| obviously(rest, pattern, &text[skip..]))
            }
            Some((item, rest)) => text.split_first().is_some_and(|(&first, after)| {
                pattern.accepts(item, u32::from(first)) && obviously(rest, pattern, after)
            }),
        }
    }

    proptest! {
        #[test]
        fn patterns_match_what_the_obvious_way_matches(
            pattern in "[a%_é*?\\[\\]^A-]{0,8}", text in "[aAbé\\[-]{0,8}", glob: bool,
        ) {
            let kind = if glob { Kind::Glob } else { Kind::Like };
            let pattern = Pattern::new(pattern.as_bytes(), kind, None);
            let characters: Vec<char> = text.chars().collect();
            prop_assert_eq!(
                pattern.matches(text.as_bytes(), |_| true),
                Some(obviously(&pattern.items, &pattern, &characters))
            );
        }
    }

    #[test]
    fn a_long_pattern_can_be_ended() {
        let text = vec![b'a'; 100_000];
        let pattern = [b"%".as_slice(), &[b'a'; 10_000], b"b"].concat();
        let pattern = Pattern::new(&pattern, Kind::Like, None);
        assert_eq!(pattern.matches(&text, |_| false), None);
    }
}
