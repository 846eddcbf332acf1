//! Indexes a folder and searches it, without any server:
//!
//! `cargo run -p level3 --example grep -- FOLDER EXPRESSION`

use std::path::Path;
use std::time::Instant;

use level3::{Identity, Progress, Query, Request, Shard, search, walk};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [folder, expression] = arguments.as_slice() else {
        return Err("expected a folder and an expression".into());
    };
    let data = tempfile::tempdir()?;
    let shard = Shard::open(data.path())?;
    let identity = Identity {
        root: folder.clone(),
        job: 1,
        shard: 1,
        of: 1,
        ..Identity::default()
    };
    let started = Instant::now();
    let files = walk(Path::new(folder))?.entries;
    let count = files.len();
    shard.update(identity, files, 2, &Progress::default())?;
    eprintln!("indexed {count} files in {:.1?}", started.elapsed());

    let snapshot = shard.snapshot().ok_or("nothing was indexed")?;
    let request = Request::new(Query::expression(expression));
    let started = Instant::now();
    let answer = search(&snapshot, &request, 2)?;
    for hit in &answer.hits {
        println!("{}:{}:{}", hit.file, hit.line, hit.text);
    }
    eprintln!("{} lines in {:.1?}", answer.hits.len(), started.elapsed());
    Ok(())
}
