//! Three real nodes on loopback, durable: single-row INSERTs by many clients spread over the nodes,
//! then by one; and the same load, as puts of the same size, on an etcd cluster that is already running.
//!
//! ```sh
//! cargo bench -p level4 --bench throughput -- --seconds 10 --rounds 3
//! cargo bench -p level4 --bench throughput -- --seconds 2 --traced    # what `--trace` costs
//! cargo bench -p level4 --bench throughput -- --batch 1000    # rows in transactions of 1,000, to one node
//! level4/benches/compare.sh                        # starts etcd as well
//! ```
//!
//! Both are driven by the same client (hyper): one connection a client, one request at a time; HTTP/1.1
//! for ours, gRPC over HTTP/2 for etcd. Load generator and all six servers share the machine.

#[path = "../tests/common/mod.rs"]
mod common;

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use bytes::{BufMut as _, Bytes, BytesMut};
use clap::Parser;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// Measures three nodes on loopback, and etcd beside them.
#[derive(Parser)]
struct Flags {
    /// Length of each measurement
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Measurements of each kind, interleaved; the median of their figures is shown
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Concurrent clients of the first kind of measurement
    #[arg(long, default_value_t = 64)]
    clients: usize,
    /// Client addresses of a running etcd cluster, HOST:PORT, separated by commas
    #[arg(long, value_delimiter = ',')]
    etcd: Vec<String>,
    /// Measure a second cluster as well, whose nodes write traces (`--trace`)
    #[arg(long)]
    traced: bool,
    /// Measure one node that is sent so many INSERTs a request
    ///
    /// With parameters, in one transaction, by two clients.
    #[arg(long, conflicts_with_all = ["etcd", "traced", "clients"])]
    batch: Option<u64>,
    /// Given by `cargo bench`
    #[arg(long, hide = true)]
    bench: bool,
}

/// A client's connection.
enum Client {
    Sql(http1::SendRequest<Full<Bytes>>),
    Etcd(http2::SendRequest<Full<Bytes>>),
}

impl Client {
    async fn sql(address: &str) -> anyhow::Result<Self> {
        let (sender, connection) = http1::handshake(connect(address).await?).await?;
        tokio::spawn(connection);
        Ok(Self::Sql(sender))
    }

    async fn etcd(address: &str) -> anyhow::Result<Self> {
        let io = connect(address).await?;
        let (sender, connection) = http2::handshake(TokioExecutor::new(), io).await?;
        tokio::spawn(connection);
        Ok(Self::Etcd(sender))
    }

    /// Writes one small row, or key, named by `client` and `number`.
    async fn write(&mut self, client: usize, number: u64) -> anyhow::Result<()> {
        match self {
            Self::Sql(sender) => {
                let sql = format!("INSERT INTO t VALUES ({client}, {number}, 'sixteen letters.')");
                let request = Request::post("/sql")
                    .header("host", "level4")
                    .body(Full::from(sql))?;
                sender.ready().await?;
                let body = whole(sender.send_request(request).await?).await?;
                ensure!(body.starts_with(b"SequenceNumber: "), "{body:?}");
            }
            Self::Etcd(sender) => {
                let key = format!("t/{client:04}/{number:012}");
                let request = Request::post("http://etcd/etcdserverpb.KV/Put")
                    .header("content-type", "application/grpc")
                    .header("te", "trailers")
                    .body(Full::new(put(key.as_bytes(), b"sixteen letters.")))?;
                sender.ready().await?;
                let body = whole(sender.send_request(request).await?).await?;
                ensure!(body.len() > 5, "etcd refused a put");
            }
        }
        Ok(())
    }
}

/// Clients that send batches.
const BATCHING: u64 = 2;

/// Rows a second by clients that each send `rows` at a time for `length`; and how many there were.
async fn batches(address: &str, rows: u64, length: Duration) -> anyhow::Result<(f64, u64)> {
    let start = Instant::now();
    let mut tasks = JoinSet::new();
    for client in 0..BATCHING {
        let mut stream = http1::handshake(connect(address).await?).await?;
        tokio::spawn(stream.1);
        tasks.spawn(async move {
            let mut count = 0;
            while start.elapsed() < length {
                let one = |number| {
                    let sql = "INSERT INTO t VALUES (?, ?, ?)";
                    format!("[\"{sql}\",{client},{number},\"sixteen letters.\"]")
                };
                let list: Vec<String> = (count..count + rows).map(one).collect();
                let request = Request::post("/db/execute?transaction")
                    .header("host", "level4")
                    .body(Full::<Bytes>::from(format!("[{}]", list.join(","))))?;
                stream.0.ready().await?;
                let body = whole(stream.0.send_request(request).await?).await?;
                let done = memchr::memmem::find_iter(&body, b"last_insert_id").count();
                ensure!(done as u64 == rows, "{body:?}");
                count += rows;
            }
            anyhow::Ok(count)
        });
    }
    let mut count = 0;
    while let Some(result) = tasks.join_next().await {
        count += result??;
    }
    Ok((count as f64 / start.elapsed().as_secs_f64(), count))
}

fn measure_batches(rows: u64, flags: &Flags) -> anyhow::Result<()> {
    let root = tempfile::tempdir()?;
    let length = Duration::from_secs(flags.seconds);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    for form in [&[][..], &["--on-disk"]] {
        let folder = root.path().join(form.concat());
        let node = common::Node::start_with(&folder, "127.0.0.1:0", form);
        node.sql("CREATE TABLE t (client, number, text)");
        let (mut figures, mut written) = (Vec::new(), 0);
        for _ in 0..flags.rounds {
            let (rate, count) = runtime.block_on(batches(&node.address, rows, length))?;
            figures.push(rate);
            written += count;
        }
        figures.sort_by(f64::total_cmp);
        let answer = node.sql("SELECT count(*) FROM t");
        ensure!(
            answer.lines().nth(1) == Some(&written.to_string()),
            "{answer}"
        );
        println!(
            "{rows} rows a request {form:?}: {:.0} rows a second ({:.0} to {:.0} in {} rounds)",
            figures[figures.len() / 2],
            figures[0],
            figures[figures.len() - 1],
            flags.rounds
        );
    }
    Ok(())
}

async fn connect(address: &str) -> anyhow::Result<TokioIo<TcpStream>> {
    let stream = TcpStream::connect(address)
        .await
        .with_context(|| format!("cannot connect to {address}"))?;
    stream.set_nodelay(true)?;
    Ok(TokioIo::new(stream))
}

async fn whole(response: Response<Incoming>) -> anyhow::Result<Bytes> {
    let status = response.status();
    let body = response.into_body().collect().await?.to_bytes();
    if !status.is_success() {
        bail!("{status}: {}", String::from_utf8_lossy(&body));
    }
    Ok(body)
}

/// An `etcdserverpb.PutRequest` (key and value are its fields 1 and 2) in a gRPC frame.
fn put(key: &[u8], value: &[u8]) -> Bytes {
    let length = key.len() + value.len() + 4;
    let mut frame = BytesMut::with_capacity(5 + length);
    frame.put_u8(0);
    frame.put_u32(length as u32);
    for (tag, bytes) in [(0x0a, key), (0x12, value)] {
        frame.put_u8(tag);
        frame.put_u8(bytes.len() as u8);
        frame.put_slice(bytes);
    }
    frame.freeze()
}

/// What one measurement gave.
#[derive(Clone, Copy)]
struct Figures {
    per_second: f64,
    p50_ms: f64,
    p99_ms: f64,
}

/// `clients` clients write as fast as they are answered. Returns also how many writes were made.
async fn measure(
    addresses: &[String],
    is_etcd: bool,
    clients: usize,
    round: usize,
    length: Duration,
) -> anyhow::Result<(Figures, u64)> {
    let mut tasks = JoinSet::new();
    let start = Instant::now();
    for place in 0..clients {
        let address = addresses[place % addresses.len()].clone();
        // Rows and keys of different measurements differ.
        let name = round * 1_000 + place;
        tasks.spawn(async move {
            let mut client = if is_etcd {
                Client::etcd(&address).await?
            } else {
                Client::sql(&address).await?
            };
            let mut latencies = Vec::new();
            while start.elapsed() < length {
                let sent = Instant::now();
                client.write(name, latencies.len() as u64).await?;
                latencies.push(sent.elapsed());
            }
            anyhow::Ok(latencies)
        });
    }
    let mut latencies = Vec::new();
    while let Some(result) = tasks.join_next().await {
        latencies.append(&mut result??);
    }
    let elapsed = start.elapsed();
    latencies.sort_unstable();
    let percentile = |part: f64| {
        let rank = (latencies.len() as f64 * part) as usize;
        latencies
            .get(rank.min(latencies.len().saturating_sub(1)))
            .map_or(0.0, |latency| latency.as_secs_f64() * 1e3)
    };
    let figures = Figures {
        per_second: latencies.len() as f64 / elapsed.as_secs_f64(),
        p50_ms: percentile(0.5),
        p99_ms: percentile(0.99),
    };
    Ok((figures, latencies.len() as u64))
}

fn median(figures: &[Figures], of: impl Fn(&Figures) -> f64) -> f64 {
    let mut values: Vec<f64> = figures.iter().map(of).collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn main() -> anyhow::Result<()> {
    let flags = Flags::parse();
    ensure!(flags.rounds > 0 && flags.clients > 0, "nothing to measure");
    if let Some(rows) = flags.batch {
        return measure_batches(rows, &flags);
    }
    let root = tempfile::tempdir()?;
    let nodes = common::cluster(root.path(), 3);
    nodes[0].sql("CREATE TABLE t (client, number, text)");
    let ours: Vec<String> = nodes.iter().map(|node| node.address.clone()).collect();
    let traces = tempfile::tempdir()?;
    let mut traced = Vec::new();
    if flags.traced {
        traced = common::cluster_with(&root.path().join("traced"), 3, |place| {
            let path = traces.path().join(format!("{place}.jsonl"));
            vec![format!("--trace={}", path.display())]
        });
        traced[0].sql("CREATE TABLE t (client, number, text)");
    }
    let watched: Vec<String> = traced.iter().map(|node| node.address.clone()).collect();
    let mut targets = vec![("level4", ours.as_slice(), false)];
    if flags.traced {
        targets.push(("traced", &watched, false));
    }
    if !flags.etcd.is_empty() {
        targets.push(("etcd", &flags.etcd, true));
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let length = Duration::from_secs(flags.seconds);
    let mut written = 0;
    println!(
        "server   clients   writes/s   p50 ms   p99 ms   (medians of {} rounds)",
        flags.rounds
    );
    for (kind, clients) in [flags.clients, 1].into_iter().enumerate() {
        let mut figures = vec![Vec::new(); targets.len()];
        for round in 0..flags.rounds {
            for (target, found) in targets.iter().zip(&mut figures) {
                let &(name, addresses, is_etcd) = target;
                let series = kind * flags.rounds + round;
                let run = measure(addresses, is_etcd, clients, series, length);
                let (of_round, count) = runtime.block_on(run)?;
                found.push(of_round);
                written += if name == "level4" { count } else { 0 };
            }
        }
        for ((name, ..), figures) in targets.iter().zip(&figures) {
            println!(
                "{name:<8} {clients:>7} {:>10.0} {:>8.2} {:>8.2}",
                median(figures, |f| f.per_second),
                median(figures, |f| f.p50_ms),
                median(figures, |f| f.p99_ms),
            );
        }
    }
    for node in &nodes {
        let answer = node.sql("SELECT count(*) FROM t");
        ensure!(
            answer.lines().nth(1) == Some(&written.to_string()),
            "{written} writes were acknowledged, but a node has {answer:?}"
        );
    }
    println!("all {written} rows are on all nodes");
    for file in std::fs::read_dir(traces.path())? {
        let file = file?;
        let (name, size) = (file.file_name(), file.metadata()?.len());
        println!("{} has {} KiB", name.display(), size / 1024);
    }
    Ok(())
}
