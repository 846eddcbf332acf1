//! A look at a node from its own machine: does a port take connections, does a command succeed?

use std::{
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
    words: Option<Vec<String>>,
    folder: PathBuf,
}

impl Looks {
    /// Looks at the node at a place, one of so many.
    pub fn new(
        port: Option<u16>,
        command: Option<&Vec<String>>,
        place: &Place,
        nodes: usize,
    ) -> Self {
        let address = MachineAddress::of_node(place.node).v4;
        let filled = |words: &Vec<String>| {
            let words = words.iter();
            words.filter_map(|word| fill(word, place, nodes)).collect()
        };
        Self {
            port: port.map(|port| (address, port).into()),
            words: command.map(filled),
            folder: place.folder.clone(),
        }
    }

    /// Whether all of it is as it should be. Takes up the machine for no longer than a process takes to start.
    pub fn all_is_well(&self, machine: &Arc<Machine>) -> bool {
        self.port.is_none_or(|port| takes(port, machine)) && self.command_succeeds(machine)
    }

    fn command_succeeds(&self, machine: &Machine) -> bool {
        let Some((program, arguments)) = self.words.as_ref().and_then(|words| words.split_first())
        else {
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
