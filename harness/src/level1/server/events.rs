//! The scoreboard as a stream of server-sent events (WHATWG HTML, 9.2): what changed, to every page
//! that is open.
//!
//! One task looks whether the board has changed and makes its parts once for all. A stream is a
//! connection that stays, so only some of the places are for streams; a browser that gets none asks
//! for the page now and then. A stream that is not read is ended by its connection's time limit.

use std::{sync::Arc, time::Duration};

use axum::{
    body::Bytes,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use tokio::sync::{Semaphore, mpsc, watch};

use super::{super::scoreboard::Fragments, Trouble, pages::read_scoreboard, site::Site};
use crate::web::{
    connections,
    stream::{self, KEEP_ALIVE, NOTHING_NEW, RETRY, event},
};

/// How often it is looked whether the board has changed while somebody has a page open.
const LOOK: Duration = Duration::from_millis(500);

/// What pages that are open are told.
pub struct Feed {
    /// The latest parts of the board; none before the first page is open.
    latest: watch::Sender<Option<Arc<Fragments>>>,
    places: Arc<Semaphore>,
    ended: watch::Sender<bool>,
}

impl Default for Feed {
    fn default() -> Self {
        Self {
            latest: watch::Sender::default(),
            places: Arc::new(Semaphore::new(connections::stream_places())),
            ended: watch::Sender::default(),
        }
    }
}

impl Feed {
    /// Ends every stream.
    pub fn end(&self) {
        self.ended.send_replace(true);
    }
}

/// Makes the parts of the board anew when it has changed, until the feed ends.
pub async fn follow(site: Arc<Site>) {
    let mut ended = site.feed.ended.subscribe();
    loop {
        let has_ended = tokio::time::timeout(LOOK, ended.wait_for(|ended| *ended));
        if has_ended.await.is_ok() {
            return;
        }
        if site.feed.latest.receiver_count() == 0 {
            continue;
        }
        // What cannot be read now can be read soon, or the game ends and says why.
        let Ok(board) = read_scoreboard(Arc::clone(&site)).await else {
            continue;
        };
        let fragments = board.fragments();
        site.feed.latest.send_if_modified(|latest| {
            let changed = latest.as_deref() != Some(&fragments);
            if changed {
                *latest = Some(Arc::new(fragments));
            }
            changed
        });
    }
}

/// Answers with a stream of the board's changes.
pub async fn events(State(site): State<Arc<Site>>) -> Result<Response, Trouble> {
    let Ok(place) = Arc::clone(&site.feed.places).try_acquire_owned() else {
        let text = "too many pages are open; ask for / now and then\n";
        return Ok((StatusCode::SERVICE_UNAVAILABLE, text).into_response());
    };
    let (sender, chunks) = mpsc::channel(1);
    let first = read_scoreboard(Arc::clone(&site)).await?.fragments();
    site.tasks
        .spawn(send_changes(Arc::clone(&site), first, sender));
    Ok(stream::answer(chunks, place))
}

/// Sends the board and its changes until the feed ends or nobody reads any more.
async fn send_changes(site: Arc<Site>, first: Fragments, chunks: mpsc::Sender<Bytes>) {
    let mut latest = site.feed.latest.subscribe();
    let mut ended = site.feed.ended.subscribe();
    let mut last = Arc::new(first);
    let greeting = format!(
        "{RETRY}{}{}",
        event("live", &last.live),
        event("history", &last.history)
    );
    let mut chunk = greeting;
    loop {
        tokio::select! {
            sent = chunks.send(chunk.into()) => if sent.is_err() { return },
            _ = ended.wait_for(|ended| *ended) => return,
        }
        let changed = tokio::select! {
            changed = tokio::time::timeout(KEEP_ALIVE, latest.changed()) => changed,
            _ = ended.wait_for(|ended| *ended) => return,
            () = chunks.closed() => return,
        };
        chunk = match changed {
            Err(_) => NOTHING_NEW.to_owned(),
            Ok(Err(_)) => return,
            Ok(Ok(())) => {
                let now = latest.borrow_and_update().clone();
                let now = now.unwrap_or_else(|| Arc::clone(&last));
                let text = changes(&last, &now);
                last = now;
                text
            }
        };
    }
}

/// The events that make one state of the board of another.
fn changes(last: &Fragments, now: &Fragments) -> String {
    if now == last {
        return NOTHING_NEW.to_owned();
    }
    let mut text = String::new();
    if now.live != last.live {
        text += &event("live", &now.live);
    }
    if now.history != last.history {
        text += &event("history", &now.history);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fragments(live: &str, history: &str) -> Fragments {
        Fragments {
            live: live.into(),
            history: history.into(),
        }
    }

    #[test]
    fn only_what_changed_is_sent() {
        let before = fragments("a", "b");
        assert_eq!(
            changes(&before, &fragments("c\nd", "b")),
            "event: live\ndata: c\ndata: d\n\n"
        );
        let both = changes(&before, &fragments("c", "d"));
        assert_eq!(both.matches("event: ").count(), 2);
        assert_eq!(changes(&before, &before), NOTHING_NEW);
    }
}
