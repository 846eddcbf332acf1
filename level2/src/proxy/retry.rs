//! How many requests may be sent a second time: a part of all, so that backends in trouble do not get more
//! to do just then.

/// Part of a second attempt that each request earns.
const EARNED: f64 = 0.2;

/// Most that is saved up, and what there is at the start.
const MOST: f64 = 10.0;

/// One worker's budget.
#[derive(Debug)]
pub struct RetryBudget(f64);

impl Default for RetryBudget {
    fn default() -> Self {
        Self(MOST)
    }
}

impl RetryBudget {
    /// A request came.
    pub fn earn(&mut self) {
        self.0 = (self.0 + EARNED).min(MOST);
    }

    /// Takes a second attempt, if there is one left.
    pub fn take(&mut self) -> bool {
        let enough = self.0 >= 1.0;
        if enough {
            self.0 -= 1.0;
        }
        enough
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_in_five_may_be_repeated_for_long() {
        let mut budget = RetryBudget::default();
        let repeated = (0..1000)
            .filter(|_| {
                budget.earn();
                budget.take()
            })
            .count();
        assert!((200..=212).contains(&repeated), "{repeated}");
    }
}
