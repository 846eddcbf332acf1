//! `instr`, `replace`, `trim`, `ltrim` and `rtrim`, charged for what they look at and make. Searching takes time
//! in proportion to its input (two-way string matching).
#![allow(unsafe_code)]

use std::ffi::c_int;

use memchr::memmem;
use rusqlite::ffi;

use super::super::meter;
use super::{Arguments, Context, c_string, charge, give, text};

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
    let finder = memmem::Finder::new(needle);
    let mut from = 0;
    while let Some(at) = finder.find(&haystack[from..]).map(|at| from + at) {
        if !is_text {
            return at + 1;
        }
        if at == 0 {
            return 1;
        }
        if starts(&haystack[at]) {
            return 1 + haystack[1..=at].iter().filter(|&byte| starts(byte)).count();
        }
        from = at + 1;
    }
    0
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
    let characters: std::collections::HashSet<&[u8]> = characters(set).collect();
    let longest = characters.iter().map(|c| c.len()).max().unwrap_or(0);
    let work = set.len() * 4 + subject.len() * longest.clamp(1, 8) * 8;
    if charge(context, work as u64) {
        give(
            context,
            trimmed(subject, &characters, longest, at_start, at_end),
        );
    }
}

/// Pieces that begin with a byte that begins a character; SQLite's way with text that may be none.
fn characters(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = c_string(text);
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

fn trimmed<'a>(
    mut text: &'a [u8],
    set: &std::collections::HashSet<&[u8]>,
    longest: usize,
    at_start: bool,
    at_end: bool,
) -> &'a [u8] {
    let lengths = 1..=longest;
    while at_start
        && let Some(length) = lengths
            .clone()
            .find(|&length| text.get(..length).is_some_and(|part| set.contains(part)))
    {
        text = &text[length..];
    }
    while at_end
        && let Some(length) = lengths.clone().find(|&length| {
            let start = text.len().checked_sub(length);
            start.is_some_and(|start| set.contains(&text[start..]))
        })
    {
        text = &text[..text.len() - length];
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn places_are_in_characters(before in "[aé]{0,6}", after in "[aéb]{0,6}") {
            let text = format!("{before}b{after}");
            prop_assert_eq!(place(text.as_bytes(), b"b", true), before.chars().count() + 1);
            prop_assert_eq!(place(text.as_bytes(), b"b", false), before.len() + 1);
            prop_assert_eq!(place(before.as_bytes(), b"b", true), 0);
        }
    }
}
