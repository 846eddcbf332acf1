//! What the shader, the buffers and the kernel agree on.

use crate::kernel::{Schedules, Tuning};

/// Vectors of four words in which a column's schedule is laid out: W16 … W79 with their
/// constants, then W13 in the first component of the last.
pub(super) const COLUMN_VECTORS: usize = 17;

/// Words that the search needs of a row, in this order: see [`crate::kernel::lanes::Chunk`].
pub(super) const ROW_FIELDS: usize = 6;

/// Bytes of a column's schedule.
pub(super) const COLUMN_BYTES: usize = 16 * COLUMN_VECTORS;

/// Bytes before a window's first column: two vectors, see [`super::shader`].
pub(super) const WINDOW_HEAD: usize = 32;

/// Columns that an invocation tries on its rows: as many schedules as a uniform buffer's 64 KiB
/// hold, less the window's head.
pub(super) const SLICE_COLUMNS: u32 = 240;

/// The most slices in a step.
pub(super) const SLICES: u32 = 64;

/// Steps begun and not yet read.
pub(super) const IN_FLIGHT: usize = 2;

impl Tuning {
    /// Columns of a dispatch.
    pub(super) fn window_columns(&self) -> u32 {
        match self.schedules {
            Schedules::Uniform => SLICE_COLUMNS,
            Schedules::Storage => SLICE_COLUMNS * SLICES,
        }
    }

    /// Bytes from one window to the next; a multiple of what any device wants offsets aligned to.
    pub(super) fn window_bytes(&self) -> usize {
        let bytes = WINDOW_HEAD + self.window_columns() as usize * COLUMN_BYTES;
        bytes.next_multiple_of(256)
    }

    /// Windows in a step.
    pub(super) fn windows(&self) -> u32 {
        SLICE_COLUMNS * SLICES / self.window_columns()
    }
}
