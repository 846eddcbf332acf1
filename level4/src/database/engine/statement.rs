//! Statements of SQLite, compiled and run under the thread's [`meter`].
#![allow(unsafe_code)]

use std::ffi::{CStr, CString, c_char, c_int};
use std::marker::PhantomData;
use std::ptr;

use rusqlite::{Connection, ffi};

use super::meter::{self, Phase};
use crate::statement::Value;

/// Significant digits of reals as text, as in the shell's `%!.15g`.
const REAL_DIGITS: c_int = 15;
/// Charged for each statement, and one more for each byte of it, in steps.
const STATEMENT_STEPS: u64 = 100;

/// Initialises SQLite.
pub fn initialize() -> c_int {
    // SAFETY: this may be called at any time.
    unsafe { ffi::sqlite3_initialize() }
}

/// Frees the pages that a connection keeps, so that the next request finds what it would on a node that
/// has just been started.
pub fn forget_pages(connection: &Connection) {
    // SAFETY: the handle is open.
    unsafe { ffi::sqlite3_db_release_memory(connection.handle()) };
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
#[cfg(test)]
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

    /// What has not been prepared yet.
    pub fn rest(&self) -> &[u8] {
        &self.text.as_bytes()[self.at..]
    }

    /// What has been prepared since so many bytes were left.
    pub fn last(&self, left: usize) -> &[u8] {
        let text = self.text.as_bytes();
        &text[text.len() - left..self.at.min(text.len())]
    }

    /// The next statement; `None`: there are none left, only blanks and comments.
    ///
    /// # Errors
    ///
    /// SQLite's message, or that of a budget that is used up.
    pub fn next<'c>(
        &mut self,
        connection: &'c Connection,
    ) -> Result<Option<Statement<'c>>, String> {
        loop {
            let rest = &self.text.as_bytes_with_nul()[self.at..];
            let (code, raw, used) = compile(connection, rest)?;
            let statement = (!raw.is_null()).then(|| Statement {
                raw,
                connection,
                _not_send: PhantomData,
            });
            if code != ffi::SQLITE_OK || meter::exceeded().is_some() {
                return Err(failure(connection));
            }
            self.at += used;
            if statement.is_some() {
                meter::value(longest_literal(&rest[..used]));
                return Ok(statement);
            }
            if used == 0 || rest.len() == 1 {
                return Ok(None);
            }
        }
    }
}

/// Compiles the first statement of `rest`, which ends with a NUL: SQLite need not copy it then.
///
/// A connection that has compiled much remembers some of it (columns of views, affinities, triggers of
/// foreign keys), so that doing it for the first time takes a little more. Where that could matter, it is
/// done twice, and what the first time made it remember makes no difference to the second.
fn compile(
    connection: &Connection,
    rest: &[u8],
) -> Result<(c_int, *mut ffi::sqlite3_stmt, usize), String> {
    let limits = meter::limits();
    let length = c_int::try_from(rest.len()).map_err(|_| "statement too long".to_owned())?;
    if let Some(exceeded) = meter::exceeded() {
        return Err(exceeded.to_string());
    }
    let compile = || {
        let mut raw = ptr::null_mut();
        let mut tail = ptr::null();
        // SAFETY: the handle is open; `rest` is readable for `length` bytes during the call, the last of
        // which is its NUL, and the tail SQLite gives back points into it.
        meter::within(Phase::Prepare, || unsafe {
            let start = rest.as_ptr().cast::<c_char>();
            let db = connection.handle();
            let code = ffi::sqlite3_prepare_v2(db, start, length, &raw mut raw, &raw mut tail);
            let used = if tail.is_null() {
                rest.len() - 1
            } else {
                tail.offset_from(start) as usize
            };
            (code, raw, used)
        })
    };
    let before = meter::begin_compilation();
    meter::set_limits(meter::Budget {
        steps: limits.steps.saturating_add(limits.steps / 8),
        memory: limits.memory.saturating_add(limits.memory / 8),
        ..limits
    });
    let mut result = compile();
    meter::set_limits(limits);
    if meter::peak() > limits.memory / 2 || meter::has_worked_since(before) {
        // SAFETY: the statement is live or NULL, and not used again.
        unsafe { ffi::sqlite3_finalize(result.1) };
        meter::reset(before);
        meter::begin_compilation();
        result = compile();
    }
    meter::end_compilation();
    charge(result.2);
    Ok(result)
}

/// Charges for a statement of so many bytes.
fn charge(length: usize) {
    meter::charge(STATEMENT_STEPS + length as u64);
}

/// Charges for one that has been compiled and is to be run again.
///
/// # Errors
///
/// That of a budget that is used up.
pub fn charge_again(length: usize) -> Result<(), String> {
    charge(length);
    meter::exceeded().map_or(Ok(()), |exceeded| Err(exceeded.to_string()))
}

/// The longest piece between quotes, bytes: no literal of the statement is longer.
fn longest_literal(sql: &[u8]) -> u64 {
    let (mut rest, mut longest) = (sql, 0);
    while let Some(start) = memchr::memchr2(b'\'', b'"', rest) {
        let after = &rest[start + 1..];
        let length = memchr::memchr(rest[start], after).unwrap_or(after.len());
        longest = length.max(longest);
        rest = after.get(length + 1..).unwrap_or_default();
    }
    longest as u64
}

/// Why the last call on a connection failed. A database in memory that is damaged is the environment's
/// failure, unless a client has loaded it so; what virtual tables and sequences find wrong with their content is not, as any request can
/// have put it there.
fn failure(connection: &Connection) -> String {
    if let Some(exceeded) = meter::exceeded() {
        return exceeded.to_string();
    }
    // SAFETY: the handle is open.
    let code = unsafe { ffi::sqlite3_extended_errcode(connection.handle()) };
    if matches!(code, ffi::SQLITE_CORRUPT | ffi::SQLITE_NOTADB) {
        meter::damage();
    }
    error_message(connection)
}

impl Statement<'_> {
    /// Runs to the next row; `false`: there is none, the statement is done.
    ///
    /// # Errors
    ///
    /// SQLite's message, or that of a budget that is used up.
    pub fn step(&mut self) -> Result<bool, String> {
        // SAFETY: the statement is live until dropped.
        match meter::within(Phase::Step, || unsafe { ffi::sqlite3_step(self.raw) }) {
            ffi::SQLITE_ROW => Ok(true),
            ffi::SQLITE_DONE => Ok(false),
            _ => Err(failure(self.connection)),
        }
    }

    /// Ends what it has run, which is charged then. It can be run again.
    pub fn finish(&mut self) {
        // SAFETY: the statement is live until dropped.
        unsafe {
            let steps = ffi::sqlite3_stmt_status(self.raw, ffi::SQLITE_STMTSTATUS_VM_STEP, 1);
            meter::finish_statement(steps.max(0) as u64);
            ffi::sqlite3_reset(self.raw);
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

    /// The table that a column is from; empty for expressions.
    pub fn table(&self, column: usize) -> String {
        // SAFETY: as for `name`.
        unsafe { text(ffi::sqlite3_column_table_name(self.raw, column as c_int)) }
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
        meter::value(value.size() as u64);
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
            Err(failure(self.connection))
        }
    }
}

impl Drop for Statement<'_> {
    fn drop(&mut self) {
        self.finish();
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
