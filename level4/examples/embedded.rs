//! A cluster of one inside another program: `cargo run -p level4 --example embedded`.
//!
//! The node runs as a future on the program's own runtime, and ends when the future given as its end is
//! done. Clients reach it by HTTP as they would any other node.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;

use level4::Settings;
use tokio::sync::oneshot;

/// Sends SQL to the node's socket and gives what it answers.
fn sql(socket: &Path, text: &str) -> std::io::Result<String> {
    let mut stream = UnixStream::connect(socket)?;
    let length = text.len();
    write!(
        stream,
        "POST /sql HTTP/1.0\r\nContent-Length: {length}\r\n\r\n{text}"
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let socket = folder.path().join("node.sock");
    let settings = Settings::listening_at(&socket.to_string_lossy());
    let runtime = tokio::runtime::Runtime::new()?;
    let (end, ended) = oneshot::channel::<()>();
    let home = folder.path().to_owned();
    let node = runtime.spawn(async move {
        let shutdown = async {
            // However it comes, it is the end.
            let _ = ended.await;
        };
        level4::run(settings, &home, shutdown).await
    });
    while !socket.exists() {
        std::thread::yield_now();
    }
    println!("{}", sql(&socket, "SELECT 'hello', 6 * 7;")?);
    drop(end);
    runtime.block_on(node)??;
    Ok(())
}
