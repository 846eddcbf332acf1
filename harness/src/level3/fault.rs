//! What is done to a node while it is queried, and what a killed one does when it comes back.
//!
//! The contract asks of no solution to start a node again. But one that does starts it empty, and until
//! it has its files again an answer without them has to say so, as it had to while the node was dead.
//! The queries are over in a moment; so once they are, they are asked again until all are answered
//! whole.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;
use rustix::process::Signal;

use super::nodes::{self, Slowed};
use super::oracle::Expected;
use super::queries::{Asked, Verdict, ask, named};
use super::servers::Servers;
use crate::console;
use crate::report::Failure;
use octopus::interrupt;

/// How long a node that is back may take until all is answered whole.
const WHOLE_LIMIT: Duration = Duration::from_secs(60);
/// Time between two looks, and two answers that are not whole.
const PAUSE: Duration = Duration::from_millis(10);

/// What is done to a node, of this number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It is killed.
    Kill(u32),
    /// It is stopped for so long, again and again.
    Slow(u32, Duration),
}

/// A fault that has struck. Dropping the value lets a slowed node run.
#[derive(Debug)]
#[must_use = "dropping the value lets a slowed node run"]
pub enum Struck {
    /// A node was killed.
    Killed(Killed),
    /// A node crawls.
    Slowed { _until_dropped: Slowed },
}

/// A node that was killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Killed {
    node: u32,
    process: u32,
    at: Instant,
}

impl Fault {
    /// Strikes before the query at `place`.
    ///
    /// # Errors
    /// The solution has no such node.
    pub fn strike(self, servers: &mut Servers, place: usize) -> Result<Struck, Failure> {
        let leader = servers.leader();
        let (node, struck) = match self {
            Self::Slow(node, stop) => {
                let slowed = Slowed::new(leader, node, stop);
                (
                    node,
                    slowed.map(|slowed| Struck::Slowed {
                        _until_dropped: slowed,
                    }),
                )
            }
            Self::Kill(node) => {
                servers.look_at_memory();
                let process = nodes::signal(leader, node, Signal::KILL);
                let number = place + 1;
                if process.is_some() {
                    console::log(&format!(
                        "level 3: node {node} is killed before query {number}"
                    ));
                }
                let at = Instant::now();
                let killed = process.map(|process| Killed { node, process, at });
                (node, killed.map(Struck::Killed))
            }
        };
        struck.ok_or_else(|| {
            let message = format!("no process with `--id {node}` was found among the solution's");
            Failure::new("no_such_node", message)
        })
    }
}

impl Killed {
    /// Asks the queries until every one is answered whole again; how long that took, from the kill.
    /// None if the node is not started again within a time limit, or does not get well.
    pub fn recovery(
        self,
        servers: &mut Servers,
        queries: &[&str],
        expected: &Expected,
        restart_limit: Duration,
    ) -> Result<Result<Option<Duration>, Failure>> {
        let node = self.node;
        if !self.is_back(servers.leader(), restart_limit)? {
            return Ok(Ok(None));
        }
        let back = Instant::now();
        let mut whole = 0;
        for place in (0..queries.len()).cycle() {
            let query = queries[place];
            let failure = match ask(servers, place, query, expected)?.0 {
                Asked::Judged(Verdict::Right) => {
                    whole += 1;
                    if whole == queries.len() {
                        return Ok(Ok(Some(self.at.elapsed())));
                    }
                    continue;
                }
                Asked::Judged(Verdict::Incomplete(_)) => {
                    whole = 0;
                    if back.elapsed() >= WHOLE_LIMIT {
                        break;
                    }
                    thread::sleep(PAUSE);
                    continue;
                }
                Asked::Judged(Verdict::Wrong(failure)) => failure.hint(format!(
                    "node {node} was killed and is started again: until it has its files, an answer \
                     has to say that they are missing."
                )),
                Asked::Over(failure) => failure,
            };
            return Ok(Err(failure.at(named(place, query))));
        }
        let seconds = WHOLE_LIMIT.as_secs();
        console::log(&format!(
            "level 3: node {node} is started again, and {seconds} s later answers are not whole"
        ));
        Ok(Ok(None))
    }

    /// Waits until the node has another process.
    fn is_back(self, leader: u32, limit: Duration) -> Result<bool> {
        let start = Instant::now();
        loop {
            interrupt::check()?;
            let process = nodes::find(leader).get(&self.node).copied();
            if process.is_some_and(|process| process != self.process) {
                return Ok(true);
            }
            if start.elapsed() >= limit {
                return Ok(false);
            }
            thread::sleep(PAUSE);
        }
    }
}
