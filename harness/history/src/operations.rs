//! What the clients recorded: operations, each sent once or more often, answered at most once.
//!
//! An attempt without an answer needs no record of its end: whether its connection broke, another
//! status came or the run was over, it may have been executed at any time after it was sent, even
//! long after the client gave it up, or never. Only one that cannot have reached anybody is taken
//! back by [`History::withdraw`].

/// A point in time, in any unit.
pub type Time = u64;

/// Which operation of a [`History`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OperationId(usize);

impl OperationId {
    /// Its place in the order of invocation.
    pub fn index(self) -> usize {
        self.0
    }
}

/// The answer to an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answered<O> {
    /// When it came.
    pub at: Time,
    /// What it said.
    pub output: O,
}

/// What a client wanted done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation<I, O> {
    /// Who asked.
    pub process: usize,
    /// What for.
    pub input: I,
    attempts: Vec<Time>,
    answer: Option<Answered<O>>,
}

impl<I, O> Operation<I, O> {
    /// When it was sent, earliest first; each time it may have been executed once.
    pub fn attempts(&self) -> &[Time] {
        &self.attempts
    }

    /// The answer, if one came. It may be that of any attempt sent before.
    pub fn answer(&self) -> Option<&Answered<O>> {
        self.answer.as_ref()
    }
}

/// All operations of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct History<I, O> {
    operations: Vec<Operation<I, O>>,
}

impl<I, O> Default for History<I, O> {
    fn default() -> Self {
        Self {
            operations: Vec::new(),
        }
    }
}

impl<I, O> History<I, O> {
    /// A process sends a new operation.
    pub fn invoke(&mut self, process: usize, input: I, at: Time) -> OperationId {
        self.operations.push(Operation {
            process,
            input,
            attempts: vec![at],
            answer: None,
        });
        OperationId(self.operations.len() - 1)
    }

    /// It sends the operation again. The earlier attempts are lost; any of them may yet be executed.
    pub fn retry(&mut self, id: OperationId, at: Time) {
        let attempts = &mut self.operations[id.0].attempts;
        let place = attempts.partition_point(|&earlier| earlier <= at);
        attempts.insert(place, at);
    }

    /// The newest attempt cannot have been executed: nobody was there to take it.
    pub fn withdraw(&mut self, id: OperationId) {
        self.operations[id.0].attempts.pop();
    }

    /// The operation is answered.
    pub fn answer(&mut self, id: OperationId, at: Time, output: O) {
        self.operations[id.0].answer = Some(Answered { at, output });
    }

    /// All operations, in the order of their invocation.
    pub fn operations(&self) -> impl ExactSizeIterator<Item = (OperationId, &Operation<I, O>)> {
        let numbered = self.operations.iter().enumerate();
        numbered.map(|(place, operation)| (OperationId(place), operation))
    }

    /// One operation.
    pub fn get(&self, id: OperationId) -> &Operation<I, O> {
        &self.operations[id.0]
    }

    /// Those that were answered.
    pub fn answered(&self) -> impl Iterator<Item = OperationId> {
        let answered = |(id, operation): (OperationId, &Operation<I, O>)| {
            operation.answer.is_some().then_some(id)
        };
        self.operations().filter_map(answered)
    }
}
