//! How much work a check may do. What is counted are steps of the search, not seconds: the same
//! history gets the same verdict on every machine.

/// Work that may still be done, in steps of about a nanosecond to ten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    steps: u64,
}

/// The budget is spent: nothing is decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exhausted;

impl Default for Budget {
    /// 200 million steps, a second or so.
    fn default() -> Self {
        Self::steps(200_000_000)
    }
}

impl Budget {
    /// So many steps.
    pub const fn steps(steps: u64) -> Self {
        Self { steps }
    }

    /// How many steps are left.
    pub const fn left(self) -> u64 {
        self.steps
    }

    /// Takes steps away.
    ///
    /// # Errors
    /// When fewer are left; then none remains.
    pub fn spend(&mut self, steps: u64) -> Result<(), Exhausted> {
        let left = self.steps.checked_sub(steps);
        self.steps = left.unwrap_or(0);
        left.map(|_| ()).ok_or(Exhausted)
    }
}
