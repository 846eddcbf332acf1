//! Built-in functions of SQLite whose work is not bounded by the length of what they are given, in the
//! same words but charged: pattern matching ([`pattern`]), searching, replacing and trimming ([`strings`]),
//! and comparing ([`collation`]). And those that the bundled engine lacks ([`mathematics`]).
//!
//! What they give is what SQLite's own give (`func.c`).
#![allow(unsafe_code)]

mod collation;
mod mathematics;
mod pattern;
mod strings;

use std::ffi::{CStr, c_char, c_int, c_void};
use std::ptr;

use rusqlite::{Connection, ffi};

use super::meter;
use pattern::{glob, like, like_exactly};
use strings::{instr, replace, trim, trim_end, trim_start};

type Context = *mut ffi::sqlite3_context;
type Arguments = *mut *mut ffi::sqlite3_value;
type Collation =
    unsafe extern "C" fn(*mut c_void, c_int, *const c_void, c_int, *const c_void) -> c_int;
type Function = unsafe extern "C" fn(Context, c_int, Arguments);

/// Bytes or comparisons that take one step.
const BYTES_A_STEP: u64 = 16;

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
    let collations: [(&CStr, Collation); 2] = [
        (c"NOCASE", collation::no_case),
        (c"RTRIM", collation::right_trim),
    ];
    for (name, collation) in collations {
        // SAFETY: as above.
        let code = unsafe {
            let (db, data) = (connection.handle(), ptr::null_mut());
            let (name, encoding) = (name.as_ptr(), ffi::SQLITE_UTF8);
            ffi::sqlite3_create_collation_v2(db, name, encoding, data, Some(collation), None)
        };
        if code != ffi::SQLITE_OK {
            return Err(rusqlite::Error::SqliteFailure(ffi::Error::new(code), None));
        }
    }
    mathematics::install(connection)
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

/// An argument as UTF-8 text; `None`: it is NULL, or there was no room to make it one.
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
        if start.is_null() {
            // SQLite asks no value that is not there for its length: a copy may have had no room.
            return None;
        }
        let length = ffi::sqlite3_value_bytes(value) as usize;
        Some(std::slice::from_raw_parts(start, length))
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
