//! The question whether everything is up: `HEAD` of a path that only the backends know, through
//! the solution, with the tries, waits and time-outs of 2014.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::reactor::{self, Actor, Interests};
use super::socket::{Address, Incoming, Wire};
use crate::http::AnswerReader;

/// Waits before the second and later tries.
const WAITS: [Duration; 4] = [
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
];
/// Time for one try.
const TIME_OUT: Duration = Duration::from_secs(1);
/// How often a wait looks whether it should be given up.
const SLICE: Duration = Duration::from_millis(20);

/// Asks until the answer is 200 or all tries are used up; the error says how the last one ended.
pub fn until_up(target: &Address, path: &str, give_up: &AtomicBool) -> Result<(), String> {
    let mut last = String::new();
    for wait in std::iter::once(Duration::ZERO).chain(WAITS) {
        let until = Instant::now() + wait;
        while Instant::now() < until {
            if give_up.load(Ordering::Relaxed) {
                return Err("given up".into());
            }
            std::thread::sleep(SLICE.min(until.saturating_duration_since(Instant::now())));
        }
        match ask(target, path) {
            Ok(200) => return Ok(()),
            Ok(status) => last = format!("the last answer had status {status}"),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn ask(target: &Address, path: &str) -> Result<u16, String> {
    let mut wire = target.connect().map_err(|error| error.to_string())?;
    let text = format!("HEAD {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    wire.send(text.as_bytes())
        .map_err(|error| error.to_string())?;
    let mut question = Question {
        wire,
        reader: AnswerReader::of_head(),
        answer: None,
    };
    let until = Instant::now() + TIME_OUT;
    // The reactor does not look at the answer, so it runs a turn at a time.
    while question.answer.is_none() && Instant::now() < until {
        let turn = until.min(Instant::now() + SLICE);
        reactor::run(&mut [&mut question], turn, &mut || false)
            .map_err(|error| error.to_string())?;
    }
    question
        .answer
        .unwrap_or_else(|| Err("no answer within a second".into()))
}

/// A connection with one question on it.
struct Question {
    wire: Wire,
    reader: AnswerReader,
    answer: Option<Result<u16, String>>,
}

impl Actor for Question {
    fn interests<'a>(&'a self, interests: &mut Interests<'a>) {
        match (&self.answer, self.wire.is_sending()) {
            (Some(_), _) => {}
            (None, true) => interests.write(&self.wire, 0),
            (None, false) => interests.read(&self.wire, 0),
        }
    }

    fn ready(&mut self, _key: usize, _now: Instant) {
        if let Err(error) = self.wire.flush() {
            self.answer = Some(Err(error.to_string()));
            return;
        }
        self.answer = match self.wire.receive() {
            Ok(Incoming::Nothing) => None,
            Ok(Incoming::Bytes(bytes)) => match self.reader.feed(&bytes) {
                Ok(answer) => answer.map(|answer| Ok(answer.status)),
                Err(error) => Some(Err(error.to_string())),
            },
            Ok(Incoming::End) => Some(Err("the connection was closed without an answer".into())),
            Err(error) => Some(Err(error.to_string())),
        };
    }

    fn next_due(&self) -> Option<Instant> {
        None
    }

    fn wake(&mut self, _now: Instant) {}
}
