//! The `level3` program: parses flags and runs a master, a node, or all of them.

#![forbid(unsafe_code)]

mod cli;

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use clap::{CommandFactory as _, Parser as _};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use cli::{Cli, Command, Settings};
use level3::cluster::{self, Server};
use level3::master;
use level3::node::{self, Node};
use level3::private::PrivateFolder;
use level3::wire::{Endpoint, Listener};

fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            level3::note!("level3: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> anyhow::Result<()> {
    if let Some(Command::StartServers(settings)) = cli.command {
        return start_servers(&settings);
    }
    if cli.role.die_with_parent {
        end_with_parent()?;
    }
    match cli.role.id {
        Some(id) => run_node(id, &cli.settings),
        None if cli.role.master => run_master(&cli.settings),
        None => {
            Cli::command().print_help().context("cannot print help")?;
            bail!("nothing to run: give --master, --id N, or start-servers");
        }
    }
}

/// Asks the kernel for SIGTERM when the parent ends, so that killing the cluster leaves nothing.
fn end_with_parent() -> anyhow::Result<()> {
    use rustix::process::{Signal, getppid, set_parent_process_death_signal};
    let parent = getppid();
    set_parent_process_death_signal(Some(Signal::TERM)).context("cannot follow the parent")?;
    if getppid() != parent {
        bail!("the parent has gone");
    }
    Ok(())
}

fn run_node(id: u32, settings: &Settings) -> anyhow::Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM]).context("cannot handle signals")?;
    let port = u16::try_from(id).context("node number too large for a port")?;
    let endpoint = settings
        .listen
        .clone()
        .unwrap_or_else(|| settings.local(port));
    let private;
    let dir: PathBuf = if let Some(data) = &settings.data {
        data.join(format!("node-{id}"))
    } else {
        private = PrivateFolder::new(id).context("cannot make a private folder")?;
        private.path().join("node")
    };
    let listener =
        Listener::bind(&endpoint).with_context(|| format!("cannot listen at {endpoint}"))?;
    let node = Node::open(id, &dir).context("cannot open the data folder")?;
    let server = node::serve(Arc::new(node), listener).context("cannot start serving")?;
    level3::note!("node {id} listens at {}", server.endpoint());
    signals.forever().next();
    level3::note!("node {id} stops");
    server.stop();
    Ok(())
}

fn run_master(settings: &Settings) -> anyhow::Result<()> {
    let address = match settings.listen.clone().unwrap_or_else(|| settings.local(0)) {
        Endpoint::Tcp(address) => address,
        Endpoint::Unix(_) => bail!("the master speaks HTTP and listens at HOST:PORT only"),
    };
    let config = settings.master_config();
    if config.replicas > config.nodes.len() {
        bail!(
            "--replicas {} needs that many nodes, not {}",
            config.replicas,
            config.nodes.len()
        );
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind(&address)
            .await
            .with_context(|| format!("cannot listen at {address}"))?;
        level3::note!("master listens at http://{}", listener.local_addr()?);
        master::serve(listener, config, shutdown()?)
            .await
            .context("cannot serve")?;
        level3::note!("master stops");
        Ok(())
    })
}

/// Resolves at SIGINT or SIGTERM.
fn shutdown() -> io::Result<impl Future<Output = ()> + Send + 'static> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut interrupt, mut terminate) = (
        signal(SignalKind::interrupt())?,
        signal(SignalKind::terminate())?,
    );
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

/// Runs a master and its nodes as children of this process.
fn start_servers(settings: &Settings) -> anyhow::Result<()> {
    let program = std::env::current_exe().context("cannot find this program")?;
    let mut shared = vec![format!("--base-port={}", settings.base_port)];
    if let Some(data) = &settings.data {
        let data = data
            .to_str()
            .context("the path of the data folder is not valid UTF-8")?;
        shared.push(format!("--data={data}"));
    }
    let mut servers = Vec::new();
    let endpoints = settings.endpoints();
    for (id, endpoint) in (1..).zip(&endpoints) {
        let own = [
            format!("--listen={endpoint}"),
            "--die-with-parent".to_owned(),
        ];
        let arguments = ["--id".to_owned(), format!("{id}")].into_iter().chain(own);
        let arguments = arguments.chain(shared.clone()).collect();
        servers.push(Server {
            name: format!("node-{id}"),
            arguments,
        });
    }
    let nodes: Vec<String> = endpoints.iter().map(Endpoint::to_string).collect();
    let mut arguments = vec![
        "--master".to_owned(),
        "--die-with-parent".to_owned(),
        format!("--nodes={}", nodes.join(",")),
        format!("--replicas={}", settings.replicas),
        format!("--node-timeout={}", settings.node_timeout),
        format!("--search-time-limit={}", settings.search_time_limit),
    ];
    if let Some(listen) = &settings.listen {
        arguments.push(format!("--listen={listen}"));
    }
    if settings.watch {
        arguments.push("--watch".to_owned());
    }
    arguments.extend(shared);
    servers.push(Server {
        name: "master".to_owned(),
        arguments,
    });
    cluster::run(&program, &servers).context("cannot run the servers")
}
