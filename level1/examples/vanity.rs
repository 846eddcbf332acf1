//! Searches for a commit whose id begins with the digits given, on all cores, and prints it.
//!
//! `git cat-file commit HEAD | cargo run --release -p level1 --example vanity c0ffee`

use level1::{Backend, Commit, CommitTemplate, Control, Job, Outcome, Target, Worker, search};
use std::error::Error;
use std::io::{self, Read, Write};
use std::ops::ControlFlow;
use std::thread::available_parallelism;

fn main() -> Result<(), Box<dyn Error>> {
    let prefix = std::env::args().nth(1).ok_or("which prefix?")?;
    let mut text = Vec::new();
    io::stdin().read_to_end(&mut text)?;
    // The seed separates miners of one commit; here there is one.
    let template = CommitTemplate::new(&Commit::parse(&text)?.place(None)?, 0);
    let job = Job::new(template, Target::prefix(&prefix)?);
    let workers = Worker::cpu(Backend::most_capable(), available_parallelism()?).into();
    let control = Control::default();
    // Called several times a second; `Break` would end the search.
    let mut watch = || {
        eprintln!("{} tried", control.tried());
        ControlFlow::Continue(())
    };
    match search(&job, &workers, &control, &mut watch)? {
        Outcome::Found(found) => {
            io::stdout().write_all(&found.commit)?;
            eprintln!("{}", found.id);
            Ok(())
        }
        Outcome::Halted | Outcome::Exhausted => Err("nothing found".into()),
    }
}
