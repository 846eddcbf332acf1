//! `level4 shell`: the lines of a terminal, which can be edited and come back later, or of a pipe.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context as _;
use level4::Trust;
use level4::shell::{Next, Shell};
use rustyline::Editor;
use rustyline::completion::Completer;
use rustyline::config::Configurer as _;
use rustyline::error::ReadlineError;
use rustyline::history::DefaultHistory;
use tokio::runtime::Runtime;

/// Lines that come back in a later session.
const REMEMBERED: usize = 1000;

/// Talk to a node: SQL, and commands that begin with a point (.help lists them).
///
/// SQL ends with a semicolon. Lines may come from a pipe as well; the exit status is 1 if something was not
/// done.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  level4 shell
  level4 shell https://db1:4001 --user bob:secret --ca ca.pem
  echo 'SELECT 1;' | level4 shell ./node0.sock")]
pub struct ShellFlags {
    /// The node: a URL, HOST:PORT, or a unix socket's path
    #[arg(default_value = "http://127.0.0.1:4000")]
    url: String,
    /// NAME:PASSWORD, where the node asks for them [default: the variable LEVEL4_USER]
    #[arg(short, long, value_name = "USER")]
    user: Option<String>,
    /// The authority that has signed the node's certificate (PEM) [default: those of the system]
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Own certificate (PEM), where the node asks for one
    #[arg(long, value_name = "FILE", requires = "key")]
    cert: Option<PathBuf>,
    /// The private key of --cert (PEM)
    #[arg(long, value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,
}

/// Runs a session; gives whether all was done.
pub fn run(flags: ShellFlags) -> anyhow::Result<bool> {
    let user = flags.user.or_else(|| std::env::var("LEVEL4_USER").ok());
    let trust = Trust {
        ca: flags.ca,
        identity: flags.cert.zip(flags.key),
    };
    let shell = Shell::new(&flags.url, user.as_deref(), trust)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let done = if io::stdin().is_terminal() {
        converse(shell, &runtime)
    } else {
        take(shell, &runtime)
    };
    match done {
        // Nobody reads any more.
        Err(error) if is_closed(&error) => Ok(true),
        done => done,
    }
}

fn is_closed(error: &anyhow::Error) -> bool {
    let error = error.downcast_ref::<io::Error>();
    error.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

/// The lines of a pipe or a file.
fn take(mut shell: Shell, runtime: &Runtime) -> anyhow::Result<bool> {
    let mut out = io::stdout().lock();
    for line in io::stdin().lock().lines() {
        if runtime.block_on(shell.line(&line?, &mut out))? == Next::End {
            return Ok(!shell.has_failed());
        }
    }
    runtime.block_on(shell.end(&mut out))?;
    Ok(!shell.has_failed())
}

/// Completes words from what the shell knows.
#[derive(rustyline::Helper, rustyline::Hinter, rustyline::Highlighter, rustyline::Validator)]
struct Words(Arc<Mutex<Shell>>);

impl Completer for Words {
    type Candidate = String;

    fn complete(
        &self,
        line: &str,
        at: usize,
        _: &rustyline::Context<'_>,
    ) -> rustyline::Result<(usize, Vec<String>)> {
        // It is locked only while a line is executed, and nothing is typed then.
        let shell = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(shell.complete(&line[..at]))
    }
}

fn converse(shell: Shell, runtime: &Runtime) -> anyhow::Result<bool> {
    let history = std::env::home_dir().map(|home| home.join(".level4_history"));
    let mut editor = Editor::<Words, DefaultHistory>::new().context("cannot use the terminal")?;
    editor.set_max_history_size(REMEMBERED)?;
    if let Some(path) = &history {
        // There is none at first.
        let _ = editor.load_history(path);
    }
    println!(
        "level4 at {}; .help lists commands, SQL ends with a semicolon",
        shell.place()
    );
    let shell = Arc::new(Mutex::new(shell));
    editor.set_helper(Some(Words(shell.clone())));
    let mut prompt = "level4> ";
    loop {
        let line = match editor.readline(prompt) {
            Ok(line) => line,
            Err(ReadlineError::Interrupted) => {
                shell
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .abandon();
                prompt = "level4> ";
                continue;
            }
            Err(ReadlineError::Eof) => break,
            Err(error) => return Err(error.into()),
        };
        if !line.trim().is_empty() {
            editor.add_history_entry(line.as_str())?;
        }
        let mut shell = shell.lock().unwrap_or_else(PoisonError::into_inner);
        let mut out = io::stdout().lock();
        let next = runtime.block_on(shell.line(&line, &mut out))?;
        out.flush()?;
        if next == Next::Line {
            runtime.block_on(shell.learn_names());
        }
        prompt = match next {
            Next::Line => "level4> ",
            Next::More => "   ...> ",
            Next::End => break,
        };
    }
    if let Some(path) = &history
        && let Err(error) = editor.save_history(path)
    {
        eprintln!("level4: cannot save {}: {error}", path.display());
    }
    Ok(true)
}
