//! `instr`, `replace`, `trim`, `ltrim` and `rtrim`, charged for what they look at and make. Searching takes time
//! in proportion to its input (two-way string matching).
#![allow(unsafe_code)]

use std::collections::{BTreeSet, HashSet};
use std::ffi::c_int;

use memchr::memmem;
use rusqlite::ffi;

use super::super::meter;
use super::{Arguments, Context, c_string, charge, give, text};

/// Bytes looked at between two charges.
const WORK_A_LOOK: u64 = 4096;

pub unsafe extern "C" fn instr(context: Context, _: c_int, arguments: Arguments) {
    // SAFETY: SQLite's arguments, within the call; copies are freed once.
    unsafe {
        let values = [*arguments, *arguments.add(1)];
        let kinds = values.map(|value| ffi::sqlite3_value_type(value));
        if kinds.contains(&ffi::SQLITE_NULL) {
            return;
        }
        let blobs = kinds.map(|kind| kind == ffi::SQLITE_BLOB);
        if blobs == [true, true] {
            let [haystack, needle] = values.map(|value| {
                let start = ffi::sqlite3_value_blob(value).cast::<u8>();
                let length = ffi::sqlite3_value_bytes(value) as usize;
                if start.is_null() {
                    &[]
                } else {
                    std::slice::from_raw_parts(start, length)
                }
            });
            give_place(context, haystack, needle, false);
            return;
        }
        // A blob is read as text from a copy, so that it stays one.
        let copies = values.map(|value| ffi::sqlite3_value_dup(value));
        let mut given = copies;
        let (haystack, needle) = (text(given.as_mut_ptr(), 0), text(given.as_mut_ptr(), 1));
        match (haystack, needle) {
            (Some(haystack), Some(needle)) => give_place(context, haystack, needle, true),
            _ => ffi::sqlite3_result_error_nomem(context),
        }
        for copy in copies {
            ffi::sqlite3_value_free(copy);
        }
    }
}

fn give_place(context: Context, haystack: &[u8], needle: &[u8], is_text: bool) {
    if charge(context, (haystack.len() + needle.len()) as u64) {
        let place = place(haystack, needle, is_text);
        // SAFETY: SQLite's own context, within the call.
        unsafe { ffi::sqlite3_result_int64(context, place as i64) };
    }
}

/// Where `needle` is, in characters or bytes from 1; 0: nowhere.
fn place(haystack: &[u8], needle: &[u8], is_text: bool) -> usize {
    if needle.is_empty() {
        return 1;
    }
    let starts = |byte: &u8| byte & 0xc0 != 0x80;
    if is_text && !starts(&needle[0]) {
        // A piece of a character is looked for at the start only.
        return usize::from(haystack.starts_with(needle));
    }
    match memmem::find(haystack, needle) {
        None => 0,
        Some(at) if is_text && at > 0 => {
            1 + haystack[1..=at].iter().filter(|&byte| starts(byte)).count()
        }
        Some(at) => at + 1,
    }
}

pub unsafe extern "C" fn replace(context: Context, _: c_int, arguments: Arguments) {
    // SAFETY: SQLite's arguments, within the call.
    unsafe {
        let Some(subject) = text(arguments, 0) else {
            return;
        };
        let Some(pattern) = text(arguments, 1) else {
            return;
        };
        if pattern.first().is_none_or(|&byte| byte == 0) {
            give(context, subject);
            return;
        }
        let Some(replacement) = text(arguments, 2) else {
            return;
        };
        let limit = {
            let db = ffi::sqlite3_context_db_handle(context);
            ffi::sqlite3_limit(db, ffi::SQLITE_LIMIT_LENGTH, -1) as usize
        };
        if !charge(context, subject.len() as u64) {
            return;
        }
        let count = memmem::find_iter(subject, pattern).count();
        let length = subject.len() - count * pattern.len() + count * replacement.len();
        if length > limit {
            ffi::sqlite3_result_error_toobig(context);
            return;
        }
        if !charge(context, (length + 16 * count) as u64) {
            return;
        }
        if !meter::hold(length as u64) {
            ffi::sqlite3_result_error_code(context, ffi::SQLITE_INTERRUPT);
            return;
        }
        let mut result = Vec::with_capacity(length);
        let mut from = 0;
        for at in memmem::find_iter(subject, pattern) {
            result.extend_from_slice(&subject[from..at]);
            result.extend_from_slice(replacement);
            from = at + pattern.len();
        }
        result.extend_from_slice(&subject[from..]);
        give(context, &result);
        meter::release(length as u64);
    }
}

pub unsafe extern "C" fn trim(context: Context, count: c_int, arguments: Arguments) {
    // SAFETY: SQLite's arguments, within the call.
    unsafe { trim_ends(context, count, arguments, true, true) }
}

pub unsafe extern "C" fn trim_start(context: Context, count: c_int, arguments: Arguments) {
    // SAFETY: SQLite's arguments, within the call.
    unsafe { trim_ends(context, count, arguments, true, false) }
}

pub unsafe extern "C" fn trim_end(context: Context, count: c_int, arguments: Arguments) {
    // SAFETY: SQLite's arguments, within the call.
    unsafe { trim_ends(context, count, arguments, false, true) }
}

/// # Safety
///
/// Called by SQLite with one or two arguments: text, and the characters to take away.
unsafe fn trim_ends(
    context: Context,
    count: c_int,
    arguments: Arguments,
    at_start: bool,
    at_end: bool,
) {
    // SAFETY: the caller's.
    let Some(subject) = (unsafe { text(arguments, 0) }) else {
        return;
    };
    let mut set: &[u8] = b" ";
    if count == 2 {
        // SAFETY: there is a second argument.
        let Some(given) = (unsafe { text(arguments, 1) }) else {
            return;
        };
        set = given;
    }
    let set = c_string(set);
    if !charge(context, 8 * set.len() as u64) {
        return;
    }
    let set = Characters::new(set);
    if let Some(rest) = set.trim(subject, at_start, at_end, |bytes| charge(context, bytes)) {
        give(context, rest);
    }
}

/// Characters to be taken away.
struct Characters<'a> {
    /// Those of one byte,
    single: [bool; 256],
    /// longer ones,
    longer: HashSet<&'a [u8]>,
    /// and their lengths, the shortest first.
    lengths: BTreeSet<usize>,
}

impl<'a> Characters<'a> {
    fn new(text: &'a [u8]) -> Self {
        let mut set = Self {
            single: [false; 256],
            longer: HashSet::new(),
            lengths: BTreeSet::new(),
        };
        for character in characters(text) {
            if let [byte] = character {
                set.single[usize::from(*byte)] = true;
            } else if set.longer.insert(character) {
                set.lengths.insert(character.len());
            }
        }
        set
    }

    /// `text` without them at its ends. Told of the bytes looked at, `go_on` may end it: `None`.
    fn trim<'t>(
        &self,
        text: &'t [u8],
        at_start: bool,
        at_end: bool,
        go_on: impl Fn(u64) -> bool,
    ) -> Option<&'t [u8]> {
        let mut rest = text;
        for from_end in [false, true] {
            if !(if from_end { at_end } else { at_start }) {
                continue;
            }
            let mut work = 0;
            while let Some(length) = self.find(rest, from_end, &mut work) {
                rest = if from_end {
                    &rest[..rest.len() - length]
                } else {
                    &rest[length..]
                };
                if work >= WORK_A_LOOK && !go_on(std::mem::take(&mut work)) {
                    return None;
                }
            }
            if !go_on(work) {
                return None;
            }
        }
        Some(rest)
    }

    /// The length of the character of the set at an end of `text`.
    fn find(&self, text: &[u8], from_end: bool, work: &mut u64) -> Option<usize> {
        let byte = if from_end { text.last() } else { text.first() };
        *work += 1;
        if self.single[usize::from(*byte?)] {
            return Some(1);
        }
        self.lengths.iter().copied().find(|&length| {
            // Hashing takes as long as some bytes, and in proportion to the length.
            *work += 32 + length as u64;
            let part = if from_end {
                text.len().checked_sub(length).map(|start| &text[start..])
            } else {
                text.get(..length)
            };
            part.is_some_and(|part| self.longer.contains(part))
        })
    }
}

/// Pieces that begin with a byte that begins a character; SQLite's way with text that may be none.
fn characters(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let (&first, _) = rest.split_first()?;
        let mut length = 1;
        if first >= 0xc0 {
            length += rest[1..].iter().take_while(|&&b| b & 0xc0 == 0x80).count();
        }
        let (character, after) = rest.split_at(length);
        rest = after;
        Some(character)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A needle that begins within a character would be found at every byte of such a text.
    #[test]
    fn a_piece_of_a_character_is_found_at_the_start_only() {
        let text = [vec![b'a'], vec![0x80; 1_000_000]].concat();
        let needle = vec![0x80; 500_000];
        assert_eq!(place(&text, &needle, true), 0);
        assert_eq!(place(&text[1..], &needle, true), 1);
        assert_eq!(place(&text, &needle, false), 2);
    }

    proptest! {
        #[test]
        fn places_are_in_characters(before in "[aé]{0,6}", after in "[aéb]{0,6}") {
            let text = format!("{before}b{after}");
            prop_assert_eq!(place(text.as_bytes(), b"b", true), before.chars().count() + 1);
            prop_assert_eq!(place(text.as_bytes(), b"b", false), before.len() + 1);
            prop_assert_eq!(place(before.as_bytes(), b"b", true), 0);
        }

        /// Against the obvious way: one character of the set after the other, the shortest first.
        #[test]
        fn what_is_trimmed_is_in_the_set(
            text in prop::collection::vec(prop::sample::select(vec![b'a', b'b', 0xc3, 0xa9, 0xa8]), 0..12),
            set in prop::collection::vec(prop::sample::select(vec![b'a', 0xc3, 0xa9]), 0..6),
        ) {
            let mut sorted: Vec<&[u8]> = characters(&set).collect();
            sorted.sort_by_key(|character| character.len());
            let mut rest = text.as_slice();
            while let Some(found) = sorted.iter().find(|found| rest.starts_with(found)) {
                rest = &rest[found.len()..];
            }
            while let Some(found) = sorted.iter().find(|found| rest.ends_with(found)) {
                rest = &rest[..rest.len() - found.len()];
            }
            let trimmed = Characters::new(&set).trim(&text, true, true, |_| true);
            prop_assert_eq!(trimmed, Some(rest));
        }
    }
}
