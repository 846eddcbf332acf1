//! SQL nodes for the tests of the level 4 judge: none of them is a fair solution.
//!
//! - Without further flags, a naive primary: node 0 has the only database and the others forward
//!   to it, so it is a single point of failure.
//! - `--store SOCKET`: every node asks a store behind the network's back, which no monkey can
//!   touch. `--serve-store SOCKET` is that store.
//! - `--lie KIND@N`: from request N on, do something wrong, once.

use std::{
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result};
use axum::{Router, extract::State, http::StatusCode, response::IntoResponse, routing::post};
use clap::Parser;
use harness::level4::sqlite::Database;
use http_body_util::{BodyExt, Full};
use hyper::{Request, body::Bytes, client::conn::http1::handshake};
use hyper_util::rt::TokioIo;
use tokio::net::{UnixListener, UnixStream};

#[derive(Debug, Parser)]
struct Args {
    #[arg(short)]
    listen: Option<PathBuf>,
    #[arg(short)]
    directory: Option<PathBuf>,
    #[arg(long)]
    join: Option<PathBuf>,
    #[arg(long)]
    store: Option<PathBuf>,
    #[arg(long)]
    serve_store: Option<PathBuf>,
    #[arg(long, value_parser = lie)]
    lie: Option<(Lie, u64)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Lie {
    /// Give a number again.
    Repeat,
    /// Show a wrong table.
    Output,
    /// Leave out the head of the answer.
    Head,
    /// Execute, and say that it failed.
    Lose,
    /// End with status 0.
    Exit,
}

fn lie(text: &str) -> Result<(Lie, u64), String> {
    let (kind, at) = text.split_once('@').ok_or("KIND@N is needed")?;
    let kind = <Lie as clap::ValueEnum>::from_str(kind, true)?;
    Ok((kind, at.parse().map_err(|_| "N is no number")?))
}

/// Where requests are executed.
enum Place {
    Here(Mutex<(Database, u64)>),
    Elsewhere(PathBuf),
}

struct Node {
    place: Place,
    lie: Option<(Lie, u64)>,
    asked: AtomicU64,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let args = Args::parse();
    if let Some(directory) = &args.directory {
        std::env::set_current_dir(directory)?;
    }
    let (listen, place) = match (args.serve_store, args.store.or(args.join)) {
        (Some(store), _) => (store, Place::Here(Mutex::new((Database::new()?, 0)))),
        (None, elsewhere) => {
            let here = || Ok::<_, anyhow::Error>(Place::Here(Mutex::new((Database::new()?, 0))));
            let place = elsewhere.map_or_else(here, |path| Ok(Place::Elsewhere(path)))?;
            (args.listen.context("-l is missing")?, place)
        }
    };
    // A restarted node finds its own stale socket.
    let _absent = std::fs::remove_file(&listen);
    let listener = UnixListener::bind(&listen)?;
    let node = Arc::new(Node {
        place,
        lie: args.lie,
        asked: AtomicU64::new(0),
    });
    let app = Router::new().route("/sql", post(sql)).with_state(node);
    axum::serve(listener, app).await?;
    Ok(())
}

async fn sql(State(node): State<Arc<Node>>, sql: String) -> impl IntoResponse {
    let asked = node.asked.fetch_add(1, Ordering::SeqCst);
    let lie = node
        .lie
        .filter(|(_, at)| *at == asked)
        .map(|(kind, _)| kind);
    if lie == Some(Lie::Exit) {
        std::process::exit(0);
    }
    let answer = match &node.place {
        Place::Here(database) => execute(database, &sql, lie == Some(Lie::Repeat)),
        Place::Elsewhere(path) => forward(path, sql).await,
    };
    match (answer, lie) {
        (Err(_), _) | (_, Some(Lie::Lose)) => (StatusCode::SERVICE_UNAVAILABLE, Vec::new()),
        (Ok(mut answer), Some(Lie::Output)) => {
            answer.extend(b"and more\n");
            (StatusCode::OK, answer)
        }
        (Ok(answer), Some(Lie::Head)) => (StatusCode::OK, answer[3..].to_vec()),
        (Ok(answer), _) => (StatusCode::OK, answer),
    }
}

fn execute(database: &Mutex<(Database, u64)>, sql: &str, repeat: bool) -> Result<Vec<u8>> {
    let mut guard = database.lock().unwrap_or_else(PoisonError::into_inner);
    let (database, next) = &mut *guard;
    if repeat {
        *next -= 1;
    }
    let output = database.execute(sql)?;
    let mut answer = format!("SequenceNumber: {next}\n").into_bytes();
    answer.extend(output);
    *next += 1;
    Ok(answer)
}

/// Asks another one until it answers: an answer that is lost would be executed again.
async fn forward(path: &PathBuf, sql: String) -> Result<Vec<u8>> {
    // Only connecting is tried again; nothing was sent until then.
    let stream = loop {
        match UnixStream::connect(path).await {
            Ok(stream) => break stream,
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    };
    let (mut sender, connection) = handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let request = Request::post("/sql").header("host", "node0");
    let response = sender
        .send_request(request.body(Full::<Bytes>::from(sql))?)
        .await?;
    anyhow::ensure!(response.status() == StatusCode::OK, "{}", response.status());
    Ok(response.into_body().collect().await?.to_bytes().into())
}
