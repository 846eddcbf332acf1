//! Built-in functions of SQLite whose work is not bounded by the length of what they are given, in the
//! same words but charged: pattern matching, searching, replacing and trimming.
//!
//! `LIKE` and `GLOB` charge every comparison; searching takes time in proportion to its input (two-way
//! string matching). What they give is what SQLite's own give (`func.c`).
#![allow(unsafe_code)]

use std::ffi::{CStr, c_char, c_int};
use std::ptr;

use memchr::memmem;
use rusqlite::{Connection, ffi};

use super::meter;

type Context = *mut ffi::sqlite3_context;
type Arguments = *mut *mut ffi::sqlite3_value;
type Function = unsafe extern "C" fn(Context, c_int, Arguments);

/// Bytes or comparisons that take one step.
const BYTES_A_STEP: u64 = 16;
/// The longest pattern, bytes; SQLite's own limit.
const PATTERN_LIMIT: usize = 50_000;

/// Puts the functions in place of SQLite's. Again after `PRAGMA case_sensitive_like`, which puts SQLite's
/// own back.
pub fn install(connection: &Connection, is_like_case_sensitive: bool) -> rusqlite::Result<()> {
    let like: Function = if is_like_case_sensitive {
        like_exactly
    } else {
        like
    };
    let functions: [(&CStr, c_int, Function); 11] = [
        (c"like", 2, like),
        (c"like", 3, like),
        (c"glob", 2, glob),
        (c"instr", 2, instr),
        (c"replace", 3, replace),
        (c"trim", 1, trim),
        (c"trim", 2, trim),
        (c"ltrim", 1, trim_start),
        (c"ltrim", 2, trim_start),
        (c"rtrim", 1, trim_end),
        (c"rtrim", 2, trim_end),
    ];
    let flags = ffi::SQLITE_UTF8 | ffi::SQLITE_DETERMINISTIC | ffi::SQLITE_INNOCUOUS;
    for (name, count, function) in functions {
        // SAFETY: the handle is open, the name NUL-terminated, and the function static.
        let code = unsafe {
            let db = connection.handle();
            let (name, data) = (name.as_ptr(), ptr::null_mut());
            let function = Some(function);
            ffi::sqlite3_create_function_v2(
                db, name, count, flags, data, function, None, None, None,
            )
        };
        if code != ffi::SQLITE_OK {
            return Err(rusqlite::Error::SqliteFailure(ffi::Error::new(code), None));
        }
    }
    Ok(())
}

/// Charges work on so many bytes; `false`: the function has to end, and has said so.
fn charge(context: Context, bytes: u64) -> bool {
    if meter::charge(1 + bytes / BYTES_A_STEP) {
        return true;
    }
    // SAFETY: SQLite's own context, within the call.
    unsafe { ffi::sqlite3_result_error_code(context, ffi::SQLITE_INTERRUPT) };
    false
}

/// An argument as UTF-8 text; `None`: it is NULL.
///
/// # Safety
///
/// `place` is one of the arguments' within the call. The slice lives until the value is asked for in
/// another form.
unsafe fn text<'a>(arguments: Arguments, place: usize) -> Option<&'a [u8]> {
    // SAFETY: the caller's; SQLite says how long the text is after it was asked for.
    unsafe {
        let value = *arguments.add(place);
        let start = ffi::sqlite3_value_text(value);
        let length = ffi::sqlite3_value_bytes(value) as usize;
        (!start.is_null()).then(|| std::slice::from_raw_parts(start, length))
    }
}

/// Gives text as the result.
fn give(context: Context, text: &[u8]) {
    let (start, length) = (text.as_ptr().cast::<c_char>(), text.len() as u64);
    // SAFETY: SQLite copies the text during the call.
    unsafe {
        let copy = ffi::SQLITE_TRANSIENT();
        ffi::sqlite3_result_text64(context, start, length, copy, ffi::SQLITE_UTF8 as u8);
    }
}

/// Up to the first NUL, as C has it.
fn c_string(text: &[u8]) -> &[u8] {
    memchr::memchr(0, text).map_or(text, |end| &text[..end])
}

unsafe extern "C" fn like(context: Context, count: c_int, arguments: Arguments) {
    // SAFETY: SQLite's arguments, within the call.
    unsafe { compare(context, count, arguments, Kind::Like) }
}

unsafe extern "C" fn like_exactly(context: Context, count: c_int, arguments: Arguments) {
    // SAFETY: SQLite's arguments, within the call.
    unsafe { compare(context, count, arguments, Kind::LikeExactly) }
}

unsafe extern "C" fn glob(context: Context, count: c_int, arguments: Arguments) {
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
    if !charge(context, (pattern.len() + subject.len()) as u64) {
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

    /// Whether `text` matches. Told of every so many comparisons, `go_on` may end it: `None`.
    ///
    /// Of several ways to match only the last `Any` need be tried again, as any earlier one can as well
    /// match less.
    fn matches(&self, text: &[u8], go_on: impl Fn(u64) -> bool) -> Option<bool> {
        const COMPARISONS: u64 = 4096;
        let (mut item, mut at) = (0, 0);
        let mut retry: Option<(usize, usize)> = None;
        let mut comparisons = 0;
        loop {
            comparisons += 1;
            if comparisons == COMPARISONS {
                comparisons = 0;
                if !go_on(COMPARISONS) {
                    return None;
                }
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
                None if at == text.len() => return Some(true),
                _ => {}
            }
            match &mut retry {
                Some((from, start)) if *start < text.len() => {
                    next_char(text, start);
                    (item, at) = (*from, *start);
                }
                _ => return Some(false),
            }
        }
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

unsafe extern "C" fn instr(context: Context, _: c_int, arguments: Arguments) {
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

unsafe extern "C" fn replace(context: Context, _: c_int, arguments: Arguments) {
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

unsafe extern "C" fn trim(context: Context, count: c_int, arguments: Arguments) {
    // SAFETY: SQLite's arguments, within the call.
    unsafe { trim_ends(context, count, arguments, true, true) }
}

unsafe extern "C" fn trim_start(context: Context, count: c_int, arguments: Arguments) {
    // SAFETY: SQLite's arguments, within the call.
    unsafe { trim_ends(context, count, arguments, true, false) }
}

unsafe extern "C" fn trim_end(context: Context, count: c_int, arguments: Arguments) {
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

        #[test]
        fn places_are_in_characters(before in "[aé]{0,6}", after in "[aéb]{0,6}") {
            let text = format!("{before}b{after}");
            prop_assert_eq!(place(text.as_bytes(), b"b", true), before.chars().count() + 1);
            prop_assert_eq!(place(text.as_bytes(), b"b", false), before.len() + 1);
            prop_assert_eq!(place(before.as_bytes(), b"b", true), 0);
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
