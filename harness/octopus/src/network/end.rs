//! The two ends of a connection, and pairs of values of which each belongs to one of them.

use std::ops::{Index, IndexMut};

/// An end of a connection. It also names a direction: that of what this end sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// At the node that connected.
    Near,
    /// At the node that was connected to.
    Far,
}

impl End {
    pub const BOTH: [Self; 2] = [Self::Near, Self::Far];

    /// The end that hears what this one sends.
    pub fn other(self) -> Self {
        match self {
            Self::Near => Self::Far,
            Self::Far => Self::Near,
        }
    }
}

/// A value for each end.
#[derive(Debug, Default)]
pub(super) struct PerEnd<T> {
    pub near: T,
    pub far: T,
}

impl<T> Index<End> for PerEnd<T> {
    type Output = T;

    fn index(&self, end: End) -> &T {
        match end {
            End::Near => &self.near,
            End::Far => &self.far,
        }
    }
}

impl<T> IndexMut<End> for PerEnd<T> {
    fn index_mut(&mut self, end: End) -> &mut T {
        match end {
            End::Near => &mut self.near,
            End::Far => &mut self.far,
        }
    }
}
