//! Large tables in large pages.
//!
//! A table that is read at random places costs two misses a look-up: that of the caches, and that of
//! the address translation, whose own tables are then in no cache either. Pages of 2 MiB instead of
//! 4 KiB make the second one rare.

/// Size from which a table is worth large pages.
const LARGE: usize = 8 << 20;

/// `count` copies of `value`, in large pages where the system has them and they pay.
pub fn filled<T: Clone>(count: usize, value: T) -> Vec<T> {
    let mut table = Vec::with_capacity(count);
    let bytes = count * size_of::<T>();
    if bytes >= LARGE {
        // Before the pages are touched for the first time: then the system makes large ones at once.
        advise(table.as_mut_ptr(), bytes);
    }
    table.resize(count, value);
    table
}

/// Asks for large pages. Nothing depends on the answer.
#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "the call takes a pointer")]
fn advise<T>(start: *mut T, bytes: usize) {
    use rustix::mm::{Advice, madvise};

    let page = rustix::param::page_size();
    let skip = start.addr().next_multiple_of(page) - start.addr();
    let Some(length) = bytes.checked_sub(skip) else {
        return;
    };
    // SAFETY: the range lies within one allocation of the caller's, and this advice changes no byte
    // of it.
    let _ = unsafe {
        madvise(
            start.byte_add(skip).cast(),
            length / page * page,
            Advice::LinuxHugepage,
        )
    };
}

#[cfg(not(target_os = "linux"))]
fn advise<T>(_start: *mut T, _bytes: usize) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_full_of_its_value_whatever_its_size() {
        for bytes in [0, 1, LARGE - 8, LARGE, 3 * LARGE + 4096] {
            let count = bytes / 8;
            let table = filled(count, 7u64);
            assert_eq!(table.len(), count);
            assert!(table.iter().all(|&value| value == 7));
        }
    }
}
