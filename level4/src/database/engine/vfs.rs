//! Files for SQLite: databases by name, their journals, and temporary files. The latter two are in memory.
//!
//! A database is an [`Image`] that its owner has registered under a name; nothing else can be opened.
//! Locks do nothing: one connection writes a database at a time, and readers have images of their own.
//! Journals and temporary files count as the request's memory.
#![allow(unsafe_code)]

use std::collections::HashMap;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::ptr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use rusqlite::ffi;

use super::image::Image;
use super::meter::{self, Call, Failure};
use super::random;

/// The VFS's name.
pub const NAME: &CStr = c"level4";
/// The longest name of a file, bytes.
const LONGEST_NAME: c_int = 64;

type Content = Arc<Mutex<Image>>;

static FILES: LazyLock<Mutex<HashMap<String, Content>>> = LazyLock::new(Mutex::default);

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // Nothing panics while it holds one of these locks.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A database file under a name of its own, which goes with it.
#[derive(Debug)]
pub struct File {
    name: String,
    content: Content,
}

impl File {
    /// Registers a file with this content.
    pub fn new(image: Image) -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let name = format!("database-{}", COUNT.fetch_add(1, Relaxed));
        let content = Arc::new(Mutex::new(image));
        locked(&FILES).insert(name.clone(), content.clone());
        Self { name, content }
    }

    /// The name to open it by.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its content as it is now.
    pub fn image(&self) -> Image {
        locked(&self.content).clone()
    }

    /// Its length as it is now, bytes.
    pub fn len(&self) -> usize {
        locked(&self.content).len()
    }

    /// Does something with its content. No connection may be in a transaction.
    pub fn with<T>(&self, work: impl FnOnce(&mut Image) -> T) -> T {
        work(&mut locked(&self.content))
    }

    /// Replaces its content. No connection to it may be in a transaction.
    pub fn set(&self, image: Image) {
        *locked(&self.content) = image;
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let mut files = locked(&FILES);
        files.remove(&self.name);
        files.remove(&format!("{}-journal", self.name));
    }
}

/// A file as SQLite has it. SQLite gives the room and begins with `base`.
#[repr(C)]
struct Handle {
    base: ffi::sqlite3_file,
    state: *mut State,
}

struct State {
    content: Content,
    /// Its growth is the request's.
    is_charged: bool,
    charged: u64,
}

static METHODS: ffi::sqlite3_io_methods = ffi::sqlite3_io_methods {
    iVersion: 1,
    xClose: Some(close),
    xRead: Some(read),
    xWrite: Some(write),
    xTruncate: Some(truncate),
    xSync: Some(sync),
    xFileSize: Some(file_size),
    xLock: Some(lock),
    xUnlock: Some(lock),
    xCheckReservedLock: Some(check_reserved_lock),
    xFileControl: Some(file_control),
    xSectorSize: Some(sector_size),
    xDeviceCharacteristics: Some(device_characteristics),
    xShmMap: None,
    xShmLock: None,
    xShmBarrier: None,
    xShmUnmap: None,
    xFetch: None,
    xUnfetch: None,
};

/// Registers the VFS as the default one, once SQLite is initialised.
pub fn install() -> c_int {
    // SAFETY: the found VFS is a static structure of SQLite's, which may be copied; the copy is leaked
    // and so lives as long as it is registered. The control takes an int and a function of that type.
    unsafe {
        let usual = ffi::sqlite3_vfs_find(ptr::null());
        if usual.is_null() {
            return ffi::SQLITE_NOTFOUND;
        }
        let mut vfs = Box::new(ptr::read(usual));
        vfs.iVersion = 2;
        vfs.szOsFile = size_of::<Handle>() as c_int;
        vfs.mxPathname = LONGEST_NAME;
        vfs.pNext = ptr::null_mut();
        vfs.zName = NAME.as_ptr();
        vfs.pAppData = ptr::null_mut();
        vfs.xOpen = Some(open);
        vfs.xDelete = Some(delete);
        vfs.xAccess = Some(access);
        vfs.xFullPathname = Some(full_name);
        vfs.xDlOpen = None;
        vfs.xDlError = None;
        vfs.xDlSym = None;
        vfs.xDlClose = None;
        vfs.xRandomness = Some(random::randomness);
        vfs.xCurrentTimeInt64 = Some(random::current_time_ms);
        let replace = 2 as c_int;
        let local_time: unsafe extern "C" fn(*const c_void, *mut c_void) -> c_int =
            random::local_time;
        ffi::sqlite3_test_control(ffi::SQLITE_TESTCTRL_LOCALTIME_FAULT, replace, local_time);
        ffi::sqlite3_vfs_register(Box::leak(vfs), 1)
    }
}

/// # Safety
///
/// `name` is NULL or NUL-terminated.
unsafe fn text<'a>(name: *const c_char) -> Option<&'a str> {
    if name.is_null() {
        return None;
    }
    // SAFETY: the caller's.
    unsafe { CStr::from_ptr(name) }.to_str().ok()
}

unsafe extern "C" fn open(
    _: *mut ffi::sqlite3_vfs,
    name: ffi::sqlite3_filename,
    file: *mut ffi::sqlite3_file,
    flags: c_int,
    out_flags: *mut c_int,
) -> c_int {
    // SAFETY: SQLite gives room for a handle, and a name that is NULL or NUL-terminated.
    let (handle, name) = unsafe { (&mut *file.cast::<Handle>(), text(name)) };
    handle.base.pMethods = ptr::null();
    if meter::fails_here(Call::Open).is_some() {
        meter::fail("a file cannot be opened");
        return ffi::SQLITE_CANTOPEN;
    }
    let is_database = flags & ffi::SQLITE_OPEN_MAIN_DB != 0;
    let content = match name {
        None => Some(Content::default()),
        // The owner has registered it, or nobody may have it.
        Some(name) if is_database => locked(&FILES).get(name).cloned(),
        Some(name) => Some(locked(&FILES).entry(name.to_owned()).or_default().clone()),
    };
    let Some(content) = content else {
        return ffi::SQLITE_CANTOPEN;
    };
    let state = State {
        content,
        is_charged: !is_database,
        charged: 0,
    };
    handle.state = Box::into_raw(Box::new(state));
    handle.base.pMethods = &raw const METHODS;
    if !out_flags.is_null() {
        // SAFETY: SQLite's variable.
        unsafe { *out_flags = flags };
    }
    ffi::SQLITE_OK
}

/// # Safety
///
/// `file` was opened by [`open`] and has not been closed.
unsafe fn state<'a>(file: *mut ffi::sqlite3_file) -> &'a mut State {
    // SAFETY: the caller's; SQLite uses a file from one thread at a time.
    unsafe { &mut *(*file.cast::<Handle>()).state }
}

unsafe extern "C" fn close(file: *mut ffi::sqlite3_file) -> c_int {
    // SAFETY: SQLite closes an open file once.
    let state = unsafe { Box::from_raw((*file.cast::<Handle>()).state) };
    meter::release(state.charged);
    ffi::SQLITE_OK
}

unsafe extern "C" fn read(
    file: *mut ffi::sqlite3_file,
    buffer: *mut c_void,
    length: c_int,
    offset: ffi::sqlite3_int64,
) -> c_int {
    match meter::fails_here(Call::Read) {
        Some(Failure::Missing) => {
            meter::fail("a file cannot be read");
            return ffi::SQLITE_IOERR_READ;
        }
        // As SQLite says where it sees so itself: nothing is noted below it.
        Some(Failure::Damaged) => return ffi::SQLITE_CORRUPT,
        None => {}
    }
    // SAFETY: the file is open, and SQLite's buffer has so many bytes.
    let (state, buffer) = unsafe {
        let bytes = buffer.cast::<u8>();
        (
            state(file),
            std::slice::from_raw_parts_mut(bytes, length as usize),
        )
    };
    meter::page_read();
    let Ok(there) = locked(&state.content).read(offset as usize, buffer) else {
        meter::fail("a page of the database cannot be read, or is damaged");
        return ffi::SQLITE_IOERR_READ;
    };
    if there < buffer.len() {
        return ffi::SQLITE_IOERR_SHORT_READ;
    }
    ffi::SQLITE_OK
}

unsafe extern "C" fn write(
    file: *mut ffi::sqlite3_file,
    buffer: *const c_void,
    length: c_int,
    offset: ffi::sqlite3_int64,
) -> c_int {
    if let Some(failure) = meter::fails_here(Call::Write) {
        meter::fail("a file cannot be written");
        return match failure {
            Failure::Missing => ffi::SQLITE_FULL,
            Failure::Damaged => ffi::SQLITE_IOERR_WRITE,
        };
    }
    // SAFETY: as for `read`.
    let (state, bytes) = unsafe {
        let bytes = buffer.cast::<u8>();
        (
            state(file),
            std::slice::from_raw_parts(bytes, length as usize),
        )
    };
    let end = offset as u64 + bytes.len() as u64;
    if state.is_charged && end > state.charged {
        let more = end - state.charged;
        state.charged = end;
        if !meter::hold(more) {
            return ffi::SQLITE_FULL;
        }
    }
    if locked(&state.content)
        .write(offset as usize, bytes)
        .is_err()
    {
        meter::fail("a page of the database cannot be read, or is damaged");
        return ffi::SQLITE_IOERR_WRITE;
    }
    ffi::SQLITE_OK
}

unsafe extern "C" fn truncate(file: *mut ffi::sqlite3_file, size: ffi::sqlite3_int64) -> c_int {
    // SAFETY: the file is open.
    let state = unsafe { state(file) };
    if state.is_charged && state.charged > size as u64 {
        meter::release(state.charged - size as u64);
        state.charged = size as u64;
    }
    if locked(&state.content).truncate(size as usize).is_err() {
        meter::fail("a page of the database cannot be read, or is damaged");
        return ffi::SQLITE_IOERR_TRUNCATE;
    }
    ffi::SQLITE_OK
}

unsafe extern "C" fn sync(_: *mut ffi::sqlite3_file, _: c_int) -> c_int {
    ffi::SQLITE_OK
}

unsafe extern "C" fn file_size(
    file: *mut ffi::sqlite3_file,
    out: *mut ffi::sqlite3_int64,
) -> c_int {
    // SAFETY: the file is open, the variable is SQLite's.
    unsafe { *out = locked(&state(file).content).len() as i64 };
    ffi::SQLITE_OK
}

unsafe extern "C" fn lock(_: *mut ffi::sqlite3_file, _: c_int) -> c_int {
    ffi::SQLITE_OK
}

unsafe extern "C" fn check_reserved_lock(_: *mut ffi::sqlite3_file, out: *mut c_int) -> c_int {
    // SAFETY: SQLite's variable.
    unsafe { *out = 0 };
    ffi::SQLITE_OK
}

unsafe extern "C" fn file_control(_: *mut ffi::sqlite3_file, _: c_int, _: *mut c_void) -> c_int {
    ffi::SQLITE_NOTFOUND
}

unsafe extern "C" fn sector_size(_: *mut ffi::sqlite3_file) -> c_int {
    512
}

unsafe extern "C" fn device_characteristics(_: *mut ffi::sqlite3_file) -> c_int {
    ffi::SQLITE_IOCAP_SAFE_APPEND | ffi::SQLITE_IOCAP_POWERSAFE_OVERWRITE
}

unsafe extern "C" fn delete(_: *mut ffi::sqlite3_vfs, name: *const c_char, _: c_int) -> c_int {
    // SAFETY: the name is NUL-terminated.
    if let Some(name) = unsafe { text(name) } {
        locked(&FILES).remove(name);
    }
    ffi::SQLITE_OK
}

unsafe extern "C" fn access(
    _: *mut ffi::sqlite3_vfs,
    name: *const c_char,
    _: c_int,
    out: *mut c_int,
) -> c_int {
    // SAFETY: the name is NUL-terminated, the variable is SQLite's. Journals that are empty are none.
    unsafe {
        let found = text(name).and_then(|name| locked(&FILES).get(name).cloned());
        *out = c_int::from(found.is_some_and(|content| !locked(&content).is_empty()));
    }
    ffi::SQLITE_OK
}

unsafe extern "C" fn full_name(
    _: *mut ffi::sqlite3_vfs,
    name: *const c_char,
    room: c_int,
    out: *mut c_char,
) -> c_int {
    // SAFETY: the name is NUL-terminated; SQLite's buffer has so much room.
    unsafe {
        let bytes = CStr::from_ptr(name).to_bytes_with_nul();
        if bytes.len() > room as usize {
            return ffi::SQLITE_CANTOPEN;
        }
        ptr::copy_nonoverlapping(bytes.as_ptr().cast(), out, bytes.len());
    }
    ffi::SQLITE_OK
}
