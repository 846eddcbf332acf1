//! The game over HTTP: git for the miners, a scoreboard for everybody else.
//!
//! Everybody may clone; to push, a player gives its name and token by HTTP Basic. What a client may
//! cost is bounded: connections, the time for a request's head and body, and their sizes; who may
//! push is asked before a push is read. Plain HTTP/1.1: between machines that do not trust their network, put a
//! proxy with TLS in front.

pub mod cgi;
mod connections;

use std::{
    collections::HashMap,
    net::{SocketAddr, TcpListener},
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    thread::{self, JoinHandle},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result};
use axum::{
    Json, Router,
    body::Body,
    extract::{Path, Request, State},
    http::{HeaderMap, Method, Response, StatusCode, header, request::Parts},
    response::{Html, IntoResponse},
    routing::get,
};
use base64::{Engine, prelude::BASE64_STANDARD};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use tokio::sync::{Semaphore, oneshot};
use tokio_util::task::TaskTracker;

use super::{
    receive,
    repository::Repository,
    rules::Violation,
    scoreboard::{self, RatingLine, RoundInfo, Scoreboard},
};
use crate::console;

/// The most bytes of a request for a clone or a fetch: the commits that each side has.
const FETCH_MAX: usize = 256 << 10;

/// What a push's request may have beside the objects of a coin: the list of refs.
const PUSH_LINES_MAX: usize = 16 << 10;

/// The most git processes at a time; further requests wait.
const GIT_MAX: usize = 16;

/// How long the server waits for requests in progress when it ends.
const GRACE: Duration = Duration::from_secs(5);

/// Something that happens to the chain while a player waits.
pub type Surprise = Box<dyn FnOnce() -> Result<()> + Send>;

/// What is served, and what changes while it is.
pub struct Site {
    repository: Repository,
    title: String,
    tokens: HashMap<String, String>,
    standing: Mutex<Standing>,
    /// Pushes that each player began, whatever became of them.
    attempts: Mutex<HashMap<String, u64>>,
    /// What is done before the first push of a player, and is gone then.
    before_push: Mutex<Option<Surprise>>,
    /// Whose turn it is, for each player that pushed.
    turns: Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>,
    git: Semaphore,
    tasks: TaskTracker,
}

/// The part of the scoreboard that does not come from the repository.
#[derive(Debug, Clone, Default)]
pub struct Standing {
    /// The running round.
    pub round: Option<RoundInfo>,
    /// Everybody's rating.
    pub ratings: Vec<RatingLine>,
}

impl Site {
    /// A site for a repository and the players, names with tokens, who may push to it.
    pub fn new(
        repository: Repository,
        title: impl Into<String>,
        players: impl IntoIterator<Item = (String, String)>,
    ) -> Self {
        Self {
            repository,
            title: title.into(),
            tokens: players.into_iter().collect(),
            standing: Mutex::default(),
            attempts: Mutex::default(),
            before_push: Mutex::default(),
            turns: Mutex::default(),
            git: Semaphore::new(GIT_MAX),
            tasks: TaskTracker::new(),
        }
    }

    /// Changes what the scoreboard says beside the ledger.
    pub fn set_standing(&self, standing: Standing) {
        *self.standing.lock().unwrap_or_else(PoisonError::into_inner) = standing;
    }

    /// Does something before the first push of a player is answered.
    pub fn surprise(&self, surprise: Surprise) {
        let mut before_push = self
            .before_push
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *before_push = Some(surprise);
    }

    fn take_surprise(&self) -> Option<Surprise> {
        let mut before_push = self
            .before_push
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        before_push.take()
    }

    /// How many pushes a player has begun, landed or not.
    pub fn attempts(&self, player: &str) -> u64 {
        let attempts = self.attempts.lock().unwrap_or_else(PoisonError::into_inner);
        attempts.get(player).copied().unwrap_or_default()
    }

    /// The path of the repository's URL: its folder's name.
    pub fn path(&self) -> String {
        let name = self.repository.dir().file_name().unwrap_or_default();
        format!("/{}", name.to_string_lossy())
    }

    /// The URL of the repository on `address`; with name and token, if a player is named.
    pub fn url(&self, address: SocketAddr, player: Option<&str>) -> String {
        let token = player.and_then(|player| Some((player, self.tokens.get(player)?)));
        let login = token.map_or_else(String::new, |(player, token)| {
            format!("{}:{token}@", utf8_percent_encode(player, &RESERVED))
        });
        format!("http://{login}{}{}", shown(address), self.path())
    }

    /// The scoreboard now.
    pub fn scoreboard(&self) -> Result<Scoreboard> {
        let head = self.repository.head()?;
        let standing = self
            .standing
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        Ok(Scoreboard {
            title: self.title.clone(),
            path: self.path(),
            head: head.to_string(),
            difficulty: self.repository.difficulty(head)?.to_string(),
            round: standing.round,
            coins: scoreboard::rank(&self.repository.ledger(head)?),
            ratings: standing.ratings,
        })
    }

    /// The player that a request's credentials belong to, if they are right.
    fn authenticate(&self, headers: &HeaderMap) -> Option<String> {
        let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
        let (scheme, encoded) = value.split_once(' ')?;
        let decoded = BASE64_STANDARD.decode(encoded.trim()).ok()?;
        let text = String::from_utf8(decoded).ok()?;
        let (name, token) = text.split_once(':')?;
        let right = scheme.eq_ignore_ascii_case("basic")
            && same(token.as_bytes(), self.tokens.get(name)?.as_bytes());
        right.then(|| name.to_owned())
    }

    /// What a player's pushes wait for; players are known, so there are not many.
    fn turn(&self, player: &str) -> Arc<tokio::sync::Mutex<()>> {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(turns.entry(player.to_owned()).or_default())
    }

    fn count_attempt(&self, player: &str) {
        let mut attempts = self.attempts.lock().unwrap_or_else(PoisonError::into_inner);
        *attempts.entry(player.to_owned()).or_default() += 1;
    }
}

/// The address as players write it: this machine's name where we listen on all its addresses.
pub fn shown(address: SocketAddr) -> String {
    if address.ip().is_unspecified() {
        let system = rustix::system::uname();
        format!("{}:{}", system.nodename().to_string_lossy(), address.port())
    } else {
        address.to_string()
    }
}

/// Compares in a time that does not tell how much of a guess is right.
fn same(a: &[u8], b: &[u8]) -> bool {
    let difference = a
        .iter()
        .zip(b)
        .fold(0, |difference, (a, b)| difference | (a ^ b));
    a.len() == b.len() && difference == 0
}

/// What of a name is encoded in the user part of a URL (RFC 3986, 3.2.1).
const RESERVED: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_');

/// Serves a site until `shutdown` completes, then finishes what is in progress.
pub async fn serve(
    listener: tokio::net::TcpListener,
    site: Arc<Site>,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<()> {
    let app = Router::new()
        .route("/", get(page))
        .route("/scoreboard.json", get(json))
        .route("/{repository}/{*service}", get(git).post(git))
        .with_state(Arc::clone(&site));
    connections::serve(listener, app, shutdown, GRACE / 5).await;
    site.tasks.close();
    let _ = tokio::time::timeout(GRACE, site.tasks.wait()).await;
    Ok(())
}

async fn page(State(site): State<Arc<Site>>) -> Result<Html<String>, Trouble> {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Ok(Html(read_scoreboard(site).await?.html(now.as_secs())))
}

async fn json(State(site): State<Arc<Site>>) -> Result<Json<Scoreboard>, Trouble> {
    Ok(Json(read_scoreboard(site).await?))
}

async fn read_scoreboard(site: Arc<Site>) -> Result<Scoreboard, Trouble> {
    let _permit = site.git.acquire().await.context("the server ends")?;
    let reading = Arc::clone(&site);
    let scoreboard = tokio::task::spawn_blocking(move || reading.scoreboard()).await;
    Ok(scoreboard.context("the scoreboard could not be read")??)
}

/// The services of git's smart protocol (gitprotocol-http(5)); plain files are not served.
async fn git(
    State(site): State<Arc<Site>>,
    Path((_, service)): Path<(String, String)>,
    request: Request,
) -> Result<Response<Body>, Trouble> {
    let (parts, body) = request.into_parts();
    let query = parts.uri.query().unwrap_or_default();
    let path = format!("{}/{service}", site.path());
    let pushing = match (service.as_str(), query) {
        ("info/refs", "service=git-receive-pack") | ("git-receive-pack", _) => true,
        ("info/refs", "service=git-upload-pack") | ("git-upload-pack", _) => false,
        _ => return Ok((StatusCode::NOT_FOUND, "no such service\n").into_response()),
    };
    if parts.uri.path() != path {
        return Ok((StatusCode::NOT_FOUND, "no such repository\n").into_response());
    }
    let player = site.authenticate(&parts.headers);
    if pushing && player.is_none() {
        let challenge = [(header::WWW_AUTHENTICATE, "Basic realm=\"gitcoin\"")];
        let text = "to push, give your player's name and token\n";
        return Ok((StatusCode::UNAUTHORIZED, challenge, text).into_response());
    }
    if let Some(player) = &player
        && pushing
        && service == "info/refs"
    {
        site.count_attempt(player);
        if let Some(surprise) = site.take_surprise() {
            let done = tokio::task::spawn_blocking(surprise).await;
            done.context("the surprise was given up")??;
        }
    }
    if let (Some(player), true) = (player, pushing) {
        return push(site, player, &parts, body).await;
    }
    let body = match connections::read(body, FETCH_MAX).await {
        Ok(body) => body,
        Err(status) => return Ok(refuse_body(status, FETCH_MAX)),
    };
    let request = cgi::Request {
        method: parts.method,
        path,
        query: query.to_owned(),
        headers: parts.headers,
        body,
    };
    // A task of its own: it goes on when the client does not wait for its end.
    let running = Arc::clone(&site);
    let task = site.tasks.spawn(async move {
        let _permit = running.git.acquire().await.context("the server ends")?;
        let root = running.repository.dir().parent().map(PathBuf::from);
        cgi::http_backend(&root.unwrap_or_default(), request).await
    });
    Ok(task.await.context("git http-backend was given up")??)
}

/// Both requests of a push: for where `master` stands, and with what is to land on it.
async fn push(
    site: Arc<Site>,
    player: String,
    parts: &Parts,
    body: Body,
) -> Result<Response<Body>, Trouble> {
    if parts.method == Method::GET {
        let head = site.repository.head()?;
        return Ok(answer("advertisement", receive::advertisement(head)));
    }
    if parts.headers.contains_key(header::CONTENT_ENCODING) {
        let text = "a push is not encoded\n";
        return Ok((StatusCode::UNSUPPORTED_MEDIA_TYPE, text).into_response());
    }
    let reading = Arc::clone(&site);
    let max = tokio::task::spawn_blocking(move || reading.repository.request_max());
    let max = max.await.context("the ledger could not be read")?? + PUSH_LINES_MAX;
    // One at a time for each player, from before its body is read.
    let turn = site.turn(&player);
    let turn = turn.lock_owned().await;
    let body = match connections::read(body, max).await {
        Ok(body) => body,
        Err(status) => {
            if status == StatusCode::PAYLOAD_TOO_LARGE {
                let violation = Violation::TooMuch(format!("a request has at most {max} bytes"));
                let noting = Arc::clone(&site);
                let note = move || noting.repository.note_refusal(&player, &violation);
                let noted = tokio::task::spawn_blocking(note).await;
                noted.context("the refusal could not be noted")??;
            }
            return Ok(refuse_body(status, max));
        }
    };
    // A task of its own: a client that goes away does not leave it half done.
    let landing = Arc::clone(&site);
    let task = site.tasks.spawn_blocking(move || {
        let _turn = turn;
        landing.repository.receive_request(&body, &player)
    });
    Ok(match task.await.context("the push was given up")? {
        Ok(report) => answer("result", report),
        Err(refusal) => (StatusCode::BAD_REQUEST, format!("{refusal}\n")).into_response(),
    })
}

/// An answer of the push's service; none may be kept by anybody on the way.
fn answer(what: &str, body: Vec<u8>) -> Response<Body> {
    let kind = format!("application/x-git-receive-pack-{what}");
    let headers = [
        (header::CONTENT_TYPE, kind),
        (header::CACHE_CONTROL, "no-cache".to_owned()),
    ];
    (headers, body).into_response()
}

/// Says why a body was not taken.
fn refuse_body(status: StatusCode, max: usize) -> Response<Body> {
    let text = match status {
        StatusCode::PAYLOAD_TOO_LARGE => format!("a request has at most {max} bytes\n"),
        StatusCode::REQUEST_TIMEOUT => "the request came too slowly\n".to_owned(),
        _ => "the request is cut off\n".to_owned(),
    };
    (status, [(header::CONNECTION, "close")], text).into_response()
}

/// A failure of the server's own: told to the client in one line.
struct Trouble(anyhow::Error);

impl<E: Into<anyhow::Error>> From<E> for Trouble {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl IntoResponse for Trouble {
    fn into_response(self) -> Response<Body> {
        let text = format!("{:#}\n", self.0);
        (StatusCode::INTERNAL_SERVER_ERROR, text).into_response()
    }
}

/// A server on a thread of its own. Dropping it ends it and waits for its end.
#[must_use = "dropping the server ends it"]
pub struct Server {
    address: SocketAddr,
    site: Arc<Site>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Starts serving a site.
    pub fn start(listener: TcpListener, site: Site) -> Result<Self> {
        let address = listener.local_addr()?;
        listener.set_nonblocking(true)?;
        let site = Arc::new(site);
        let (stop, stopped) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .context("cannot start the server")?;
        let served = Arc::clone(&site);
        let thread = thread::Builder::new().name("http".into()).spawn(move || {
            let result = runtime.block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener)?;
                serve(listener, served, async {
                    let _ = stopped.await;
                })
                .await
            });
            if let Err(error) = result {
                console::log(&format!("level 1: the server failed: {error:#}"));
            }
        })?;
        Ok(Self {
            address,
            site,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it serves.
    pub fn site(&self) -> &Site {
        &self.site
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_encoded_for_urls() {
        let encoded = utf8_percent_encode("a b@c.d-e_F9", &RESERVED);
        assert_eq!(encoded.to_string(), "a%20b%40c.d-e_F9");
    }

    #[test]
    fn an_address_of_all_interfaces_is_shown_by_name() {
        assert_eq!(shown("127.0.0.1:80".parse().unwrap()), "127.0.0.1:80");
        let name = shown("0.0.0.0:80".parse().unwrap());
        assert!(
            !name.starts_with("0.0.0.0") && name.ends_with(":80"),
            "{name}"
        );
    }

    #[test]
    fn tokens_are_compared_whole() {
        assert!(same(b"abc", b"abc"));
        assert!(!same(b"abc", b"abd"));
        assert!(!same(b"ab", b"abc"));
        assert!(!same(b"", b"abc"));
    }
}
