//! Asks the system to map a part of the program file at once, rather than page by page.
//!
//! The first touch of each 64 KB of embedded data is a page fault of some microseconds. Where a
//! thousand words are about to touch all of it, one call is cheaper. It is advice: an old kernel or
//! another system does without, and nothing but the time changes.

/// Maps the pages that hold `data`.
#[cfg(target_os = "linux")]
pub(crate) fn map_at_once<T>(data: &[T]) {
    use rustix::mm::{Advice, madvise};
    use std::ffi::c_void;

    let page = rustix::param::page_size();
    let before = data.as_ptr().addr() % page;
    let start = data
        .as_ptr()
        .cast::<c_void>()
        .cast_mut()
        .wrapping_byte_sub(before);
    // SAFETY: populating maps pages for reading and changes no content. The range is that of a
    // borrowed slice, extended to the page on which it begins, which is mapped with it.
    let _ = unsafe { madvise(start, before + size_of_val(data), Advice::LinuxPopulateRead) };
}

/// Maps the pages that hold `data`, on systems that can; this one cannot.
#[cfg(not(target_os = "linux"))]
pub(crate) fn map_at_once<T>(_data: &[T]) {}
