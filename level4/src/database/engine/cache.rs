//! SQLite's page cache, with every page that is asked for charged to the request.
//!
//! The cache itself is SQLite's own. Around it, every page counts, and the pages
//! of a cache beyond its usual size count as memory: these are changed ones, and those of temporary
//! tables. Changed pages are never written before the commit, so that nothing depends on how full the
//! cache was when the request began.
#![allow(unsafe_code)]

use std::ffi::{c_int, c_uint};
use std::ptr;
use std::sync::OnceLock;

use rusqlite::ffi;

use super::meter;

/// SQLite's own methods.
static OWN: OnceLock<Methods> = OnceLock::new();

struct Methods(ffi::sqlite3_pcache_methods2);

// SAFETY: the methods are functions, and their argument is NULL.
unsafe impl Send for Methods {}
// SAFETY: as for `Send`.
unsafe impl Sync for Methods {}

/// A cache as SQLite has it from here.
struct Cache {
    own: *mut ffi::sqlite3_pcache,
    page_size: u64,
    /// Pages of which memory has been charged.
    held: u64,
    /// Pages that it may have for nothing.
    free: u64,
}

/// Puts the counting cache in front of SQLite's own. Before SQLite is initialised.
pub fn install() -> c_int {
    // SAFETY: all fields are pointers or functions that may be absent, for which zeros are valid; the
    // options take a pointer to methods, which SQLite fills or copies.
    unsafe {
        let mut methods: ffi::sqlite3_pcache_methods2 = std::mem::zeroed();
        let found = ffi::sqlite3_config(ffi::SQLITE_CONFIG_GETPCACHE2, &raw mut methods);
        if found != ffi::SQLITE_OK {
            return found;
        }
        let own = &OWN.get_or_init(|| Methods(methods)).0;
        let counting = ffi::sqlite3_pcache_methods2 {
            iVersion: 1,
            pArg: ptr::null_mut(),
            xInit: own.xInit,
            xShutdown: own.xShutdown,
            xCreate: Some(create),
            xCachesize: Some(cache_size),
            xPagecount: Some(page_count),
            xFetch: Some(fetch),
            xUnpin: Some(unpin),
            xRekey: Some(rekey),
            xTruncate: Some(truncate),
            xDestroy: Some(destroy),
            xShrink: Some(shrink),
        };
        ffi::sqlite3_config(ffi::SQLITE_CONFIG_PCACHE2, &raw const counting)
    }
}

/// Calls one of SQLite's own methods, with the cache's own pointer in front.
macro_rules! own {
    ($method:ident, $cache:expr $(, $argument:expr)*) => {{
        // SAFETY: SQLite gives back a cache that `create` made, and calls each method as its contract
        // says, which is passed on unchanged. Its own methods are all there.
        unsafe {
            let cache = &mut *$cache.cast::<Cache>();
            let method = OWN.get().and_then(|own| own.0.$method);
            match method {
                Some(method) => meter::in_cache(|| method(cache.own $(, $argument)*)),
                None => std::process::abort(),
            }
        }
    }};
}

unsafe extern "C" fn create(
    page_size: c_int,
    extra: c_int,
    purgeable: c_int,
) -> *mut ffi::sqlite3_pcache {
    let Some(method) = OWN.get().and_then(|own| own.0.xCreate) else {
        return ptr::null_mut();
    };
    // SAFETY: the arguments are passed on.
    let own = meter::in_cache(|| unsafe { method(page_size, extra, purgeable) });
    if own.is_null() {
        return ptr::null_mut();
    }
    let cache = Cache {
        own,
        page_size: (page_size + extra) as u64,
        held: 0,
        free: 0,
    };
    Box::into_raw(Box::new(cache)).cast()
}

unsafe extern "C" fn destroy(cache: *mut ffi::sqlite3_pcache) {
    own!(xDestroy, cache);
    // SAFETY: the cache was made by `create` and is not used again.
    let cache = unsafe { Box::from_raw(cache.cast::<Cache>()) };
    meter::release(cache.held * cache.page_size);
}

unsafe extern "C" fn cache_size(cache: *mut ffi::sqlite3_pcache, pages: c_int) {
    own!(xCachesize, cache, pages);
    // SAFETY: as in `own!`.
    unsafe { (*cache.cast::<Cache>()).free = pages.max(0) as u64 };
}

unsafe extern "C" fn page_count(cache: *mut ffi::sqlite3_pcache) -> c_int {
    own!(xPagecount, cache)
}

unsafe extern "C" fn fetch(
    cache: *mut ffi::sqlite3_pcache,
    page: c_uint,
    create: c_int,
) -> *mut ffi::sqlite3_pcache_page {
    if !meter::page() {
        return ptr::null_mut();
    }
    // Made even where that is "difficult": the alternative would be to write changed pages early.
    let create = if create == 0 { 0 } else { 2 };
    let found = own!(xFetch, cache, page, create);
    if create != 0 && !adjust(cache) && !found.is_null() {
        // Only a page that was made just now can have been too much; nobody has it yet.
        own!(xUnpin, cache, found, 1);
        return ptr::null_mut();
    }
    found
}

/// Charges the memory of the pages that the cache has beyond its usual size.
fn adjust(cache: *mut ffi::sqlite3_pcache) -> bool {
    let pages = own!(xPagecount, cache) as u64;
    // SAFETY: as in `own!`.
    let cache = unsafe { &mut *cache.cast::<Cache>() };
    let held = pages.saturating_sub(cache.free);
    if held > cache.held {
        let more = held - cache.held;
        cache.held = held;
        return meter::hold(more * cache.page_size);
    }
    meter::release((cache.held - held) * cache.page_size);
    cache.held = held;
    true
}

unsafe extern "C" fn unpin(
    cache: *mut ffi::sqlite3_pcache,
    page: *mut ffi::sqlite3_pcache_page,
    discard: c_int,
) {
    own!(xUnpin, cache, page, discard);
}

unsafe extern "C" fn rekey(
    cache: *mut ffi::sqlite3_pcache,
    page: *mut ffi::sqlite3_pcache_page,
    old: c_uint,
    new: c_uint,
) {
    own!(xRekey, cache, page, old, new);
}

unsafe extern "C" fn truncate(cache: *mut ffi::sqlite3_pcache, limit: c_uint) {
    own!(xTruncate, cache, limit);
    adjust(cache);
}

unsafe extern "C" fn shrink(cache: *mut ffi::sqlite3_pcache) {
    own!(xShrink, cache);
    adjust(cache);
}
