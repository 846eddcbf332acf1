//! Running servers for the command line: a node, the master, or all of them as children.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::{Context as _, bail};
use signal_hook::consts::{SIGINT, SIGTERM, SIGXFSZ};
use signal_hook::iterator::Signals;

use crate::cli::Settings;
use level3::{Endpoint, Listener, Node, PrivateFolder, Server};

/// Asks the kernel for SIGTERM when the parent ends, so that killing the cluster leaves nothing.
pub fn end_with_parent() -> anyhow::Result<()> {
    use rustix::process::{Signal, getppid, set_parent_process_death_signal};
    let parent = getppid();
    set_parent_process_death_signal(Some(Signal::TERM)).context("cannot follow the parent")?;
    if getppid() != parent {
        bail!("the parent has gone");
    }
    Ok(())
}

/// Prepares this process for work: as many open files as it may have, and a file that would become
/// too large (`ulimit -f`) is an error of writing it, as on a full disk, rather than the end.
fn prepare_process() -> anyhow::Result<()> {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut files = getrlimit(Resource::Nofile);
    files.current = files.maximum;
    // An error means that it stays as it is.
    let _ = setrlimit(Resource::Nofile, files);
    let flag = Arc::new(AtomicBool::new(false));
    signal_hook::flag::register(SIGXFSZ, flag).context("cannot handle signals")?;
    Ok(())
}

/// Runs a node until SIGINT or SIGTERM.
pub fn run_node(id: u32, settings: &Settings) -> anyhow::Result<()> {
    prepare_process()?;
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
    let server = level3::serve_node(Arc::new(node), listener).context("cannot start serving")?;
    level3::note!("node {id} listens at {}", server.endpoint());
    signals.forever().next();
    level3::note!("node {id} stops");
    server.stop();
    Ok(())
}

/// Runs the master until SIGINT or SIGTERM.
pub fn run_master(settings: &Settings) -> anyhow::Result<()> {
    prepare_process()?;
    let endpoint = settings.listen.clone().unwrap_or_else(|| settings.local(0));
    let mut config = settings.master_config();
    // Who listens under a name wants to be asked by it.
    let everywhere = ["0.0.0.0", "[::]"];
    if let Endpoint::Tcp(address) = &endpoint
        && let Some((host, _)) = address.rsplit_once(':')
        && !everywhere.contains(&host)
    {
        config.allow_hosts.push(host.to_owned());
    }
    check_replicas(settings)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    runtime.block_on(async {
        // Before anyone can know that there is something to stop.
        let shutdown = shutdown()?;
        let listener =
            Listener::bind(&endpoint).with_context(|| format!("cannot listen at {endpoint}"))?;
        match listener.endpoint()? {
            Endpoint::Tcp(address) => level3::note!("master listens at http://{address}"),
            endpoint @ Endpoint::Unix(_) => level3::note!("master listens at {endpoint}"),
        }
        level3::serve_master(listener, config, shutdown).await?;
        level3::note!("master stops");
        Ok(())
    })
}

/// A shard cannot be on more nodes than there are.
fn check_replicas(settings: &Settings) -> anyhow::Result<()> {
    let (replicas, nodes) = (settings.replicas, settings.endpoints().len());
    if usize::from(replicas) > nodes {
        bail!("--replicas {replicas} needs that many nodes, not {nodes}");
    }
    Ok(())
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
pub fn run_all(settings: &Settings) -> anyhow::Result<()> {
    check_replicas(settings)?;
    let program = std::env::current_exe().context("cannot find this program")?;
    let shared = shared_arguments(settings)?;
    let endpoints = settings.endpoints();
    let mut servers: Vec<Server> = (1..)
        .zip(&endpoints)
        .map(|(id, endpoint)| node_server(id, endpoint, &shared))
        .collect();
    servers.push(master_server(settings, &endpoints, &shared));
    level3::run_servers(&program, &servers).context("cannot run the servers")
}

/// What all servers are told.
fn shared_arguments(settings: &Settings) -> anyhow::Result<Vec<String>> {
    let mut shared = vec![format!("--base-port={}", settings.base_port)];
    if let Some(data) = &settings.data {
        let data = data
            .to_str()
            .context("the path of the data folder is not valid UTF-8")?;
        shared.push(format!("--data={data}"));
    }
    Ok(shared)
}

/// The command line of a node.
fn node_server(id: u32, endpoint: &Endpoint, shared: &[String]) -> Server {
    let own = [
        "--id".to_owned(),
        id.to_string(),
        format!("--listen={endpoint}"),
        "--die-with-parent".to_owned(),
    ];
    Server {
        name: format!("node-{id}"),
        arguments: own.into_iter().chain(shared.iter().cloned()).collect(),
    }
}

/// The command line of the master.
fn master_server(settings: &Settings, endpoints: &[Endpoint], shared: &[String]) -> Server {
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
    if settings.gitignore {
        arguments.push("--gitignore".to_owned());
    }
    if settings.watch {
        arguments.push("--watch".to_owned());
    }
    if let Some(limit) = settings.watch_limit {
        arguments.push(format!("--watch-limit={limit}"));
    }
    for host in &settings.allow_host {
        arguments.push(format!("--allow-host={host}"));
    }
    if let Some(url) = &settings.editor_url {
        arguments.push(format!("--editor-url={url}"));
    }
    arguments.extend_from_slice(shared);
    Server {
        name: "master".to_owned(),
        arguments,
    }
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory as _, Parser as _};

    use super::*;
    use crate::cli::{Cli, Command};

    const FLAGS: [&str; 15] = [
        "--base-port=7000",
        "--listen=127.0.0.1:7100",
        "--data=/data",
        "--nodes=unix:/a,unix:/b",
        "--replicas=2",
        "--gitignore",
        "--watch",
        "--watch-limit=7",
        "--allow-host=one",
        "--allow-host=two",
        "--editor-url=edit://{path}",
        "--node-timeout=3",
        "--search-time-limit=4",
        "--help",
        "--version",
    ];

    #[test]
    fn the_master_is_told_every_flag_that_the_servers_were_started_with() {
        let flags = FLAGS
            .iter()
            .filter(|flag| !["--help", "--version"].contains(flag));
        let line = ["level3", "start-servers"].iter().chain(flags);
        let Some(Command::StartServers(settings)) = Cli::parse_from(line).command else {
            unreachable!()
        };
        // A flag that is new has to be above, or this test says nothing of it.
        let mut command = Cli::command();
        let started = command.find_subcommand_mut("start-servers").unwrap();
        started.build();
        for argument in started.get_arguments() {
            let flag = format!("--{}", argument.get_long().unwrap());
            assert!(FLAGS.iter().any(|given| given.starts_with(&flag)), "{flag}");
        }
        let shared = shared_arguments(&settings).unwrap();
        let master = master_server(&settings, &settings.endpoints(), &shared);
        let line = std::iter::once("level3".to_owned()).chain(master.arguments);
        let told = Cli::parse_from(line);
        assert!(told.role.master);
        let describe =
            |settings: &Settings| format!("{:?} {:?}", settings.master_config(), settings.listen);
        assert_eq!(describe(&told.settings), describe(&settings));
    }
}
