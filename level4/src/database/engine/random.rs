//! Chance and time as SQLite sees them, set by the request on its thread.
//!
//! SQLite has one random generator for the whole process. Readers draw from it too, so the numbers that
//! a request from the log gets would depend on them. It is locked by a mutex of its own: whenever a
//! thread takes that one, the generator is reset, and so asks our VFS for a seed, which gives it the
//! thread's own sequence. Each draw is then a function of the request alone.
#![allow(unsafe_code)]

use std::cell::Cell;
use std::ffi::{c_int, c_void};
use std::ptr;
use std::sync::OnceLock;

use rusqlite::ffi;

/// Milliseconds from SQLite's epoch (noon in Greenwich, 24 November 4714 BC) to 1970.
const JULIAN_OFFSET_MS: i64 = 210_866_760_000_000;

thread_local! {
    /// `now` for SQL run on this thread, milliseconds since 1970.
    static CLOCK: Cell<i64> = const { Cell::new(0) };
    /// State of this thread's sequence of seeds.
    static SEED: Cell<u64> = const { Cell::new(0) };
    /// This thread is resetting the generator, whose lock it has.
    static RESETTING: Cell<bool> = const { Cell::new(false) };
}

/// Sets the time (milliseconds since 1970) and the seed for SQL run by this thread.
pub fn set(time_ms: u64, seed: u64) {
    CLOCK.set(i64::try_from(time_ms).unwrap_or(i64::MAX / 2));
    SEED.set(seed);
}

/// SplitMix64 (Steele, Lea and Flood, 2014): the next number of a sequence.
pub fn next(state: u64) -> (u64, u64) {
    let state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (state, z ^ (z >> 31))
}

/// Called by SQLite for the time.
pub unsafe extern "C" fn current_time_ms(
    _: *mut ffi::sqlite3_vfs,
    out: *mut ffi::sqlite3_int64,
) -> c_int {
    // SAFETY: SQLite passes a pointer to a variable of its own that takes the time.
    unsafe { *out = CLOCK.get() + JULIAN_OFFSET_MS };
    ffi::SQLITE_OK
}

/// Called by SQLite for local time, which is UTC on every node.
pub unsafe extern "C" fn local_time(time: *const c_void, out: *mut c_void) -> c_int {
    // SAFETY: SQLite passes a `time_t` and a `struct tm` of its own.
    c_int::from(unsafe { libc::gmtime_r(time.cast(), out.cast()) }.is_null())
}

/// Called by SQLite for its generator's seed.
pub unsafe extern "C" fn randomness(
    _: *mut ffi::sqlite3_vfs,
    bytes: c_int,
    out: *mut std::ffi::c_char,
) -> c_int {
    // SAFETY: SQLite passes a buffer of so many bytes.
    let buffer = unsafe { std::slice::from_raw_parts_mut(out.cast::<u8>(), bytes.max(0) as usize) };
    for part in buffer.chunks_mut(8) {
        let (state, number) = next(SEED.get());
        SEED.set(state);
        part.copy_from_slice(&number.to_le_bytes()[..part.len()]);
    }
    bytes
}

struct Own {
    methods: ffi::sqlite3_mutex_methods,
    generator: *mut ffi::sqlite3_mutex,
}

// SAFETY: the methods are functions, and the mutex is a static one of SQLite's, which any thread may use.
unsafe impl Send for Own {}
// SAFETY: as for `Send`.
unsafe impl Sync for Own {}

/// SQLite's own methods.
static OWN: OnceLock<Own> = OnceLock::new();

/// Puts ours in front of SQLite's mutexes. Before SQLite is initialised for good.
pub fn install() -> c_int {
    // SAFETY: all fields are functions that may be absent, for which zeros are valid; the options take a
    // pointer to methods, which SQLite fills or copies. No connection is open yet, so that SQLite may be
    // shut down again; it knows its own mutexes only once it has been initialised, and tells them only
    // while it is not.
    unsafe {
        let begun = ffi::sqlite3_initialize();
        if begun != ffi::SQLITE_OK {
            return begun;
        }
        ffi::sqlite3_shutdown();
        let mut methods: ffi::sqlite3_mutex_methods = std::mem::zeroed();
        let found = ffi::sqlite3_config(ffi::SQLITE_CONFIG_GETMUTEX, &raw mut methods);
        if found != ffi::SQLITE_OK {
            return found;
        }
        let generator = match methods.xMutexAlloc {
            Some(allocate) => allocate(ffi::SQLITE_MUTEX_STATIC_PRNG),
            None => ptr::null_mut(),
        };
        let own = OWN.get_or_init(|| Own { methods, generator });
        let ours = ffi::sqlite3_mutex_methods {
            xMutexEnter: Some(enter),
            xMutexLeave: Some(leave),
            ..own.methods
        };
        ffi::sqlite3_config(ffi::SQLITE_CONFIG_MUTEX, &raw const ours)
    }
}

unsafe extern "C" fn enter(mutex: *mut ffi::sqlite3_mutex) {
    let Some(own) = OWN.get() else { return };
    let is_generator = mutex == own.generator;
    if is_generator && RESETTING.get() {
        return;
    }
    if let Some(method) = own.methods.xMutexEnter {
        // SAFETY: the mutex is passed on.
        unsafe { method(mutex) };
    }
    if is_generator {
        RESETTING.set(true);
        // SAFETY: this resets the generator; the lock that it takes is had already, and passed over.
        unsafe { ffi::sqlite3_randomness(0, ptr::null_mut()) };
        RESETTING.set(false);
    }
}

unsafe extern "C" fn leave(mutex: *mut ffi::sqlite3_mutex) {
    let Some(own) = OWN.get() else { return };
    if mutex == own.generator && RESETTING.get() {
        return;
    }
    if let Some(method) = own.methods.xMutexLeave {
        // SAFETY: the mutex is passed on.
        unsafe { method(mutex) };
    }
}
