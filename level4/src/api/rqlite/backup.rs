//! A backup on its way to a client: read from the copy of one moment as fast as the client takes it, so that
//! it costs no more memory than what is changed meanwhile. What has to be made first, from SQL text to a
//! compressed file, is made on a thread of its own, as fast as it is taken, too.
//!
//! Backups have a budget of their own: so many at a time on a node, and so long for each.

use std::io::{self, Write as _};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering::Acquire, Ordering::Release};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use axum::body::{Body, Bytes};
use flate2::Compression;
use flate2::write::GzEncoder;
use hyper::body::{Frame, SizeHint};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::task::AbortOnDropHandle;

use super::super::ApiError;
use crate::database::{DumpError, View};
use crate::stack::Stack;

/// Backups under way at a node, at most.
pub const BACKUPS_AT_A_TIME: usize = 4;
/// A client has to have taken all of it by then.
pub const TIME_LIMIT: Duration = Duration::from_secs(600);
/// Bytes given at a time.
const CHUNK: usize = 256 * 1024;

/// The backups that clients fetch.
#[derive(Debug)]
pub struct Downloads {
    places: Arc<Semaphore>,
    done: Mutex<Fetched>,
}

/// Backups that clients were given whole.
#[derive(Debug, Clone, Copy, Default)]
pub struct Fetched {
    /// How many.
    pub count: u64,
    /// When the last one was.
    pub last: Option<SystemTime>,
}

impl Downloads {
    /// None yet; so many may be under way.
    pub fn new(at_a_time: usize) -> Self {
        Self {
            places: Arc::new(Semaphore::new(at_a_time)),
            done: Mutex::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Fetched> {
        // Nothing panics while it is held.
        self.done.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Those that are done.
    pub fn fetched(&self) -> Fetched {
        *self.lock()
    }
}

/// The right to make a backup.
#[derive(Debug)]
pub struct Permit {
    downloads: Arc<Downloads>,
    _place: OwnedSemaphorePermit,
}

impl Permit {
    /// The client has all of it, as far as is known here.
    fn done(&self) {
        let mut done = self.downloads.lock();
        done.count += 1;
        done.last = Some(SystemTime::now());
    }
}

/// The right to make a backup.
///
/// # Errors
///
/// 503 if too many are under way.
pub fn permit(downloads: &Arc<Downloads>) -> Result<Permit, ApiError> {
    let place = downloads.places.clone().try_acquire_owned();
    let place = place.map_err(|_| {
        ApiError::unavailable(format!(
            "budget exceeded: {BACKUPS_AT_A_TIME} backups are under way at this node; try again later"
        ))
    })?;
    Ok(Permit {
        downloads: downloads.clone(),
        _place: place,
    })
}

/// What is sent of a database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Format {
    /// A SQLite file, without free pages if it is to be `vacuumed`.
    File {
        /// As said.
        vacuumed: bool,
    },
    /// SQL text; of these tables, or of all.
    Sql(Vec<String>),
}

/// Parts of a body on their way from the thread that makes them.
const PARTS: usize = 4;

/// A backup that is made while it is sent: it has to be taken within `limit`.
///
/// # Errors
///
/// 400 or 500 if it cannot even be begun.
pub async fn made(
    view: View,
    format: Format,
    compress: bool,
    permit: Permit,
    limit: Duration,
) -> Result<Body, ApiError> {
    let (sender, mut parts) = mpsc::channel(PARTS);
    let sink = Sink {
        part: Vec::with_capacity(CHUNK),
        sender: sender.clone(),
        runtime: Handle::current(),
        deadline: Instant::now() + limit,
    };
    let whole = Arc::new(AtomicBool::new(false));
    let is_whole = whole.clone();
    let make = move || {
        match make(&view, &format, compress, sink) {
            Ok(()) => {
                permit.done();
                is_whole.store(true, Release);
            }
            // If there is no room for it now, the body breaks off all the same.
            Err(error) => drop(sender.try_send(Err(error))),
        }
        drop(permit);
    };
    Stack::Sql
        .spawn("backup", make)
        .map_err(|error| ApiError::Internal(format!("no thread for a backup: {error}")))?;
    // An error comes before anything else, most times, and can then be told with its status.
    match parts.recv().await {
        Some(Err(error @ DumpError::NoTable(_))) => Err(ApiError::bad(error.to_string())),
        Some(Err(error)) => Err(ApiError::Internal(error.to_string())),
        first => Ok(Body::new(Made {
            first,
            parts,
            whole,
        })),
    }
}

fn make(view: &View, format: &Format, compress: bool, mut sink: Sink) -> Result<(), DumpError> {
    write_backup(view, format, compress, &mut sink)?;
    sink.flush()?;
    Ok(())
}

/// Writes a copy of the database.
///
/// # Errors
///
/// If it cannot be made, or `out` takes no more.
pub fn write_backup(
    view: &View,
    format: &Format,
    compress: bool,
    out: &mut dyn io::Write,
) -> Result<(), DumpError> {
    let write = |out: &mut dyn io::Write| match format {
        Format::Sql(tables) => view.dump(tables, out),
        Format::File { vacuumed: true } => copy(&view.vacuumed()?, out),
        Format::File { vacuumed: false } => copy(view, out),
    };
    if compress {
        let mut gzip = GzEncoder::new(out, Compression::default());
        write(&mut gzip)?;
        gzip.finish()?;
        Ok(())
    } else {
        write(out)
    }
}

fn copy(view: &View, out: &mut dyn io::Write) -> Result<(), DumpError> {
    let mut chunk = vec![0; CHUNK];
    let mut sent = 0;
    while sent < view.size() {
        let read = view.read(sent, &mut chunk)?;
        out.write_all(&chunk[..read])?;
        sent += read;
    }
    Ok(())
}

type Part = Result<Bytes, DumpError>;

/// Passes what is written on to the body, part by part, as long as the client takes it.
struct Sink {
    part: Vec<u8>,
    sender: mpsc::Sender<Part>,
    runtime: Handle,
    deadline: Instant,
}

impl io::Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.part.extend_from_slice(bytes);
        if self.part.len() >= CHUNK {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.part.is_empty() {
            return Ok(());
        }
        let part = std::mem::replace(&mut self.part, Vec::with_capacity(CHUNK));
        let sending = self.sender.send(Ok(part.into()));
        let in_time = async { timeout_at(self.deadline, sending).await };
        match self.runtime.block_on(in_time) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(io::ErrorKind::BrokenPipe.into()),
            Err(_) => Err(io::Error::other(TooSlow)),
        }
    }
}

/// The body of what is made.
struct Made {
    first: Option<Part>,
    parts: mpsc::Receiver<Part>,
    /// Nothing is missing when there are no more parts.
    whole: Arc<AtomicBool>,
}

/// The body breaks off.
#[derive(Debug, thiserror::Error)]
#[error("the backup could not be made to its end")]
struct Unfinished;

impl hyper::body::Body for Made {
    type Data = Bytes;
    type Error = DumpError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, DumpError>>> {
        let this = self.get_mut();
        let part = match this.first.take() {
            Some(first) => Poll::Ready(Some(first)),
            None => this.parts.poll_recv(context),
        };
        part.map(|part| match part {
            None if !this.whole.swap(true, Acquire) => {
                Some(Err(DumpError::Io(io::Error::other(Unfinished))))
            }
            part => part.map(|part| part.map(Frame::data)),
        })
    }
}

/// The copy, until it has been sent or its time is over.
type Held = Arc<Mutex<Option<(View, Permit)>>>;

fn locked(held: &Held) -> MutexGuard<'_, Option<(View, Permit)>> {
    held.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What is left to send.
struct Backup {
    held: Held,
    /// Ends it; itself ended with it.
    _timer: AbortOnDropHandle<()>,
    sent: usize,
    length: usize,
}

/// The file of `view` as a response's body, which has to be taken within `limit`.
pub fn body(view: View, permit: Permit, limit: Duration) -> Body {
    let length = view.size();
    if length == 0 {
        // Nobody polls for nothing.
        permit.done();
    }
    let held = Arc::new(Mutex::new(Some((view, permit))));
    let late = Arc::downgrade(&held);
    let timer = tokio::spawn(async move {
        sleep(limit).await;
        // A client that stands still does not keep it from being forgotten.
        if let Some(held) = late.upgrade() {
            locked(&held).take();
        }
    });
    Body::new(Backup {
        held,
        _timer: AbortOnDropHandle::new(timer),
        sent: 0,
        length,
    })
}

/// The client did not take it in time.
#[derive(Debug, thiserror::Error)]
#[error("budget exceeded: the client takes too long to take the backup")]
struct TooSlow;

/// The body breaks off.
#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error(transparent)]
    TooSlow(#[from] TooSlow),
    #[error("the database cannot be read: {0}")]
    Io(#[from] io::Error),
}

impl hyper::body::Body for Backup {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let this = self.get_mut();
        if this.is_end_stream() {
            return Poll::Ready(None);
        }
        let mut chunk = vec![0; CHUNK.min(this.length - this.sent)];
        let read = match &*locked(&this.held) {
            Some((view, _)) => view.read(this.sent, &mut chunk),
            None => return Poll::Ready(Some(Err(TooSlow.into()))),
        };
        let read = match read {
            Ok(read) => read,
            Err(error) => return Poll::Ready(Some(Err(error.into()))),
        };
        chunk.truncate(read);
        this.sent += read;
        if this.sent == this.length
            && let Some((_, permit)) = &*locked(&this.held)
        {
            permit.done();
        }
        Poll::Ready(Some(Ok(Frame::data(chunk.into()))))
    }

    fn is_end_stream(&self) -> bool {
        self.sent == self.length
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact((self.length - self.sent) as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::Database;
    use crate::machine::{Executor as _, Moment};
    use crate::message::Command;
    use http_body_util::BodyExt as _;

    fn view() -> View {
        let mut database = Database::new().unwrap();
        let fill = "CREATE TABLE t (a); INSERT INTO t SELECT zeroblob(1000000)";
        let moment = Moment {
            time_ms: 0,
            seed: 1,
        };
        database
            .execute(moment, &Command::Shell(fill.into()))
            .unwrap();
        database.view()
    }

    #[tokio::test]
    async fn a_backup_is_the_whole_file_and_its_place_is_free_once_it_has_been_sent() {
        let backups = Arc::new(Downloads::new(1));
        let view = view();
        let body = body(
            view.clone(),
            permit(&backups).ok().unwrap(),
            Duration::from_secs(600),
        );
        assert!(permit(&backups).is_err());
        let sent = body.collect().await.unwrap().to_bytes();
        assert_eq!(backups.fetched().count, 1);
        assert!(view.size() > 3 * CHUNK);
        assert!(sent == view.to_vec().unwrap());
        assert!(permit(&backups).is_ok());
        // Nothing waits for the end of its time any more.
        tokio::task::yield_now().await;
        let tasks = Handle::current().metrics();
        assert_eq!(tasks.num_alive_tasks(), 0);
    }

    #[tokio::test]
    async fn what_breaks_off_is_not_taken_for_whole() {
        for whole in [true, false] {
            let (sender, parts) = mpsc::channel(PARTS);
            // Its error had no room.
            sender.try_send(Ok(Bytes::from_static(b"CREATE"))).unwrap();
            drop(sender);
            let whole_flag = Arc::new(AtomicBool::new(whole));
            let made = Made {
                first: None,
                parts,
                whole: whole_flag,
            };
            assert_eq!(Body::new(made).collect().await.is_ok(), whole);
        }
    }

    #[tokio::test]
    async fn who_does_not_take_it_in_time_gets_no_more_and_keeps_nobody_out() {
        let backups = Arc::new(Downloads::new(1));
        let permit = permit(&backups).ok().unwrap();
        let mut body = body(view(), permit, Duration::ZERO);
        // Without anybody's looking at the body.
        let again = backups.places.acquire().await;
        assert!(again.is_ok());
        assert!(body.frame().await.unwrap().is_err());
        assert_eq!(backups.fetched().count, 0);
    }
}
