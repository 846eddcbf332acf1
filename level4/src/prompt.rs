//! `level4 shell`: the lines of a terminal, which can be edited and come back later, or of a pipe.

use std::io::{self, BufRead as _, IsTerminal as _, StdoutLock, Write};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
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
use tokio::signal::ctrl_c;
use tokio::sync::Notify;

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
        ..Trust::default()
    };
    let shell = Shell::new(&flags.url, user.as_deref(), trust)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
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

/// Ctrl-C while a line is executed.
#[derive(Default)]
struct Interrupt {
    came: AtomicBool,
    told: Notify,
}

impl Interrupt {
    /// Notes it, as long as it is polled.
    async fn watch(self: Arc<Self>) {
        while ctrl_c().await.is_ok() {
            self.came.store(true, Relaxed);
            self.told.notify_one();
        }
    }
}

/// The terminal, as long as nobody has had enough.
struct Output<'a> {
    out: StdoutLock<'a>,
    interrupt: &'a Interrupt,
}

impl Write for Output<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.interrupt.came.load(Relaxed) {
            return Err(io::Error::other("interrupted"));
        }
        self.out.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Executes a line; `None`: it was interrupted.
fn execute(
    shell: &mut Shell,
    line: &str,
    runtime: &Runtime,
    interrupt: &Interrupt,
) -> io::Result<Option<Next>> {
    interrupt.came.store(false, Relaxed);
    let mut out = Output {
        out: io::stdout().lock(),
        interrupt,
    };
    let done = runtime.block_on(async {
        tokio::select! {
            next = shell.line(line, &mut out) => next.map(Some),
            () = interrupt.told.notified() => Ok(None),
        }
    });
    match done {
        Err(_) if interrupt.came.load(Relaxed) => Ok(None),
        Err(error) => Err(error),
        Ok(next) => {
            out.out.flush()?;
            Ok(next)
        }
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
    let interrupt = Arc::new(Interrupt::default());
    runtime.spawn(interrupt.clone().watch());
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
            remember(&mut editor, history.as_deref());
        }
        let mut shell = shell.lock().unwrap_or_else(PoisonError::into_inner);
        let next = execute(&mut shell, &line, runtime, &interrupt)?;
        if next.is_none() {
            shell.abandon();
            println!("Interrupted: what was asked may have been done, or still be.");
        }
        if next == Some(Next::Line) {
            runtime.block_on(shell.learn_names());
        }
        prompt = match next {
            Some(Next::Line) | None => "level4> ",
            Some(Next::More) => "   ...> ",
            Some(Next::End) => break,
        };
    }
    Ok(true)
}

/// Saves the last line at once: sessions do not always end in order. It is said once if that does not work.
fn remember(editor: &mut Editor<Words, DefaultHistory>, history: Option<&std::path::Path>) {
    static TOLD: AtomicBool = AtomicBool::new(false);
    if let Some(path) = history
        && let Err(error) = editor.append_history(path)
        && !TOLD.swap(true, Relaxed)
    {
        eprintln!("level4: cannot save {}: {error}", path.display());
    }
}
