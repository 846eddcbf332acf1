//! What a request has used and may use, counted the same on every node.
//!
//! Everything SQLite does for a request happens on one thread, and passes places that we own: its
//! allocator, its page cache, its files, its progress callback. Each charges the thread's meter. What is
//! charged depends on the request and the data alone: a page counts when it is asked for, whether it was
//! cached or not; memory counts from the request's start; nothing depends on clocks or on what the
//! process did before. So replicas agree on which request went beyond its budget, and at which statement.
//!
//! The meter also notes failures of the environment (no memory, a file that cannot be read): what SQLite
//! makes of those is never an answer.

use std::cell::Cell;
use std::fmt;

use crate::codec::{Malformed, Reader, Writer};

/// What one request may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// Work, in steps of SQLite's virtual machine or what takes about as long (20 to 50 ns).
    pub steps: u64,
    /// Memory held at one time for values, sorting, temporary tables and changed pages, bytes.
    pub memory: u64,
    /// The answer, bytes.
    pub answer: u64,
    /// For what: an error says it.
    pub scope: Scope,
}

/// What a budget is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Any request.
    Request,
    /// A statement that has to go through a whole table, or all of them.
    Bulk,
    /// The check of a file that is to become the database.
    Load,
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Request => "the request",
            Self::Bulk => "VACUUM, CREATE INDEX or REINDEX",
            Self::Load => "the load",
        })
    }
}

impl Default for Budget {
    fn default() -> Self {
        Self {
            steps: 50_000_000,
            memory: 192 * MIB,
            answer: 64 * MIB,
            scope: Scope::Request,
        }
    }
}

const MIB: u64 = 1024 * 1024;
/// Bulk work gets so many times the steps of a request,
const BULK_STEPS: u64 = 4;
/// and, beyond its memory, so many bytes for each of the database: the new file, the old pages, what is
/// sorted, and as much again for expressions.
const BULK_COPIES: u64 = 4;

impl Budget {
    /// So many times as much of everything.
    #[must_use]
    pub fn times(self, factor: u64) -> Self {
        Self {
            steps: self.steps.saturating_mul(factor),
            memory: self.memory.saturating_mul(factor),
            answer: self.answer.saturating_mul(factor),
            ..self
        }
    }

    /// Appends the bytes that [`Budget::decode`] reads.
    pub fn encode(self, writer: &mut Writer) {
        writer.uint(self.steps);
        writer.uint(self.memory);
        writer.uint(self.answer);
    }

    /// Reads [`Budget::encode`]'s bytes.
    ///
    /// # Errors
    ///
    /// If there are too few of them.
    pub fn decode(reader: &mut Reader) -> Result<Self, Malformed> {
        Ok(Self {
            steps: reader.uint()?,
            memory: reader.uint()?,
            answer: reader.uint()?,
            scope: Scope::Request,
        })
    }

    /// The budget of its own that work on a whole database of `size` bytes gets.
    #[must_use]
    pub fn bulk(self, scope: Scope, size: u64) -> Self {
        Self {
            steps: self.steps.saturating_mul(BULK_STEPS),
            memory: self.memory.saturating_add(size.saturating_mul(BULK_COPIES)),
            scope,
            ..self
        }
    }
}

/// Which part of a budget was not enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Exceeded {
    /// [`Budget::steps`].
    #[error("budget exceeded: {0} takes more than {1} steps (?budget=N allows N times as many)")]
    Steps(Scope, u64),
    /// [`Budget::memory`].
    #[error(
        "budget exceeded: {0} takes more than {1} bytes of memory (?budget=N allows N times as many)"
    )]
    Memory(Scope, u64),
    /// [`Budget::answer`].
    #[error(
        "budget exceeded: the answer has more than {0} bytes (?budget=N allows N times as many)"
    )]
    Answer(u64),
}

/// What SQLite is doing, which decides what is charged for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Nothing for a request.
    Idle,
    /// Compiling a statement.
    Prepare,
    /// Running it.
    Step,
}

/// Steps between two calls of the progress callback.
pub const STEPS_A_LOOK: u64 = 100;
/// Charged for every page that is asked for, in steps,
const PAGE_STEPS: u64 = 1;
/// and for one that has to be read. Each request begins with an empty cache, so that these are the same
/// ones on every node.
const READ_STEPS: u64 = 8;
/// Charged for each time the compiler reports progress, in steps.
const COMPILER_STEPS: u64 = 2_000;
/// Blocks from this size on are charged while a statement runs, bytes. Shorter ones come from the
/// connection's own pool (blocks of 1,200 bytes) or not, and are few a step.
const LARGE_BLOCK: u64 = 1_201;
/// Blocks that grow to this size and more are charged while a statement is compiled, or a table is made, bytes:
/// a program, if that is long.
const LARGE_PROGRAM: u64 = 64 * 1024;
/// So many bytes of such a block take one step. An instruction of 24 bytes may take a walk through a whole
/// expression.
const PROGRAM_BYTES_A_STEP: u64 = 1;
/// Values from this length on make a statement's steps dearer for the rest of it, bytes: SQLite's own
/// buffers are shorter.
const LONG_VALUE: u64 = 16 * 1024;
/// Shorter blocks are taken for values as long as they are there between two steps, but for those of a
/// page, which are SQLite's own. By size: up to so many bytes each.
const SIZES: [u64; 4] = [2 * 1024, 4 * 1024, 8 * 1024, LONG_VALUE];
/// A page, and one with what the pager adds.
const PAGES: [u64; 2] = [4096, 4104];
/// So many bytes of a fresh block take one step to fill.
const BLOCK_BYTES_A_STEP: u64 = 8;
/// Once a statement has handled a long value each of its steps may go through so much of it: a step's
/// price rises by one for every so many bytes.
const VALUE_BYTES_A_STEP: u64 = 256;
/// So many savepoints open at one time raise it by one: a page that is changed is noted in each.
const SAVEPOINTS_A_STEP: u64 = 8;

struct Meter {
    phase: Cell<Phase>,
    /// Which request blocks belong to; 0: none.
    epoch: Cell<u32>,
    /// Above 0: inside the page cache, whose blocks are counted as pages.
    in_cache: Cell<u32>,
    limits: Cell<Budget>,
    /// Of the database, before the statement at work; bytes.
    size: Cell<u64>,
    steps: Cell<u64>,
    /// Steps of the other budget: of bulk work, or, while that is being done, of the rest of the request.
    other_steps: Cell<u64>,
    memory: Cell<u64>,
    /// Which compilation blocks belong to; 0: none is under way.
    compilation: Cell<u32>,
    /// Memory of the compilation that is under way. It is not held against the request beyond that: some of
    /// it is what the connection remembers from then on, and another node's may have known before.
    compiled: Cell<u64>,
    /// The most of both since this was last looked at.
    peak: Cell<u64>,
    /// The most memory since the request began, but for compilations.
    most: Cell<u64>,
    answer: Cell<u64>,
    longest: Cell<u64>,
    /// How many blocks there are of each size.
    present: [Cell<u64>; SIZES.len()],
    /// The most savepoints open at one time.
    savepoints: Cell<u64>,
    exceeded: Cell<Option<Exceeded>>,
    fault: Cell<Option<&'static str>>,
    /// The database has generated columns, which SQLite compiles anew wherever they are read: programs that
    /// grow are charged.
    generates: Cell<bool>,
    /// The statement at work makes or alters a table in such a database, for which SQLite compiles others.
    makes_table: Cell<bool>,
    /// Charged for each step of the statement at work, as SQLite may keep what it works with; bytes of memory.
    keeps: Cell<u64>,
    /// What has been charged for that.
    kept: Cell<u64>,
    /// The file came from a client.
    is_foreign: Cell<bool>,
    /// Calls until the injected fault; 0: none is to come.
    #[cfg(test)]
    countdown: Cell<u64>,
    #[cfg(test)]
    calls: Cell<u64>,
    #[cfg(test)]
    failure: Cell<Failure>,
}

const NO_BUDGET: Budget = Budget {
    steps: u64::MAX,
    memory: u64::MAX,
    answer: u64::MAX,
    scope: Scope::Request,
};

thread_local! {
    static METER: Meter = const {
        Meter {
            phase: Cell::new(Phase::Idle),
            epoch: Cell::new(0),
            in_cache: Cell::new(0),
            limits: Cell::new(NO_BUDGET),
            size: Cell::new(0),
            steps: Cell::new(0),
            other_steps: Cell::new(0),
            memory: Cell::new(0),
            compilation: Cell::new(0),
            compiled: Cell::new(0),
            peak: Cell::new(0),
            most: Cell::new(0),
            answer: Cell::new(0),
            longest: Cell::new(0),
            present: [const { Cell::new(0) }; SIZES.len()],
            savepoints: Cell::new(0),
            exceeded: Cell::new(None),
            fault: Cell::new(None),
            generates: Cell::new(false),
            makes_table: Cell::new(false),
            keeps: Cell::new(0),
            kept: Cell::new(0),
            is_foreign: Cell::new(false),
            #[cfg(test)]
            countdown: Cell::new(0),
            #[cfg(test)]
            calls: Cell::new(0),
            #[cfg(test)]
            failure: Cell::new(Failure::Missing),
        }
    };
}

fn next_epoch() -> u32 {
    use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
    static EPOCH: AtomicU32 = AtomicU32::new(0);
    // 0 is nobody's; a number comes back only after four thousand million requests.
    EPOCH.fetch_add(1, Relaxed).wrapping_add(1).max(1)
}

/// Starts counting for a request.
pub fn begin(budget: Budget) {
    METER.with(|meter| {
        meter.phase.set(Phase::Idle);
        meter.epoch.set(next_epoch());
        meter.limits.set(budget);
        meter.steps.set(0);
        meter.other_steps.set(0);
        meter.memory.set(0);
        meter.peak.set(0);
        meter.most.set(0);
        meter.answer.set(0);
        meter.longest.set(0);
        meter.savepoints.set(0);
        meter.keeps.set(0);
        meter.kept.set(0);
        meter.present.iter().for_each(|count| count.set(0));
        meter.exceeded.set(None);
    });
}

/// The request is done; what has to be done after it has no budget.
pub fn settle() {
    METER.with(|meter| {
        meter.phase.set(Phase::Idle);
        meter.limits.set(NO_BUDGET);
        meter.exceeded.set(None);
    });
}

/// Stops counting; gives the environment's failure, if there was one since this was last called.
pub fn end() -> Option<&'static str> {
    settle();
    METER.with(|meter| {
        meter.epoch.set(0);
        meter.fault.take()
    })
}

/// What has been counted at some point.
#[derive(Debug, Clone, Copy)]
pub struct Mark {
    steps: u64,
    exceeded: Option<Exceeded>,
}

/// A statement is about to be compiled: what has been counted until now. The peak of memory starts from
/// here.
pub fn begin_compilation() -> Mark {
    METER.with(|meter| {
        meter.compilation.set(next_epoch());
        meter.compiled.set(0);
        meter.peak.set(meter.memory.get());
        Mark {
            steps: meter.steps.get(),
            exceeded: meter.exceeded.get(),
        }
    })
}

/// The compilation under way: no other one has its number, also if it is of the same statement; 0: none is.
pub fn compilation() -> u32 {
    METER.with(|meter| meter.compilation.get())
}

/// It has been compiled.
pub fn end_compilation() {
    METER.with(|meter| {
        meter.compilation.set(0);
        meter.compiled.set(0);
    });
}

/// Whether any step has been charged since.
pub fn has_worked_since(mark: Mark) -> bool {
    METER.with(|meter| meter.steps.get() != mark.steps)
}

/// Forgets what has been counted since, but for memory that is held.
pub fn reset(mark: Mark) {
    METER.with(|meter| {
        meter.steps.set(mark.steps);
        meter.exceeded.set(mark.exceeded);
    });
}

/// Sets the limits of the next statement, before which the database has `size` bytes, and perhaps columns that
/// it generates.
pub fn begin_statement(budget: Budget, size: u64, generates: bool) {
    METER.with(|meter| {
        if meter.limits.get().scope == Scope::Bulk {
            meter.steps.swap(&meter.other_steps);
        }
        meter.limits.set(budget);
        meter.generates.set(generates);
        meter.makes_table.set(false);
        meter.keeps.set(0);
        meter.size.set(size);
    });
}

/// Replaces the limits.
pub fn set_limits(budget: Budget) {
    METER.with(|meter| meter.limits.set(budget));
}

/// The statement goes through a whole table, or all of them. All such of a request share one budget.
pub fn allow_bulk() {
    METER.with(|meter| {
        let limits = meter.limits.get();
        if limits.scope == Scope::Request {
            meter.limits.set(limits.bulk(Scope::Bulk, meter.size.get()));
            meter.steps.swap(&meter.other_steps);
        }
    });
}

/// The next statement makes or alters a table: what SQLite compiles for that is charged.
pub fn make_table() {
    METER.with(|meter| meter.makes_table.set(true));
}

/// Each step of the next statement counts for so many bytes, until it ends.
pub fn keep(bytes_a_step: u64) {
    METER.with(|meter| meter.keeps.set(bytes_a_step));
}

/// Whether a statement is being run.
pub fn is_running() -> bool {
    METER.with(|meter| meter.phase.get() == Phase::Step)
}

/// The limits in force.
pub fn limits() -> Budget {
    METER.with(|meter| meter.limits.get())
}

/// Runs `work` in a phase.
pub fn within<T>(phase: Phase, work: impl FnOnce() -> T) -> T {
    let before = METER.with(|meter| meter.phase.replace(phase));
    let result = work();
    METER.with(|meter| meter.phase.set(before));
    result
}

/// Runs `work` without counting its blocks, which are counted otherwise.
pub fn in_cache<T>(work: impl FnOnce() -> T) -> T {
    METER.with(|meter| meter.in_cache.set(meter.in_cache.get() + 1));
    let result = work();
    METER.with(|meter| meter.in_cache.set(meter.in_cache.get() - 1));
    result
}

/// What went beyond the budget, if anything did.
pub fn exceeded() -> Option<Exceeded> {
    METER.with(|meter| meter.exceeded.get())
}

/// Notes a failure of the environment.
pub fn fail(what: &'static str) {
    METER.with(|meter| {
        if meter.fault.get().is_none() {
            meter.fault.set(Some(what));
        }
    });
}

/// Whether the file came from a client, with whatever damage it has.
pub fn set_foreign(is_foreign: bool) {
    METER.with(|meter| meter.is_foreign.set(is_foreign));
}

/// SQLite found the database damaged. Where a client gave it so, it is on all nodes, and that is an answer.
pub fn damage() {
    if !METER.with(|meter| meter.is_foreign.get()) {
        fail("the database in memory is damaged");
    }
}

impl Meter {
    /// Whether there is a budget to keep to.
    fn counts(&self) -> bool {
        self.epoch.get() != 0
    }

    /// Charges steps; `false`: that was too much, for the first time.
    fn charge(&self, steps: u64) -> bool {
        let now = self.steps.get().saturating_add(steps);
        self.steps.set(now);
        let limits = self.limits.get();
        let exceeded = Exceeded::Steps(limits.scope, limits.steps);
        self.note(now > limits.steps, exceeded)
    }

    fn hold(&self, bytes: u64) -> bool {
        let now = self.memory.get().saturating_add(bytes);
        self.memory.set(now);
        self.most.set(now.max(self.most.get()));
        self.note_memory()
    }

    /// Holds memory for the compilation that is under way.
    fn hold_compiled(&self, bytes: u64) -> bool {
        self.compiled.set(self.compiled.get().saturating_add(bytes));
        self.note_memory()
    }

    fn compile_block(&self, bytes: u64, grows: bool) -> bool {
        let is_large = grows && bytes >= LARGE_PROGRAM && self.generates.get();
        (!is_large || self.charge(bytes / PROGRAM_BYTES_A_STEP)) && self.hold_compiled(bytes)
    }

    fn note_memory(&self) -> bool {
        let now = self.memory.get().saturating_add(self.compiled.get());
        self.peak.set(now.max(self.peak.get()));
        let limits = self.limits.get();
        let exceeded = Exceeded::Memory(limits.scope, limits.memory);
        self.note(now > limits.memory, exceeded)
    }

    fn note(&self, is_exceeded: bool, what: Exceeded) -> bool {
        if !is_exceeded || self.exceeded.get().is_some() {
            return true;
        }
        self.exceeded.set(Some(what));
        false
    }

    fn allocate_for_step(&self, bytes: u64) -> Block {
        let mut size = NO_VALUE;
        if bytes >= LONG_VALUE {
            self.longest.set(bytes.max(self.longest.get()));
        } else {
            size = size_of_value(bytes);
        }
        if !self.charge(bytes / BLOCK_BYTES_A_STEP) || !self.hold(bytes) {
            return Block::Refused;
        }
        if let Some(count) = self.present.get(usize::from(size)) {
            count.set(count.get() + 1);
        }
        Block::Allowed(self.epoch.get(), size)
    }

    fn price(&self) -> u64 {
        let sizes = SIZES.iter().zip(&self.present).rev();
        let present = sizes.clone().find(|(_, count)| count.get() > 0);
        let longest = self.longest.get().max(present.map_or(0, |(size, _)| *size));
        1 + longest / VALUE_BYTES_A_STEP + self.savepoints.get() / SAVEPOINTS_A_STEP
    }
}

/// Charges work; `false`: the request has to end.
pub fn charge(steps: u64) -> bool {
    METER.with(|meter| {
        if meter.counts() {
            meter.charge(steps);
        }
        meter.exceeded.get().is_none()
    })
}

/// The progress callback's charge; `false`: the request has to end.
pub fn look() -> bool {
    METER.with(|meter| {
        if meter.counts() {
            let steps = match meter.phase.get() {
                Phase::Prepare => COMPILER_STEPS,
                Phase::Idle | Phase::Step => STEPS_A_LOOK.saturating_mul(meter.price()),
            };
            meter.charge(steps);
            if meter.phase.get() == Phase::Step && meter.keeps.get() > 0 {
                let bytes = STEPS_A_LOOK.saturating_mul(meter.keeps.get());
                meter.kept.set(meter.kept.get().saturating_add(bytes));
                meter.hold(bytes);
            }
        }
        meter.exceeded.get().is_none()
    })
}

/// Charges the steps of a finished statement that no look has charged, and forgets its values.
pub fn finish_statement(steps: u64) {
    METER.with(|meter| {
        if meter.counts() {
            meter.charge((steps % STEPS_A_LOOK).saturating_mul(meter.price()));
        }
        meter.longest.set(0);
        let kept = meter.kept.take();
        meter.memory.set(meter.memory.get().saturating_sub(kept));
    });
}

/// So many savepoints are open.
pub fn savepoints(count: usize) {
    METER.with(|meter| {
        let most = meter.savepoints.get().max(count as u64);
        meter.savepoints.set(most);
    });
}

/// A statement holds a value of so many bytes, which no allocation tells of.
pub fn value(bytes: u64) {
    METER.with(|meter| {
        if bytes >= LARGE_BLOCK {
            meter.longest.set(bytes.max(meter.longest.get()));
        }
    });
}

/// The most memory held so far.
pub fn peak() -> u64 {
    METER.with(|meter| meter.peak.get())
}

/// What the last request on this thread has used.
pub fn used() -> Budget {
    METER.with(|meter| Budget {
        steps: meter.steps.get() + meter.other_steps.get(),
        memory: meter.most.get(),
        answer: meter.answer.get(),
        scope: Scope::Request,
    })
}

/// Charges bytes of the answer.
///
/// # Errors
///
/// If the answer is too long.
pub fn answer(bytes: u64) -> Result<(), Exceeded> {
    METER.with(|meter| {
        if !meter.counts() {
            return Ok(());
        }
        let now = meter.answer.get().saturating_add(bytes);
        meter.answer.set(now);
        let limit = meter.limits.get().answer;
        meter.note(now > limit, Exceeded::Answer(limit));
        meter.exceeded.get().map_or(Ok(()), Err)
    })
}

/// Charges a page that is asked for; `false`: refuse it, once, to end the statement.
pub fn page() -> bool {
    METER.with(|meter| !meter.counts() || meter.charge(PAGE_STEPS))
}

/// Charges a page that is read.
pub fn page_read() {
    charge(READ_STEPS);
}

/// Holds memory that the allocator does not see; `false`: refuse it, once.
pub fn hold(bytes: u64) -> bool {
    METER.with(|meter| !meter.counts() || meter.hold(bytes))
}

/// Gives up memory that was held.
pub fn release(bytes: u64) {
    METER.with(|meter| {
        if meter.counts() {
            meter.memory.set(meter.memory.get().saturating_sub(bytes));
        }
    });
}

/// What becomes of a block that the allocator is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Block {
    /// It counts for the request or the compilation of this epoch (0: for none), and for a value of this size (see
    /// [`free`]).
    Allowed(u32, Size),
    /// The request has to end.
    Refused,
}

/// Charges a block, or one that `grows` to so many bytes.
pub fn allocate(bytes: u64, grows: bool) -> Block {
    METER.with(|meter| {
        if !meter.counts() || meter.in_cache.get() > 0 {
            return Block::Allowed(0, NO_VALUE);
        }
        match meter.phase.get() {
            Phase::Prepare if meter.compile_block(bytes, grows) => {
                Block::Allowed(meter.compilation.get(), NO_VALUE)
            }
            Phase::Prepare => Block::Refused,
            Phase::Step if bytes >= LARGE_BLOCK => {
                let is_program = grows && bytes >= LARGE_PROGRAM && meter.makes_table.get();
                if is_program && !meter.charge(bytes / PROGRAM_BYTES_A_STEP) {
                    return Block::Refused;
                }
                meter.allocate_for_step(bytes)
            }
            Phase::Idle | Phase::Step => Block::Allowed(0, NO_VALUE),
        }
    })
}

/// A place in [`SIZES`], or none.
pub type Size = u8;
const NO_VALUE: Size = Size::MAX;

fn size_of_value(bytes: u64) -> Size {
    if PAGES.contains(&bytes) {
        return NO_VALUE;
    }
    let size = SIZES.iter().position(|&size| bytes <= size);
    size.and_then(|size| Size::try_from(size).ok())
        .unwrap_or(NO_VALUE)
}

/// A block of an epoch and a size is freed.
pub fn free(epoch: u32, size: Size, bytes: u64) {
    METER.with(|meter| {
        if epoch == 0 {
            return;
        }
        if epoch == meter.epoch.get() {
            if let Some(count) = meter.present.get(usize::from(size)) {
                count.set(count.get().saturating_sub(1));
            }
            meter.memory.set(meter.memory.get().saturating_sub(bytes));
        } else if epoch == meter.compilation.get() {
            meter
                .compiled
                .set(meter.compiled.get().saturating_sub(bytes));
        }
    });
}

/// A call that a request makes of the environment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    /// For memory.
    Memory,
    /// To open a file.
    Open,
    /// To read from one.
    Read,
    /// To write to one.
    Write,
}

/// How calls fail that are made to.
#[cfg_attr(not(test), allow(dead_code, reason = "only tests make any fail"))]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// There is no memory, no file, no room; what is there cannot be read.
    Missing,
    /// What is read is damaged, and what is written is not taken.
    Damaged,
}

/// Whether this call of the environment is to fail, and how. Only tests make any fail.
#[cfg_attr(not(test), allow(unused_variables))]
pub fn fails_here(call: Call) -> Option<Failure> {
    #[cfg(test)]
    return METER.with(|meter| {
        let failure = meter.failure.get();
        if failure == Failure::Damaged && !matches!(call, Call::Read | Call::Write) {
            return None;
        }
        meter.calls.set(meter.calls.get() + 1);
        let left = meter.countdown.get();
        meter.countdown.set(left.saturating_sub(1));
        (left == 1).then_some(failure)
    });
    #[cfg(not(test))]
    None
}

/// Makes the `place`-th call of the environment that can fail so fail, counted from 1 and from now; 0:
/// none. Gives the number of such calls since this was last called.
#[cfg(test)]
pub fn fail_at(place: u64, failure: Failure) -> u64 {
    METER.with(|meter| {
        meter.countdown.set(place);
        meter.failure.set(failure);
        meter.calls.replace(0)
    })
}
