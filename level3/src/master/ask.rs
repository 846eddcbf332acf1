//! Asking for one shard: which replica, when to ask another one, what counts as an answer.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::sleep;

use super::Master;
use super::pool::{Connection, Pool};
use crate::wire::Kind;

/// A second replica is asked when the first has been silent for this many times its usual time.
const HEDGE_FACTOR: u32 = 4;

/// But not before this: below it, a hiccup of the scheduler is the likelier reason.
const HEDGE_MIN: Duration = Duration::from_millis(2);

/// The first frame of an answer, and the connection that the rest will come from.
pub(crate) struct Started<'a> {
    pub pool: &'a Pool,
    pub connection: Connection,
    pub kind: Kind,
    pub payload: Bytes,
}

type Attempt<'a> = Pin<Box<dyn Future<Output = Result<Started<'a>, String>> + Send + 'a>>;

impl Master {
    /// How many shards there are.
    pub(crate) fn shards(&self) -> u32 {
        self.nodes.len() as u32
    }

    /// The nodes that hold a shard (counting from 1), its first replica first.
    pub(crate) fn replicas(&self, shard: u32) -> impl Iterator<Item = usize> {
        let nodes = self.nodes.len();
        (0..self.config.replicas.min(nodes))
            .map(move |replica| (shard as usize - 1 + replica) % nodes)
    }

    /// Sends a request to a replica of a shard and waits for the first frame; asks further
    /// replicas if that one fails or takes unusually long.
    ///
    /// # Errors
    /// What each replica said, for people.
    pub(crate) async fn ask<'a>(
        &'a self,
        shard: u32,
        frame: &'a [u8],
    ) -> Result<Started<'a>, String> {
        let mut replicas: Vec<&Pool> = self.replicas(shard).map(|node| &self.nodes[node]).collect();
        replicas.sort_by_key(|pool| pool.rank());
        let mut waiting = replicas.into_iter();
        let mut running: Vec<Attempt<'a>> = Vec::new();
        let mut failures: Vec<String> = Vec::new();
        loop {
            let usual = waiting.as_slice().first().map(|pool| pool.latency());
            if let Some(pool) = waiting.next() {
                running.push(Box::pin(self.attempt(pool, frame)));
            }
            if running.is_empty() {
                return Err(format!("shard {shard}: {}", failures.join("; ")));
            }
            // With nobody left to ask there is nothing to hedge with.
            let hedge = usual.filter(|_| !waiting.as_slice().is_empty());
            let silence = async {
                match hedge {
                    Some(usual) => sleep((usual * HEDGE_FACTOR).max(HEDGE_MIN)).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                outcome = first(&mut running) => match outcome {
                    Ok(started) => return Ok(started),
                    Err(failure) => failures.push(failure),
                },
                () = silence => {}
            }
        }
    }

    async fn attempt<'a>(&self, pool: &'a Pool, frame: &[u8]) -> Result<Started<'a>, String> {
        let told = |what: &dyn std::fmt::Display| format!("node {}: {what}", pool.endpoint);
        match pool.request(frame, self.config.node_timeout).await {
            Ok((connection, Kind::Error, message)) => {
                pool.give_back(connection);
                Err(told(&String::from_utf8_lossy(&message)))
            }
            Ok((connection, kind, payload)) => Ok(Started {
                pool,
                connection,
                kind,
                payload,
            }),
            Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                Err(told(&"no answer in time"))
            }
            Err(error) => Err(told(&error)),
        }
    }
}

/// Waits for the first of the futures to be ready, and removes it.
async fn first<T>(running: &mut Vec<Pin<Box<dyn Future<Output = T> + Send + '_>>>) -> T {
    poll_fn(|context| {
        for at in 0..running.len() {
            if let Poll::Ready(output) = running[at].as_mut().poll(context) {
                drop(running.swap_remove(at));
                return Poll::Ready(output);
            }
        }
        Poll::Pending
    })
    .await
}

/// Waits for all of the futures, which run side by side.
pub(crate) async fn all<F: Future>(futures: impl IntoIterator<Item = F>) -> Vec<F::Output> {
    let mut running: Vec<Pin<Box<F>>> = futures.into_iter().map(Box::pin).collect();
    let mut outputs: Vec<Option<F::Output>> = running.iter().map(|_| None).collect();
    poll_fn(|context| {
        let mut pending = false;
        for (future, output) in running.iter_mut().zip(&mut outputs) {
            if output.is_none() {
                match future.as_mut().poll(context) {
                    Poll::Ready(ready) => *output = Some(ready),
                    Poll::Pending => pending = true,
                }
            }
        }
        if pending {
            Poll::Pending
        } else {
            Poll::Ready(())
        }
    })
    .await;
    outputs.into_iter().flatten().collect()
}
