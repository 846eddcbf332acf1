//! SQLite's allocator: the C library's, with the size and the request of each block in front of it.
#![allow(unsafe_code)]

use std::ffi::{c_int, c_void};
use std::ptr;

use rusqlite::ffi;

use super::meter::{self, Block, Call, Size};

/// In front of every block; keeps the alignment of 16 that the C library gives.
#[repr(C, align(16))]
struct Header {
    size: u32,
    epoch: u32,
    value: Size,
}

const HEADER: usize = size_of::<Header>();

/// Makes this SQLite's allocator. Before SQLite is initialised.
pub fn install() -> c_int {
    let methods = ffi::sqlite3_mem_methods {
        xMalloc: Some(malloc),
        xFree: Some(free),
        xRealloc: Some(realloc),
        xSize: Some(size),
        xRoundup: Some(round_up),
        xInit: Some(init),
        xShutdown: Some(shutdown),
        pAppData: ptr::null_mut(),
    };
    // SAFETY: this option takes a pointer to methods, which SQLite copies; the others take an int.
    unsafe {
        // SQLite's own statistics would need a lock for each block.
        ffi::sqlite3_config(ffi::SQLITE_CONFIG_MEMSTATUS, 0 as c_int);
        // Large blocks are taken for values: sorting has none of its own, and journals are files of ours.
        ffi::sqlite3_config(ffi::SQLITE_CONFIG_SMALL_MALLOC, 1 as c_int);
        ffi::sqlite3_config(ffi::SQLITE_CONFIG_STMTJRNL_SPILL, 0 as c_int);
        ffi::sqlite3_config(ffi::SQLITE_CONFIG_MALLOC, &raw const methods)
    }
}

unsafe extern "C" fn malloc(bytes: c_int) -> *mut c_void {
    let Some(owner) = admit(bytes, false) else {
        return ptr::null_mut();
    };
    // SAFETY: the C library's allocator takes any size.
    let header = unsafe { libc::malloc(bytes as usize + HEADER) };
    finish(header.cast(), bytes, owner)
}

/// Charges a block of so many bytes; `None`: it may not be had.
fn admit(bytes: c_int, grows: bool) -> Option<(u32, Size)> {
    if meter::fails_here(Call::Memory).is_some() {
        meter::fail("there is no memory");
        return None;
    }
    match meter::allocate(bytes as u64, grows) {
        Block::Allowed(epoch, value) => Some((epoch, value)),
        Block::Refused => None,
    }
}

fn finish(header: *mut Header, bytes: c_int, (epoch, value): (u32, Size)) -> *mut c_void {
    if header.is_null() {
        meter::free(epoch, value, bytes as u64);
        meter::fail("there is no memory");
        return ptr::null_mut();
    }
    let size = bytes as u32;
    // SAFETY: the block begins with room for a header and is aligned for it; the second pointer stays
    // within the block.
    unsafe {
        header.write(Header { size, epoch, value });
        header.add(1).cast()
    }
}

unsafe extern "C" fn free(block: *mut c_void) {
    if block.is_null() {
        return;
    }
    // SAFETY: SQLite gives back what it got from here, behind a header.
    unsafe {
        let header = block.cast::<Header>().sub(1);
        let Header { size, epoch, value } = header.read();
        meter::free(epoch, value, u64::from(size));
        libc::free(header.cast());
    }
}

unsafe extern "C" fn realloc(block: *mut c_void, bytes: c_int) -> *mut c_void {
    let Some(owner) = admit(bytes, true) else {
        return ptr::null_mut();
    };
    // SAFETY: as for `free`; the old block stays what it was if there is no new one.
    unsafe {
        let header = block.cast::<Header>().sub(1);
        let old = header.read();
        let moved = libc::realloc(header.cast(), bytes as usize + HEADER);
        if !moved.is_null() {
            meter::free(old.epoch, old.value, u64::from(old.size));
        }
        finish(moved.cast(), bytes, owner)
    }
}

unsafe extern "C" fn size(block: *mut c_void) -> c_int {
    if block.is_null() {
        return 0;
    }
    // SAFETY: as for `free`.
    unsafe { (*block.cast::<Header>().sub(1)).size as c_int }
}

unsafe extern "C" fn round_up(bytes: c_int) -> c_int {
    (bytes + 7) & !7
}

unsafe extern "C" fn init(_: *mut c_void) -> c_int {
    ffi::SQLITE_OK
}

unsafe extern "C" fn shutdown(_: *mut c_void) {}
