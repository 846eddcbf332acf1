//! A look at a node from its own machine: does a port take connections, does a command succeed?

use std::{
    collections::BTreeMap,
    net::{SocketAddr, TcpStream},
    path::PathBuf,
    process::{Command, Stdio},
    sync::Arc,
    thread,
    time::Duration,
};

use octopus::{Machine, MachineAddress, Place, ProcessGroup};

use super::template::fill;

/// How long one look may take.
const ONE_LOOK: Duration = Duration::from_secs(5);

/// What is looked at.
#[derive(Clone, Debug)]
pub(super) struct Looks {
    port: Option<SocketAddr>,
    command: Option<(PathBuf, Vec<String>)>,
    folder: PathBuf,
}

impl Looks {
    /// Looks at the node at a place, one of so many, by a command whose program may be found elsewhere.
    pub fn new(
        port: Option<u16>,
        command: Option<&Vec<String>>,
        programs: &BTreeMap<String, PathBuf>,
        place: &Place,
        nodes: usize,
    ) -> Self {
        let address = MachineAddress::of_node(place.node).v4;
        let filled = |words: &Vec<String>| {
            let (program, arguments) = words.split_first()?;
            let arguments = arguments.iter();
            let arguments = arguments.filter_map(|word| fill(word, place, nodes));
            Some((programs.get(program)?.clone(), arguments.collect()))
        };
        Self {
            port: port.map(|port| (address, port).into()),
            command: command.and_then(filled),
            folder: place.folder.clone(),
        }
    }

    /// What is not as it should be; none if all is. Takes up the machine for no longer than a process takes to start.
    pub fn what_is_wrong(&self, machine: &Arc<Machine>) -> Option<String> {
        if let Some(port) = self.port.filter(|&port| !takes(port, machine)) {
            return Some(format!("nobody takes connections at {port}"));
        }
        let (program, _) = self.command.as_ref()?;
        let fails = !self.command_succeeds(machine);
        fails.then(|| format!("{} does not succeed", program.display()))
    }

    fn command_succeeds(&self, machine: &Machine) -> bool {
        let Some((program, arguments)) = &self.command else {
            return true;
        };
        let mut command = Command::new(program);
        command
            .args(arguments)
            .current_dir(&self.folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let Ok(Ok(mut group)) = machine.run(move || ProcessGroup::spawn(&mut command)) else {
            return false;
        };
        let status = group.wait_for(ONE_LOOK).ok().flatten();
        status.is_some_and(|status| status.success())
    }
}

/// Whether somebody takes connections there. The machine's own thread stays free for its nodes.
fn takes(port: SocketAddr, machine: &Arc<Machine>) -> bool {
    let machine = Arc::clone(machine);
    let connects = move || {
        machine.enter_network().is_ok() && TcpStream::connect_timeout(&port, ONE_LOOK).is_ok()
    };
    let thread = thread::Builder::new()
        .name("look".to_owned())
        .spawn(connects);
    thread.is_ok_and(|thread| thread.join().unwrap_or(false))
}
