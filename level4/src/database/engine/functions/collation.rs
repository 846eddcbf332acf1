//! The collations `NOCASE` and `RTRIM`, charged for what they compare: an index's search or a sort makes
//! many comparisons in a single step of SQLite's machine.
#![allow(unsafe_code)]

use std::cmp::Ordering;
use std::ffi::{c_int, c_void};

use super::super::meter;

/// Bytes compared that take one step.
const BYTES_A_STEP: usize = 32;

/// ASCII letters of either case are the same; ends at a NUL, as in C.
pub unsafe extern "C" fn no_case(
    _: *mut c_void,
    left_length: c_int,
    left: *const c_void,
    right_length: c_int,
    right: *const c_void,
) -> c_int {
    // SAFETY: SQLite's texts, within the call.
    let (left, right) = unsafe { (text(left, left_length), text(right, right_length)) };
    let fold = u8::to_ascii_lowercase;
    let pairs = left.iter().zip(right);
    let found = pairs
        .clone()
        .position(|(a, b)| *a == 0 || fold(a) != fold(b));
    charge(found.unwrap_or(left.len().min(right.len())));
    let order = found.map_or(Ordering::Equal, |at| fold(&left[at]).cmp(&fold(&right[at])));
    order.then(left.len().cmp(&right.len())) as c_int
}

/// Spaces at the end make no difference.
pub unsafe extern "C" fn right_trim(
    _: *mut c_void,
    left_length: c_int,
    left: *const c_void,
    right_length: c_int,
    right: *const c_void,
) -> c_int {
    // SAFETY: SQLite's texts, within the call.
    let (left, right) = unsafe { (text(left, left_length), text(right, right_length)) };
    charge(left.len().max(right.len()));
    trimmed(left).cmp(trimmed(right)) as c_int
}

fn trimmed(text: &[u8]) -> &[u8] {
    let end = text.iter().rposition(|&byte| byte != b' ');
    &text[..end.map_or(0, |last| last + 1)]
}

fn charge(bytes: usize) {
    // A comparison cannot fail; the request ends at the next look.
    meter::charge(1 + (bytes / BYTES_A_STEP) as u64);
}

/// # Safety
///
/// `start` is readable for `length` bytes for as long as the slice is used, unless there are none.
unsafe fn text<'a>(start: *const c_void, length: c_int) -> &'a [u8] {
    if length <= 0 || start.is_null() {
        return &[];
    }
    // SAFETY: the caller's.
    unsafe { std::slice::from_raw_parts(start.cast(), length as usize) }
}
