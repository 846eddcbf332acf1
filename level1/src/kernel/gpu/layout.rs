//! What the shader, the buffers and the kernel agree on.

/// Vectors of four words in which a column's schedule is laid out: W16 … W79 with their
/// constants, then W13 in the first component of the last.
pub(super) const COLUMN_VECTORS: usize = 17;

/// Columns in a window: as many schedules as 64 KiB hold, less the window's head.
pub(super) const WINDOW_COLUMNS: u32 = 240;

/// The most windows in a step.
pub(super) const WINDOWS: u32 = 32;

/// Bytes from one window to the next; a multiple of what any device wants offsets aligned to.
pub(super) const WINDOW_BYTES: usize = 64 << 10;

/// Steps begun and not yet read.
pub(super) const IN_FLIGHT: usize = 2;

/// Rows that fill a device's execution units many times over and are prepared, on the host, in
/// the time of one step.
pub(super) fn rows_for(kind: &str) -> u32 {
    match kind {
        "discrete" => 1 << 19,
        "virtual" | "integrated" => 1 << 16,
        _ => 1 << 12,
    }
}
