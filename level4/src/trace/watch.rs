//! What happens at a real node, as its consensus thread sees it: what goes into the core, and what comes out
//! of it. Messages are told by the transport.

use std::collections::{HashMap, VecDeque};
use std::fmt::Write as _;

use super::Tracer;
use super::told::{Told, last_of};
use crate::consensus::{Applied, Effects, MemoryLog, Outline, Persist, Token};
use crate::ids::NodeId;
use crate::message::{Request, RequestId};

/// A write that is on its way to the disk.
struct Writing {
    number: u64,
    last: Option<u64>,
    /// Term and vote.
    state: Option<(u64, u64)>,
}

impl Writing {
    fn new(write: &Persist) -> Self {
        let state = write.hard_state.as_ref();
        Self {
            number: write.number,
            last: last_of(write),
            state: state.map(|state| (state.term, state.vote)),
        }
    }
}

/// What a client waits for.
enum Asked {
    Request(RequestId),
    Read,
}

/// Watches a core.
pub struct Watch {
    tracer: Tracer,
    told: Told,
    writing: VecDeque<Writing>,
    asked: HashMap<Token, Asked>,
}

fn node_name(id: u64) -> Option<String> {
    NodeId::from_raft(id).map(|id| id.to_string())
}

/// What a request is called: by the beginning of the number of the node that took it, that one's life, and
/// its own number in it.
fn name_request(id: &RequestId, name: &mut String) {
    let (node, life) = (id.node.get() >> 40, id.incarnation.get());
    let _infallible = write!(name, "{node:06x}-{life}-{}", id.counter);
}

/// What a request of a real node's is called.
pub fn node_request(request: &Request, name: &mut String) {
    name_request(&request.id, name);
}

impl Watch {
    /// Watches a core that begins with this log.
    pub fn new(tracer: Tracer, log: &MemoryLog) -> Self {
        let mut told = Told::default();
        tracer.tell("restart", |line| {
            told = Told::restarted(log, line, &node_name, node_request);
        });
        Self {
            tracer,
            told,
            writing: VecDeque::new(),
            asked: HashMap::new(),
        }
    }

    /// A client asks for something to be executed.
    pub fn request(&mut self, token: Token, id: RequestId) {
        self.client(token, &Asked::Request(id), "invoke", "");
        self.asked.insert(token, Asked::Request(id));
    }

    /// A client wants to read.
    pub fn read(&mut self, token: Token) {
        self.client(token, &Asked::Read, "invoke", "");
        self.asked.insert(token, Asked::Read);
    }

    /// Everything up to this number is on disk.
    pub fn persisted(&mut self, number: u64) {
        let count = self.writing.partition_point(|write| write.number <= number);
        let (mut last, mut state) = (None, None);
        for write in self.writing.drain(..count) {
            last = write.last.or(last);
            state = write.state.or(state);
        }
        let waiting = self.writing.len();
        self.tracer.tell("persist", |line| {
            if let Some(last) = last {
                line.number("index", last);
            }
            if let Some((term, vote)) = state {
                line.number("term", term);
                if let Some(vote) = node_name(vote) {
                    line.word("for", &vote);
                }
            }
            line.queues(&[("writes", waiting)]);
        });
    }

    /// The state has taken something in.
    pub fn applied(&mut self, applied: &Applied) {
        let index = applied.index.get();
        if applied.restored {
            self.snapshot("restored", index);
        }
        self.tracer.tell("apply", |line| {
            line.number("index", index);
            line.list("requests", &applied.executed, |line, (id, _)| {
                line.quoted(|name| name_request(id, name));
            });
        });
    }

    /// A snapshot of the state was `taken` or `restored`.
    pub fn snapshot(&self, what: &str, index: u64) {
        self.tracer.tell("snapshot", |line| {
            line.word("what", what).number("index", index);
        });
    }

    /// The core is like this now, and this is to be done.
    pub fn flushed(&mut self, now: Outline, effects: &Effects) {
        let Self { tracer, told, .. } = self;
        told.flushed(
            now,
            &effects.persist,
            &node_name,
            node_request,
            |kind, fill| tracer.tell(kind, fill),
        );
        self.writing
            .extend(effects.persist.iter().map(Writing::new));
        for (token, _) in &effects.answers {
            self.answered(*token, "ok", "");
        }
        for token in &effects.reads {
            self.answered(*token, "ok", "what is here from now on may be read");
        }
        for token in &effects.refused {
            self.answered(*token, "info", "");
        }
    }

    fn answered(&mut self, token: Token, what: &str, text: &str) {
        if let Some(asked) = self.asked.remove(&token) {
            self.client(token, &asked, what, text);
        }
    }

    fn client(&self, token: Token, asked: &Asked, what: &str, text: &str) {
        self.tracer.tell("client", |line| {
            line.word("what", what);
            line.list("requests", [asked], |line, asked| {
                line.quoted(|name| match asked {
                    Asked::Request(id) => name_request(id, name),
                    Asked::Read => {
                        let _infallible = write!(name, "read-{}-{token}", self.tracer.life());
                    }
                });
            });
            if !text.is_empty() {
                line.word("text", text);
            }
        });
    }
}
