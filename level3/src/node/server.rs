//! The threads behind a node's socket: one accepts, and one serves each connection.

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use super::Node;
use super::connection;
use crate::wire::{Endpoint, Listener, Stream};

/// Connections that may be open at once. The master keeps at most half as many.
const MAX_CONNECTIONS: usize = 512;

/// A node at work. Ends when dropped or stopped.
pub struct NodeServer {
    endpoint: Endpoint,
    listener: Arc<Listener>,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

struct Shared {
    node: Arc<Node>,
    stopping: AtomicBool,
    /// A second handle to each open connection, to end it with.
    open: Mutex<HashMap<u64, Stream>>,
}

/// Serves `node` at `listener` until the returned server is stopped.
pub fn serve(node: Arc<Node>, listener: Listener) -> io::Result<NodeServer> {
    let endpoint = listener.endpoint()?;
    let shared = Arc::new(Shared {
        node,
        stopping: AtomicBool::new(false),
        open: Mutex::default(),
    });
    let listener = Arc::new(listener);
    let acceptor = {
        let (shared, listener) = (Arc::clone(&shared), Arc::clone(&listener));
        thread::Builder::new()
            .name("accept".to_owned())
            .spawn(move || accept(&shared, &listener))?
    };
    Ok(NodeServer {
        endpoint,
        listener,
        shared,
        acceptor: Some(acceptor),
    })
}

impl NodeServer {
    /// Where the node can be reached.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Ends all connections and waits for their threads.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        let Some(acceptor) = self.acceptor.take() else {
            return;
        };
        self.shared.stopping.store(true, Ordering::SeqCst);
        self.listener.close();
        if acceptor.join().is_err() {
            crate::note!("the accepting thread has panicked");
        }
    }
}

impl Drop for NodeServer {
    fn drop(&mut self) {
        self.end();
    }
}

fn accept(shared: &Arc<Shared>, listener: &Listener) {
    let mut threads: Vec<JoinHandle<()>> = Vec::new();
    for number in 0.. {
        let stream = match listener.accept() {
            Ok(stream) => stream,
            Err(_) if shared.stopping.load(Ordering::SeqCst) => break,
            Err(error) => {
                // Mostly "too many open files"; trying again at once would only spin.
                crate::note!("cannot accept a connection: {error}");
                thread::sleep(std::time::Duration::from_millis(50));
                continue;
            }
        };
        if shared.stopping.load(Ordering::SeqCst) {
            break;
        }
        threads.retain(|thread| !thread.is_finished());
        if let Err(error) = start(shared, stream, number, &mut threads) {
            crate::note!("cannot serve a connection: {error}");
        }
    }
    for stream in shared
        .open
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .values()
    {
        stream.shutdown();
    }
    for thread in threads {
        if thread.join().is_err() {
            crate::note!("a connection's thread has panicked");
        }
    }
}

fn start(
    shared: &Arc<Shared>,
    stream: Stream,
    number: u64,
    threads: &mut Vec<JoinHandle<()>>,
) -> io::Result<()> {
    {
        let mut open = shared.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.len() >= MAX_CONNECTIONS {
            return Err(io::Error::other("too many connections"));
        }
        open.insert(number, stream.try_clone()?);
    }
    let guard = Registration {
        shared: Arc::clone(shared),
        number,
    };
    let work = move || {
        if let Err(error) = connection::run(&guard.shared.node, stream) {
            let gone = [
                io::ErrorKind::BrokenPipe,
                io::ErrorKind::ConnectionReset,
                io::ErrorKind::NotConnected,
            ];
            if !gone.contains(&error.kind()) {
                crate::note!("connection ended: {error}");
            }
        }
    };
    threads.push(
        thread::Builder::new()
            .name(format!("connection-{number}"))
            .spawn(work)?,
    );
    Ok(())
}

/// Takes a connection off the list when its thread ends.
struct Registration {
    shared: Arc<Shared>,
    number: u64,
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.shared
            .open
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&self.number);
    }
}
