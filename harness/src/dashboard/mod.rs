//! `harness dashboard`: the levels, your solutions, their runs and the history, in a browser.
//!
//! `access` lets in the browser that was given the URL, and nobody else; `projects` are the folders
//! whose programs may be run, named on the command line; `runner` runs one stage at a time, as a
//! process of its own (`harness --live test`), and `watching` is what is known of it while it goes
//! on; `routes` answers requests with what `pages` draw. It writes nothing: what a run gives is kept
//! by the run.

mod access;
mod pages;
mod projects;
mod routes;
mod runner;
mod watching;

use std::{
    net::{SocketAddr, TcpListener},
    path::PathBuf,
    sync::Arc,
    thread,
    time::Duration,
};

use anyhow::{Context, Result, anyhow};
use octopus::interrupt;
use tokio::sync::oneshot;

use self::{access::Access, projects::Projects, routes::App, runner::Runner};
use crate::{console, grade::Scoreboard, logbook, web::connections};

/// How long requests in progress may take to end.
const GRACE: Duration = Duration::from_secs(2);

/// Shows levels, solutions, runs and the history of results in a browser.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The URL that is printed lets one browser in. Programs are run only from the folders named here.
Ctrl-C ends the dashboard, and a run that goes on in it.

Examples:
  harness dashboard                        the project in this folder, or those in its folders
  harness dashboard mine yours/level2      these
  harness dashboard --class grades         with the results of a class that was graded")]
pub struct Args {
    /// Folders with a `ctf3.toml`, or folders of such folders
    #[arg(value_name = "DIR", default_value = ".")]
    dirs: Vec<PathBuf>,

    /// Listen at this address; another than a loopback one lets others on your network knock
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:0")]
    listen: SocketAddr,

    /// Show the results that `harness grade` left in this folder
    #[arg(long, value_name = "DIR")]
    class: Option<PathBuf>,
}

/// Serves until interrupted; what is run is kept in the history, or not.
///
/// # Errors
/// A folder cannot be read, or the address cannot be listened at.
pub fn run(args: &Args, is_kept: bool) -> Result<()> {
    let projects = Projects::find(&args.dirs)?;
    if let Some(folder) = &args.class {
        Scoreboard::load(folder).with_context(|| format!("--class {}", folder.display()))?;
    }
    let listener = TcpListener::bind(args.listen)
        .with_context(|| format!("cannot listen on {}", args.listen))?;
    let address = listener.local_addr()?;
    let access = Access::new(address);
    let url = access.url();
    if projects.all().is_empty() {
        console::log("harness: no ctf3.toml here: `harness new` makes a folder with one");
    }
    for error in projects.errors() {
        console::log(&format!("harness: {error}"));
    }
    let app = Arc::new(App {
        access,
        projects,
        runner: Runner::new(is_kept),
        history: logbook::path(),
        class: args.class.clone(),
        streams: Arc::new(tokio::sync::Semaphore::new(connections::stream_places())),
    });
    console::print(&format!("dashboard: {url}"));
    console::print("The URL lets one browser in. Ctrl-C ends the dashboard.");
    serve(listener, Arc::clone(&app))?;
    app.runner.end();
    Ok(())
}

/// Serves until interrupted, on threads of its own.
fn serve(listener: TcpListener, app: Arc<App>) -> Result<()> {
    listener.set_nonblocking(true)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("cannot start the server")?;
    let (stop, stopped) = oneshot::channel::<()>();
    let server = thread::Builder::new()
        .name("dashboard".into())
        .spawn(move || -> Result<()> {
            let served = runtime.block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener)?;
                let runner = Arc::clone(&app);
                let shutdown = async move {
                    let _told_or_gone = stopped.await;
                    // Streams would not end by themselves.
                    runner.runner.close();
                };
                connections::serve(listener, routes::router(app), shutdown, GRACE).await;
                Ok(())
            });
            runtime.shutdown_timeout(GRACE);
            served
        })?;
    interrupt::wait();
    drop(stop);
    server
        .join()
        .map_err(|_panic| anyhow!("the server panicked"))?
}
