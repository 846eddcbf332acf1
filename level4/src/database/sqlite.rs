//! The one place that calls SQLite's C interface: statements rendered the shell's way, a clock set by
//! the log entry, and what a fresh process would have that a used connection has not.
#![allow(unsafe_code)]

use std::cell::Cell;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::marker::PhantomData;
use std::ptr;
use std::sync::OnceLock;

use rusqlite::{Connection, OpenFlags, ffi};

use crate::statement::Value;

/// Milliseconds from SQLite's epoch (noon in Greenwich, 24 November 4714 BC) to 1970.
const JULIAN_OFFSET_MS: i64 = 210_866_760_000_000;
/// Name of the VFS that keeps databases in memory and takes the time from [`set_clock`].
const VFS_NAME: &CStr = c"level4";
/// Significant digits of reals as text, as in the shell's `%!.15g`.
const REAL_DIGITS: c_int = 15;

thread_local! {
    /// `now` for SQL run on this thread, milliseconds since 1970.
    static CLOCK: Cell<i64> = const { Cell::new(0) };
}

/// Sets the time that SQL run by this thread sees, milliseconds since 1970.
pub fn set_clock(ms: u64) {
    CLOCK.set(i64::try_from(ms).unwrap_or(i64::MAX / 2));
}

/// Called by SQLite for the time.
unsafe extern "C" fn current_time_ms(
    _: *mut ffi::sqlite3_vfs,
    out: *mut ffi::sqlite3_int64,
) -> c_int {
    // SAFETY: SQLite passes a pointer to a variable of its own that takes the time.
    unsafe { *out = CLOCK.get() + JULIAN_OFFSET_MS };
    ffi::SQLITE_OK
}

/// Called by SQLite for local time, which is UTC on every node.
unsafe extern "C" fn local_time(time: *const c_void, out: *mut c_void) -> c_int {
    // SAFETY: SQLite passes a `time_t` and a `struct tm` of its own.
    c_int::from(unsafe { libc::gmtime_r(time.cast(), out.cast()) }.is_null())
}

/// Seeds the generator that SQLite itself draws from, for row ids beyond the largest and for names of
/// unnamed columns. It is one for the whole process; only one thread of a node executes SQL.
pub fn seed_own_generator(seed: u64) {
    // 0 would mean a seed from the system.
    let seed = (seed as c_int) | 1;
    // SAFETY: this control takes an int and a pointer to a connection or NULL.
    unsafe {
        let no_connection = ptr::null_mut::<ffi::sqlite3>();
        ffi::sqlite3_test_control(ffi::SQLITE_TESTCTRL_PRNG_SEED, seed, no_connection);
    }
}

/// Registers the VFS: SQLite's own in-memory one with another clock.
fn register_vfs() -> c_int {
    static RESULT: OnceLock<c_int> = OnceLock::new();
    *RESULT.get_or_init(|| {
        // SAFETY: the strings are NUL-terminated and static. The found VFS is a static structure of
        // SQLite's, which may be copied; the copy is leaked and so lives as long as it is registered.
        // The control takes an int and a function of that type.
        unsafe {
            ffi::sqlite3_initialize();
            let memory = ffi::sqlite3_vfs_find(c"memdb".as_ptr());
            if memory.is_null() {
                return ffi::SQLITE_NOTFOUND;
            }
            let mut vfs = Box::new(ptr::read(memory));
            vfs.zName = VFS_NAME.as_ptr();
            vfs.pNext = ptr::null_mut();
            vfs.xCurrentTimeInt64 = Some(current_time_ms);
            let replace = 2 as c_int;
            let local_time: unsafe extern "C" fn(*const c_void, *mut c_void) -> c_int = local_time;
            ffi::sqlite3_test_control(ffi::SQLITE_TESTCTRL_LOCALTIME_FAULT, replace, local_time);
            ffi::sqlite3_vfs_register(Box::leak(vfs), 0)
        }
    })
}

/// Opens the in-memory database `name`, which all connections of this process with that name share and
/// which lives as long as one of them.
pub fn open(name: &str) -> rusqlite::Result<Connection> {
    let registered = register_vfs();
    if registered != ffi::SQLITE_OK {
        return Err(rusqlite::Error::SqliteFailure(
            ffi::Error::new(registered),
            None,
        ));
    }
    let uri = format!("file:/{name}?vfs=level4");
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_URI
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(uri, flags)?;
    Ok(connection)
}

/// Sets what a request has to find: the shell's way with numbers and foreign keys, and a defence
/// against what a file that was loaded may hold.
pub fn configure(connection: &Connection) {
    let unchanged = ptr::null_mut::<c_int>();
    let settings = [
        (ffi::SQLITE_DBCONFIG_FP_DIGITS, REAL_DIGITS),
        (ffi::SQLITE_DBCONFIG_ENABLE_FKEY, 0),
        (ffi::SQLITE_DBCONFIG_DEFENSIVE, 1),
        (ffi::SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0),
    ];
    for (setting, value) in settings {
        // SAFETY: the handle is open; these settings take an int and a pointer to an int or NULL.
        unsafe { ffi::sqlite3_db_config(connection.handle(), setting, value, unchanged) };
    }
}

/// Makes `last_insert_rowid()` what it is in a fresh process.
pub fn forget_last_rowid(connection: &Connection) {
    // SAFETY: the handle is open.
    unsafe { ffi::sqlite3_set_last_insert_rowid(connection.handle(), 0) };
}

/// Whether the text ends outside of any statement (a `;` that ends one, and only blanks and comments
/// after it).
pub fn is_complete(sql: &[u8]) -> bool {
    // In 2014 the text's end ended a `--` comment; for today's SQLite only a line's end does.
    let line = [sql, b"\n"].concat();
    // SAFETY: the string is NUL-terminated.
    CString::new(line).is_ok_and(|line| unsafe { ffi::sqlite3_complete(line.as_ptr()) } != 0)
}

/// SQLite's message for the last error.
pub fn error_message(connection: &Connection) -> String {
    // SAFETY: the handle is open; the message is NUL-terminated and copied before any other call.
    let message = unsafe { CStr::from_ptr(ffi::sqlite3_errmsg(connection.handle())) };
    message.to_string_lossy().into_owned()
}

/// A prepared statement.
#[derive(Debug)]
pub struct Statement<'c> {
    raw: *mut ffi::sqlite3_stmt,
    connection: &'c Connection,
    _not_send: PhantomData<*const ()>,
}

/// SQL text and how far it has been prepared. It ends at the first NUL, as for SQLite.
#[derive(Debug)]
pub struct Script {
    text: CString,
    at: usize,
}

impl Script {
    /// The statements of `sql`.
    pub fn new(sql: &[u8]) -> Self {
        let end = sql.iter().position(|&byte| byte == 0).unwrap_or(sql.len());
        Self {
            text: CString::new(&sql[..end]).unwrap_or_default(),
            at: 0,
        }
    }

    /// The next statement; `None`: there are none left, only blanks and comments.
    pub fn next<'c>(
        &mut self,
        connection: &'c Connection,
    ) -> Result<Option<Statement<'c>>, String> {
        loop {
            let rest = &self.text.as_bytes_with_nul()[self.at..];
            // With the NUL in it SQLite need not copy the text for every statement.
            let Ok(length) = c_int::try_from(rest.len()) else {
                return Err("statement too long".to_owned());
            };
            let mut raw = ptr::null_mut();
            let mut tail = ptr::null();
            // SAFETY: the handle is open; `rest` is readable for `length` bytes during the call, the
            // last of which is its NUL, and the tail SQLite gives back points into it.
            let (code, used) = unsafe {
                let start = rest.as_ptr().cast::<c_char>();
                let db = connection.handle();
                let code = ffi::sqlite3_prepare_v2(db, start, length, &raw mut raw, &raw mut tail);
                let used = if tail.is_null() {
                    rest.len() - 1
                } else {
                    tail.offset_from(start) as usize
                };
                (code, used)
            };
            if code != ffi::SQLITE_OK {
                return Err(error_message(connection));
            }
            self.at += used;
            if !raw.is_null() {
                return Ok(Some(Statement {
                    raw,
                    connection,
                    _not_send: PhantomData,
                }));
            }
            if used == 0 || rest.len() == 1 {
                return Ok(None);
            }
        }
    }
}

impl Statement<'_> {
    /// Runs to the next row; `false`: there is none, the statement is done.
    pub fn step(&mut self) -> Result<bool, String> {
        // SAFETY: the statement is live until dropped.
        match unsafe { ffi::sqlite3_step(self.raw) } {
            ffi::SQLITE_ROW => Ok(true),
            ffi::SQLITE_DONE => Ok(false),
            _ => Err(error_message(self.connection)),
        }
    }

    /// Number of columns; 0 for statements that give no rows.
    pub fn columns(&self) -> usize {
        // SAFETY: the statement is live until dropped.
        unsafe { ffi::sqlite3_column_count(self.raw) as usize }
    }

    /// Whether it changes nothing.
    pub fn is_read_only(&self) -> bool {
        // SAFETY: the statement is live until dropped.
        unsafe { ffi::sqlite3_stmt_readonly(self.raw) != 0 }
    }

    /// A column's name.
    pub fn name(&self, column: usize) -> String {
        // SAFETY: SQLite answers a column out of range with NULL; the name is copied at once.
        unsafe { text(ffi::sqlite3_column_name(self.raw, column as c_int)) }
    }

    /// A column's declared type, as written in the table; empty for expressions.
    pub fn declared_type(&self, column: usize) -> String {
        // SAFETY: as for `name`.
        unsafe { text(ffi::sqlite3_column_decltype(self.raw, column as c_int)) }
    }

    /// Appends a column of the current row as the shell prints it: text up to the first NUL.
    pub fn print(&self, column: usize, output: &mut Vec<u8>) {
        // SAFETY: the text is NUL-terminated and valid until the next call on this statement.
        unsafe {
            let text = ffi::sqlite3_column_text(self.raw, column as c_int);
            if !text.is_null() {
                output.extend_from_slice(CStr::from_ptr(text.cast()).to_bytes());
            }
        }
    }

    /// A column of the current row.
    pub fn value(&self, column: usize) -> Value {
        let column = column as c_int;
        // SAFETY: the statement stands on a row; bytes are read before any other call on it, and
        // SQLite says how many there are.
        unsafe {
            match ffi::sqlite3_column_type(self.raw, column) {
                ffi::SQLITE_INTEGER => Value::Integer(ffi::sqlite3_column_int64(self.raw, column)),
                ffi::SQLITE_FLOAT => Value::Real(ffi::sqlite3_column_double(self.raw, column)),
                ffi::SQLITE_TEXT => {
                    // Asked for as text, it comes in UTF-8 whatever the database's encoding.
                    let start = ffi::sqlite3_column_text(self.raw, column);
                    let length = ffi::sqlite3_column_bytes(self.raw, column) as usize;
                    let bytes = bytes(start, length);
                    Value::Text(String::from_utf8_lossy(bytes).into_owned())
                }
                ffi::SQLITE_BLOB => {
                    let start = ffi::sqlite3_column_blob(self.raw, column).cast::<u8>();
                    let length = ffi::sqlite3_column_bytes(self.raw, column) as usize;
                    Value::Blob(bytes(start, length).to_vec())
                }
                _ => Value::Null,
            }
        }
    }

    /// How many parameters it has.
    pub fn parameters(&self) -> usize {
        // SAFETY: the statement is live until dropped.
        unsafe { ffi::sqlite3_bind_parameter_count(self.raw) as usize }
    }

    /// The name of parameter `place` (from 1) with its `:`, `@` or `$`; empty if it has none.
    pub fn parameter_name(&self, place: usize) -> String {
        // SAFETY: SQLite answers a place out of range with NULL; the name is copied at once.
        unsafe { text(ffi::sqlite3_bind_parameter_name(self.raw, place as c_int)) }
    }

    /// Sets parameter `place` (from 1).
    pub fn bind(&mut self, place: usize, value: &Value) -> Result<(), String> {
        let place = place as c_int;
        // SAFETY: SQLite copies text and blobs during the call (SQLITE_TRANSIENT) and checks places.
        let code = unsafe {
            match value {
                Value::Null => ffi::sqlite3_bind_null(self.raw, place),
                Value::Integer(value) => ffi::sqlite3_bind_int64(self.raw, place, *value),
                Value::Real(value) => ffi::sqlite3_bind_double(self.raw, place, *value),
                Value::Text(value) => ffi::sqlite3_bind_text64(
                    self.raw,
                    place,
                    value.as_ptr().cast(),
                    value.len() as u64,
                    ffi::SQLITE_TRANSIENT(),
                    ffi::SQLITE_UTF8 as u8,
                ),
                Value::Blob(value) => ffi::sqlite3_bind_blob64(
                    self.raw,
                    place,
                    value.as_ptr().cast(),
                    value.len() as u64,
                    ffi::SQLITE_TRANSIENT(),
                ),
            }
        };
        if code == ffi::SQLITE_OK {
            Ok(())
        } else {
            Err(error_message(self.connection))
        }
    }
}

impl Drop for Statement<'_> {
    fn drop(&mut self) {
        // SAFETY: the statement is live, and not used again.
        unsafe { ffi::sqlite3_finalize(self.raw) };
    }
}

/// # Safety
///
/// `start` is NULL, or readable for `length` bytes for as long as the slice is used.
unsafe fn bytes<'a>(start: *const u8, length: usize) -> &'a [u8] {
    if start.is_null() {
        return &[];
    }
    // SAFETY: the caller's.
    unsafe { std::slice::from_raw_parts(start, length) }
}

/// # Safety
///
/// `text` is NULL or NUL-terminated.
unsafe fn text(text: *const c_char) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: the caller's.
    unsafe { CStr::from_ptr(text) }
        .to_string_lossy()
        .into_owned()
}

/// Replaces `changes()` and `total_changes()` by ones that count from the request's start.
/// `base` gives the connection's total at that time.
pub fn count_changes_from(
    connection: &Connection,
    base: &std::sync::Arc<std::sync::atomic::AtomicU64>,
) -> rusqlite::Result<()> {
    use rusqlite::functions::FunctionFlags;
    use std::sync::atomic::Ordering::Relaxed;
    let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_INNOCUOUS;
    for total in [false, true] {
        let base = base.clone();
        let name = if total { "total_changes" } else { "changes" };
        connection.create_scalar_function(name, 0, flags, move |context| {
            // SAFETY: the connection is only read from, within the call.
            let connection = unsafe { context.get_connection()? };
            let since = connection
                .total_changes()
                .saturating_sub(base.load(Relaxed));
            let changes = if total || since == 0 {
                since
            } else {
                connection.changes()
            };
            Ok(changes as i64)
        })?;
    }
    Ok(())
}
