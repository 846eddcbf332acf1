//! SQLite's preupdate hook, and the table that is told what is undone.
#![allow(unsafe_code)]

use std::ffi::{CStr, c_char, c_int, c_void};
use std::ptr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rusqlite::{Connection, ffi};

use super::{JOIN, Operation};
use crate::statement::Value;

const NAME: &CStr = c"sqlite_level4_changes";
const COLUMNS: &CStr = c"CREATE TABLE x (a)";

/// A row's values in the order of its table's columns; `None`: it is computed when it is read, and not known.
pub type Row = Vec<Option<Value>>;

/// A row that is about to be changed.
#[derive(Debug)]
pub struct Change<'a> {
    /// What is about to be done.
    pub operation: Operation,
    /// The row's table.
    pub table: &'a str,
    /// The row's id before, 0 for tables WITHOUT ROWID,
    pub old_row_id: i64,
    /// and after.
    pub new_row_id: i64,
    db: *mut ffi::sqlite3,
}

/// Is told of changes.
pub trait Watch: Send + 'static {
    /// A row is about to be changed.
    fn change(&mut self, change: &Change);
    /// The witness takes part in a transaction,
    fn joins(&mut self);
    /// which is over.
    fn leaves(&mut self);
    /// From here on what is done can be undone by this number. Those before it can be as well.
    fn savepoint(&mut self, number: usize);
    /// Savepoints from this one on are no more.
    fn release(&mut self, number: usize);
    /// What was done since is undone; `None`: all that the transaction has done.
    fn roll_back_to(&mut self, number: Option<usize>);
}

/// Has `watch` told of all changes by this connection, as long as that is open: it has to be kept for so long.
///
/// # Errors
///
/// SQLite's.
pub fn install<W: Watch>(connection: &Connection, watch: &Arc<Mutex<W>>) -> rusqlite::Result<()> {
    let context = Arc::as_ptr(watch).cast_mut().cast::<c_void>();
    // SAFETY: the handle is open; the caller keeps what the context points to for longer than the connection.
    // The module is a constant.
    let code = unsafe {
        let db = connection.handle();
        let module = const { &module::<W>() };
        let code = ffi::sqlite3_create_module_v2(db, NAME.as_ptr(), module, context, None);
        ffi::sqlite3_preupdate_hook(db, Some(on_change::<W>), context);
        code
    };
    if code != ffi::SQLITE_OK {
        return Err(rusqlite::Error::SqliteFailure(ffi::Error::new(code), None));
    }
    // What a connection remembers of the table, it remembers from the start.
    connection.execute_batch(JOIN)
}

/// # Safety
///
/// `context` is what [`install`] was given, and is still kept.
unsafe fn locked<'a, W>(context: *const Mutex<W>) -> MutexGuard<'a, W> {
    // SAFETY: the caller's.
    let watch = unsafe { &*context };
    watch.lock().unwrap_or_else(PoisonError::into_inner)
}

unsafe extern "C" fn on_change<W: Watch>(
    context: *mut c_void,
    db: *mut ffi::sqlite3,
    operation: c_int,
    database: *const c_char,
    table: *const c_char,
    old_row_id: i64,
    new_row_id: i64,
) {
    // SAFETY: SQLite calls with NUL-terminated names and what `install` has given.
    let (database, table, mut watch) = unsafe {
        let names = (CStr::from_ptr(database), CStr::from_ptr(table));
        (names.0, names.1, locked::<W>(context.cast()))
    };
    // SAFETY: within the callback.
    let is_part = unsafe { ffi::sqlite3_preupdate_blobwrite(db) } >= 0;
    // Virtual tables write parts of their own rows, which is told as if these were deleted.
    if database != c"main" || is_part {
        return;
    }
    let operation = match operation {
        ffi::SQLITE_INSERT => Operation::Insert,
        ffi::SQLITE_UPDATE => Operation::Update,
        _ => Operation::Delete,
    };
    watch.change(&Change {
        operation,
        table: &table.to_string_lossy(),
        old_row_id,
        new_row_id,
        db,
    });
}

impl Change<'_> {
    /// The row before, which is empty if there was none.
    ///
    /// # Errors
    ///
    /// If it cannot be read. Then what is about to be done cannot be done either.
    pub fn before(&self) -> Result<Row, Unreadable> {
        if self.operation == Operation::Insert {
            return Ok(Row::new());
        }
        self.row(ffi::sqlite3_preupdate_old)
    }

    /// The row after, which is empty if there is none.
    ///
    /// # Errors
    ///
    /// Likewise.
    pub fn after(&self) -> Result<Row, Unreadable> {
        if self.operation == Operation::Delete {
            return Ok(Row::new());
        }
        self.row(ffi::sqlite3_preupdate_new)
    }

    fn row(
        &self,
        read: unsafe extern "C" fn(*mut ffi::sqlite3, c_int, *mut *mut ffi::sqlite3_value) -> c_int,
    ) -> Result<Row, Unreadable> {
        // SAFETY: a change is there within the callback only, where these may be called.
        let count = unsafe { ffi::sqlite3_preupdate_count(self.db) };
        let column = |column| {
            let mut value = ptr::null_mut();
            // SAFETY: as above; the value is valid until the callback returns.
            match unsafe { read(self.db, column, &raw mut value) } {
                // SAFETY: likewise.
                ffi::SQLITE_OK if !value.is_null() => Ok(Some(unsafe { copied(value) })),
                ffi::SQLITE_RANGE => Ok(None),
                _ => Err(Unreadable),
            }
        };
        (0..count).map(column).collect()
    }
}

/// SQLite gives no value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unreadable;

/// # Safety
///
/// `value` is one of SQLite's.
unsafe fn copied(value: *mut ffi::sqlite3_value) -> Value {
    // SAFETY: the caller's; bytes are read right after they were asked for.
    unsafe {
        let bytes = |start: *const u8| {
            let length = ffi::sqlite3_value_bytes(value) as usize;
            if start.is_null() {
                &[][..]
            } else {
                std::slice::from_raw_parts(start, length)
            }
        };
        match ffi::sqlite3_value_type(value) {
            ffi::SQLITE_INTEGER => Value::Integer(ffi::sqlite3_value_int64(value)),
            ffi::SQLITE_FLOAT => Value::Real(ffi::sqlite3_value_double(value)),
            ffi::SQLITE_TEXT => {
                let text = bytes(ffi::sqlite3_value_text(value));
                Value::Text(String::from_utf8_lossy(text).into_owned())
            }
            ffi::SQLITE_BLOB => Value::Blob(bytes(ffi::sqlite3_value_blob(value).cast()).to_vec()),
            _ => Value::Null,
        }
    }
}

/// The witness, as SQLite knows it.
#[repr(C)]
struct Witness<W> {
    base: ffi::sqlite3_vtab,
    watch: *const Mutex<W>,
}

const fn module<W: Watch>() -> ffi::sqlite3_module {
    ffi::sqlite3_module {
        iVersion: 2,
        // Nobody makes one: it is there.
        xCreate: None,
        xConnect: Some(connect::<W>),
        xBestIndex: Some(best_index),
        xDisconnect: Some(disconnect::<W>),
        xDestroy: Some(disconnect::<W>),
        xOpen: Some(open),
        xClose: Some(close),
        xFilter: Some(filter),
        xNext: Some(next),
        xEof: Some(is_at_end),
        xColumn: Some(column),
        xRowid: Some(row_id),
        xUpdate: Some(update),
        xBegin: Some(begin::<W>),
        xSync: None,
        xCommit: Some(end::<W>),
        xRollback: Some(end::<W>),
        xFindFunction: None,
        xRename: None,
        xSavepoint: Some(savepoint::<W>),
        xRelease: Some(release::<W>),
        xRollbackTo: Some(roll_back_to::<W>),
        xShadowName: None,
        xIntegrity: None,
    }
}

unsafe extern "C" fn connect<W>(
    db: *mut ffi::sqlite3,
    context: *mut c_void,
    _: c_int,
    _: *const *const c_char,
    table: *mut *mut ffi::sqlite3_vtab,
    _: *mut *mut c_char,
) -> c_int {
    // SAFETY: SQLite's handle and a constant.
    let code = unsafe { ffi::sqlite3_declare_vtab(db, COLUMNS.as_ptr()) };
    if code == ffi::SQLITE_OK {
        let witness = Box::new(Witness::<W> {
            base: ffi::sqlite3_vtab {
                pModule: ptr::null(),
                nRef: 0,
                zErrMsg: ptr::null_mut(),
            },
            watch: context.cast(),
        });
        // SAFETY: SQLite wants it there, and gives it to `disconnect`.
        unsafe { *table = &raw mut (*Box::into_raw(witness)).base };
    }
    code
}

unsafe extern "C" fn disconnect<W>(table: *mut ffi::sqlite3_vtab) -> c_int {
    // SAFETY: it is from `connect`, and is not used again.
    drop(unsafe { Box::from_raw(table.cast::<Witness<W>>()) });
    ffi::SQLITE_OK
}

unsafe extern "C" fn best_index(
    _: *mut ffi::sqlite3_vtab,
    _: *mut ffi::sqlite3_index_info,
) -> c_int {
    ffi::SQLITE_OK
}

unsafe extern "C" fn open(
    _: *mut ffi::sqlite3_vtab,
    cursor: *mut *mut ffi::sqlite3_vtab_cursor,
) -> c_int {
    let made = Box::new(ffi::sqlite3_vtab_cursor {
        pVtab: ptr::null_mut(),
    });
    // SAFETY: SQLite wants it there, and gives it to `close`.
    unsafe { *cursor = Box::into_raw(made) };
    ffi::SQLITE_OK
}

unsafe extern "C" fn close(cursor: *mut ffi::sqlite3_vtab_cursor) -> c_int {
    // SAFETY: it is from `open`, and is not used again.
    drop(unsafe { Box::from_raw(cursor) });
    ffi::SQLITE_OK
}

unsafe extern "C" fn filter(
    _: *mut ffi::sqlite3_vtab_cursor,
    _: c_int,
    _: *const c_char,
    _: c_int,
    _: *mut *mut ffi::sqlite3_value,
) -> c_int {
    ffi::SQLITE_OK
}

unsafe extern "C" fn next(_: *mut ffi::sqlite3_vtab_cursor) -> c_int {
    ffi::SQLITE_OK
}

unsafe extern "C" fn is_at_end(_: *mut ffi::sqlite3_vtab_cursor) -> c_int {
    1
}

unsafe extern "C" fn column(
    _: *mut ffi::sqlite3_vtab_cursor,
    _: *mut ffi::sqlite3_context,
    _: c_int,
) -> c_int {
    ffi::SQLITE_OK
}

unsafe extern "C" fn row_id(_: *mut ffi::sqlite3_vtab_cursor, id: *mut i64) -> c_int {
    // SAFETY: SQLite wants it there.
    unsafe { *id = 0 };
    ffi::SQLITE_OK
}

unsafe extern "C" fn update(
    _: *mut ffi::sqlite3_vtab,
    _: c_int,
    _: *mut *mut ffi::sqlite3_value,
    _: *mut i64,
) -> c_int {
    ffi::SQLITE_READONLY
}

/// # Safety
///
/// `table` is from `connect`.
unsafe fn told<W>(table: *mut ffi::sqlite3_vtab, tell: impl FnOnce(&mut W)) -> c_int {
    // SAFETY: the caller's; what it points to is kept as long as the connection.
    let mut watch = unsafe { locked::<W>((*table.cast::<Witness<W>>()).watch) };
    tell(&mut watch);
    ffi::SQLITE_OK
}

unsafe extern "C" fn begin<W: Watch>(table: *mut ffi::sqlite3_vtab) -> c_int {
    // SAFETY: SQLite calls with a table from `connect`.
    unsafe { told(table, W::joins) }
}

unsafe extern "C" fn end<W: Watch>(table: *mut ffi::sqlite3_vtab) -> c_int {
    // SAFETY: as for `begin`.
    unsafe { told(table, W::leaves) }
}

unsafe extern "C" fn savepoint<W: Watch>(table: *mut ffi::sqlite3_vtab, number: c_int) -> c_int {
    // SAFETY: as for `begin`.
    unsafe { told(table, |watch: &mut W| watch.savepoint(number as usize)) }
}

unsafe extern "C" fn release<W: Watch>(table: *mut ffi::sqlite3_vtab, number: c_int) -> c_int {
    // SAFETY: as for `begin`.
    unsafe { told(table, |watch: &mut W| watch.release(number as usize)) }
}

unsafe extern "C" fn roll_back_to<W: Watch>(table: *mut ffi::sqlite3_vtab, number: c_int) -> c_int {
    // SAFETY: as for `begin`.
    unsafe {
        told(table, |watch: &mut W| {
            watch.roll_back_to(usize::try_from(number).ok());
        })
    }
}
