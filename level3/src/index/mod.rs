//! The index of one shard, kept in a folder.
//!
//! Words used here and everywhere else in the crate:
//!
//! * a *gram* is one, two or three consecutive bytes of a line ([`Gram`]);
//! * a *chunk* is a run of whole lines of one file, 16 KiB where lines allow it, and the unit that
//!   gram posting lists point at ([`ChunkSet`] is a set of them);
//! * a *segment* is an immutable pair of files: the packed text of some files, and the posting
//!   lists, names and line numbers that go with it ([`Segment`], written by a `SegmentBuilder`);
//! * a *shard* is a list of segments, named by a manifest that is replaced atomically
//!   ([`Shard`]); searches run on a [`Snapshot`] of it.
//!
//! `DESIGN.md` gives the byte formats and the reasons.

pub(crate) mod builder;
mod chunk;
pub(crate) mod format;
mod gram;
pub(crate) mod manifest;
pub(crate) mod posting;
pub(crate) mod segment;
mod shard;
mod store;
mod update;

pub use chunk::ChunkSet;
pub use format::IndexError;
pub use gram::Gram;
pub use manifest::Identity;
pub use segment::{FileRow, Segment};
pub use shard::{Live, Shard, Snapshot};
pub use update::Progress;
