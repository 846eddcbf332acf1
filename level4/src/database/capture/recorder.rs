//! Takes down what a connection changes: what is committed, and not what is undone.

#[cfg(not(preupdate_hook))]
mod absent;
#[cfg(preupdate_hook)]
mod hooked;

#[cfg(not(preupdate_hook))]
pub use absent::Recorder;
#[cfg(preupdate_hook)]
pub use hooked::Recorder;

/// Whether this build can tell of changes.
pub const IS_BUILT: bool = cfg!(preupdate_hook);
