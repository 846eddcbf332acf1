//! The words of the policy: what it is told, what it answers, how it is set up.
//!
//! No logic is here. Time is one type throughout, [`Seconds`]; a moment is the time since an origin
//! of the caller's choice, and never runs backwards.

use super::clients::ClientRef;
use super::fair::Charge;
use super::naming::Naming;
use super::queue::Rank;

/// A length of time, or a moment as the time since an origin of the caller's choice, in seconds.
///
/// An `f64` resolves a nanosecond for a hundred days and a microsecond for centuries.
pub type Seconds = f64;

/// No client is told to stay away for longer, in seconds.
const LONGEST_RETRY: f64 = 60.0;

/// What a client's recent conduct makes of its next request. Smaller goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// Known, and asks for no more than the fair level.
    Light,
    /// Not known for long, and asks for no more than the fair level.
    Newcomer,
    /// Asks for more.
    Heavy,
}

/// How long a request took at a backend, and beside how many.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ended {
    /// When it ended.
    pub now: Seconds,
    /// How many the backend had with it, at its start.
    pub in_flight: u32,
    /// The time that it took.
    pub latency: Seconds,
}

/// What is fixed when the policy is made.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Number of backends.
    pub backends: usize,
    /// The limit of each backend; `None` to find it.
    pub max_in_flight: Option<u32>,
    /// Longest time a request may wait for a place.
    pub max_wait: Seconds,
    /// Most requests that may be queued at once.
    pub max_queue: usize,
    /// Clients remembered.
    pub max_clients: usize,
    /// How clients are told apart, and their classes.
    pub naming: Naming,
    /// Decide and count, but let everybody through at once.
    pub dry_run: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            backends: 1,
            max_in_flight: None,
            max_wait: 0.75,
            max_queue: 1024,
            max_clients: 65_536,
            naming: Naming::default(),
            dry_run: false,
        }
    }
}

/// A request in flight; goes back into `Policy::finish`.
#[derive(Debug, PartialEq)]
#[must_use = "a flight that is not finished holds its place for ever"]
pub struct Flight {
    /// Index of the backend it was given to.
    pub backend: usize,
    /// The client's class when it came.
    pub class: Class,
    pub(super) client: ClientRef,
    pub(super) charge: Charge,
    pub(super) started: Seconds,
    /// How many the backend had with it.
    pub(super) beside: u32,
}

/// Why a request is rejected.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Reason {
    /// Its client asks for more than the fair level, or than its fixed limit.
    TooMany {
        /// Time until it may look otherwise.
        retry_after: Seconds,
    },
    /// It could not have been served in time.
    TooLate {
        /// Time until it may look otherwise.
        retry_after: Seconds,
    },
    /// No backend is up.
    NoBackend,
}

impl Reason {
    /// The `Retry-After` to send, in whole seconds (RFC 9110, section 10.2.3): none where the wait is
    /// less than one, since a client that came back a second later would leave the backends idle.
    pub fn retry_after(self) -> Option<u32> {
        let wait = match self {
            Self::TooMany { retry_after } | Self::TooLate { retry_after } => retry_after,
            Self::NoBackend => 1.0,
        };
        (wait >= 1.0).then(|| wait.ceil().min(LONGEST_RETRY) as u32)
    }
}

/// What became of an arrival.
#[derive(Debug)]
pub enum Decision {
    /// Send it now.
    Admit(Flight),
    /// It waits; an [`Effect`] with its token will follow, unless it is abandoned under this rank.
    Queue(Rank),
    /// It is not served; how its client looked.
    Reject(Class, Reason),
}

/// What became of a request that was queued.
#[derive(Debug)]
pub enum Effect<T> {
    /// Send it now.
    Admit(T, Flight),
    /// It is not served; how its client looked.
    Reject(T, Class, Reason),
}

/// What a client may ask for, as it stands: for the `RateLimit` fields of its answers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Allowance {
    /// Whether an operator has fixed it; else it is the fair level, which changes with the load.
    pub fixed: bool,
    /// Requests in a window.
    pub quota: f64,
    /// Length of the window.
    pub window: Seconds,
    /// Requests that it may make now.
    pub remaining: f64,
    /// Time until it may make as many as ever.
    pub reset: Seconds,
}

/// What the policy did, for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Arrivals by class: light, newcomer, heavy.
    pub arrivals: [u64; 3],
    /// Requests given to a backend, by class.
    pub admitted: [u64; 3],
    /// Requests rejected (in a dry run: that would have been), by class.
    pub rejected: [u64; 3],
    /// Requests that were queued (in a dry run: would have been).
    pub queued: u64,
    /// Requests abandoned by their clients while they were queued.
    pub abandoned: u64,
}
