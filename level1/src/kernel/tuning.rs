//! How the work is cut for a graphics processor.

use std::fmt;
use std::time::Duration;

/// Where the shader reads the columns' schedules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Schedules {
    /// In uniform buffers of 64 KiB: constant memory. A step is a dispatch for each 240 columns.
    Uniform,
    /// In one storage buffer. A step is a single dispatch.
    Storage,
}

/// How the work is cut for a device. Whatever the values, every nonce is tried once; they only
/// decide how fast.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tuning {
    /// Rows that are worked on at once.
    pub rows: u32,
    /// Invocations in a work group: 32 to 256, a multiple of 32.
    pub workgroup: u32,
    /// Rows that an invocation keeps in registers, 1 to 4.
    pub rows_per_invocation: u32,
    /// Of a round's three additions, how many are written as a multiplication by one and an
    /// addition, which the compiler cannot see through: some devices have a unit for
    /// multiplications that would else have nothing to do.
    pub multiplied: u32,
    /// Where the schedules are.
    pub schedules: Schedules,
    /// How long a step should take: long beside the cost of starting it, short enough for a
    /// desktop to stay usable and a moved head to be noticed.
    pub step: Duration,
}

impl Tuning {
    /// What suits a device of this kind.
    pub fn for_kind(kind: &str) -> Self {
        // What an H100 and an H200 do well at; other discrete devices were not tried.
        let discrete = Self {
            rows: 1 << 20,
            workgroup: 128,
            rows_per_invocation: 2,
            multiplied: 1,
            schedules: Schedules::Storage,
            step: Duration::from_millis(50),
        };
        // Software does better with less of everything.
        let other = |rows| Self {
            rows,
            workgroup: 64,
            rows_per_invocation: 1,
            multiplied: 0,
            schedules: Schedules::Uniform,
            step: Duration::from_millis(25),
        };
        match kind {
            "discrete" => discrete,
            "virtual" | "integrated" => other(1 << 16),
            _ => other(1 << 12),
        }
    }

    /// The same within what a device can do: at most so many bytes in one storage buffer.
    #[must_use]
    pub fn within(self, storage_bytes: u64) -> Self {
        let workgroup = (self.workgroup.clamp(32, 256) / 32) * 32;
        let rows_per_invocation = self.rows_per_invocation.clamp(1, 4);
        let group = workgroup * rows_per_invocation;
        // Twenty-four bytes a row, in whole work groups, of which 65,535 can be dispatched.
        let most = u32::try_from(storage_bytes / 24).unwrap_or(u32::MAX);
        let groups = (self.rows.min(most) / group).clamp(1, 65_535);
        Self {
            rows: groups * group,
            workgroup,
            rows_per_invocation,
            multiplied: self.multiplied.min(3),
            ..self
        }
    }
}

impl fmt::Display for Tuning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            rows,
            workgroup,
            rows_per_invocation,
            multiplied,
            schedules,
            step,
        } = self;
        let schedules = match schedules {
            Schedules::Uniform => "uniform",
            Schedules::Storage => "storage",
        };
        write!(
            f,
            "rows {rows:>8}, work group {workgroup:>3}, rows per invocation {rows_per_invocation}, \
             multiplied {multiplied}, {schedules}, steps of {} ms",
            step.as_millis()
        )
    }
}
