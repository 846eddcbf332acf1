//! Reads, on threads of their own: each works on a copy of the database as of one moment, so no read
//! holds up the log, another read for long, or a backup; and each ends when nobody waits for it any more.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::engine::image::Image;
use super::engine::meter::Budget;
use super::engine::vfs::File;
use super::guard::Access;
use super::session::Session;
use super::{DatabaseError, statements};
use crate::machine::Moment;
use crate::stack::Stack;
use crate::statement::{Outcome, Statements};

/// The database as of one moment.
#[derive(Debug, Clone)]
pub struct View {
    image: Image,
    /// Another number after the database was replaced as a whole: what a connection knows of the schema
    /// is then of another database.
    generation: u64,
    budget: Budget,
}

impl View {
    pub(super) fn new(image: Image, generation: u64, budget: Budget) -> Self {
        Self {
            image,
            generation,
            budget,
        }
    }

    /// The file.
    pub(super) fn image(&self) -> Image {
        self.image.clone()
    }

    /// The same moment, as another file.
    pub(super) fn with(&self, image: Image) -> Self {
        Self {
            image,
            ..self.clone()
        }
    }

    /// What a request may use here that asks for no more.
    pub fn budget(&self) -> Budget {
        self.budget
    }

    /// Length of the SQLite file, bytes; 0 if nothing was ever written.
    pub fn size(&self) -> usize {
        self.image.len()
    }

    /// A part of the SQLite file from `offset` on; gives the bytes read, fewer at its end.
    ///
    /// # Errors
    ///
    /// If it is on disk, and cannot be read.
    pub fn read(&self, offset: usize, buffer: &mut [u8]) -> io::Result<usize> {
        self.image.read(offset, buffer)
    }

    /// All of the SQLite file.
    ///
    /// # Errors
    ///
    /// As [`View::read`].
    pub fn to_vec(&self) -> io::Result<Vec<u8>> {
        self.image.to_vec()
    }
}

/// Ends a read when it is dropped: nobody waits for it any more.
#[derive(Debug, Default)]
pub struct Cancel(Arc<AtomicBool>);

impl Cancel {
    /// The flag that the reader looks at.
    fn flag(&self) -> Arc<AtomicBool> {
        self.0.clone()
    }
}

impl Drop for Cancel {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

/// What a client wants to read.
#[derive(Debug)]
pub struct Read {
    statements: Statements,
    factor: u64,
    limit: Option<Duration>,
    cancelled: Arc<AtomicBool>,
    reply: oneshot::Sender<ReadAnswer>,
}

/// What came of a read, and how long each statement took.
pub type ReadAnswer = (Vec<Outcome>, Vec<Duration>);

impl Read {
    /// A read, which may take `factor` times the usual budget and `limit` once it runs, and what its
    /// client holds.
    pub fn new(
        statements: Statements,
        factor: u64,
        limit: Option<Duration>,
    ) -> (Self, oneshot::Receiver<ReadAnswer>, Cancel) {
        let (reply, answer) = oneshot::channel();
        let cancel = Cancel::default();
        let read = Self {
            statements,
            factor,
            limit,
            cancelled: cancel.flag(),
            reply,
        };
        (read, answer, cancel)
    }
}

type Job = (View, Moment, Read);

/// The reading threads. They end with this.
#[derive(Debug)]
pub struct Readers {
    jobs: Sender<Job>,
}

impl Readers {
    /// Starts as many threads as the machine can use, at least two.
    ///
    /// # Errors
    ///
    /// If the system gives no threads.
    pub fn start() -> io::Result<Self> {
        let count = thread::available_parallelism()
            .map_or(2, usize::from)
            .clamp(2, 8);
        let (jobs, queue) = mpsc::channel();
        let queue = Arc::new(Mutex::new(queue));
        for number in 0..count {
            let queue = queue.clone();
            Stack::Sql.spawn(&format!("reader {number}"), move || read_all(&queue))?;
        }
        Ok(Self { jobs })
    }

    /// Has a read done on `view`.
    pub fn submit(&self, view: View, moment: Moment, read: Read) {
        // The threads are gone only when this is. A client whose read is dropped sees its sender go.
        let _ = self.jobs.send((view, moment, read));
    }
}

fn read_all(queue: &Mutex<Receiver<Job>>) {
    let mut reader: Option<Reader> = None;
    loop {
        let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok((view, moment, read)) = job else {
            return;
        };
        if read.cancelled.load(Relaxed) {
            continue;
        }
        reader.take_if(|reader| reader.generation != view.generation);
        let at_work = reader
            .take()
            .map_or_else(|| Reader::new(view.generation), Ok);
        let answer = at_work.and_then(|mut at_work| {
            // A reader that fails goes with its connection; the next read gets a new one.
            let answer = at_work.run(view, moment, &read)?;
            reader = Some(at_work);
            Ok(answer)
        });
        // The client may have gone.
        let _ = read.reply.send(answer.unwrap_or_else(|error| {
            let error = Outcome::Error(error.to_string());
            (vec![error; read.statements.list.len()], Vec::new())
        }));
    }
}

/// A connection that is shown one view after the other.
struct Reader {
    file: File,
    session: Session,
    generation: u64,
}

impl Reader {
    fn new(generation: u64) -> Result<Self, DatabaseError> {
        let file = File::new(Image::default());
        let session = Session::open(&file, Access::Read)?;
        Ok(Self {
            file,
            session,
            generation,
        })
    }

    fn run(
        &mut self,
        view: View,
        moment: Moment,
        read: &Read,
    ) -> Result<ReadAnswer, DatabaseError> {
        let budget = view.budget.times(read.factor);
        self.file.set(view.image);
        let deadline = read.limit.map(|limit| Instant::now() + limit);
        self.session.watch(read.cancelled.clone(), deadline)?;
        let mut answer = ReadAnswer::default();
        self.session.request(&self.file, moment, budget, |work| {
            answer = statements::run(work, &read.statements, true);
            Vec::new()
        })?;
        // The view is not needed until the next read, and would be copied by every change until then.
        self.file.set(Image::default());
        if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            for outcome in &mut answer.0 {
                if matches!(outcome, Outcome::Error(reason) if reason == "interrupted") {
                    *outcome = Outcome::Error("query timeout".to_owned());
                }
            }
        }
        Ok(answer)
    }
}
