//! One machine: namespaces for network, mounts and the host's name, which a thread of ours enters and
//! keeps. What that thread starts is on the machine; when thread, processes and the TUN device are gone, so
//! are the namespaces, however we end.

use std::{
    fs, io,
    os::fd::OwnedFd,
    path::Path,
    sync::mpsc,
    thread::{self, JoinHandle},
};

use rustix::{
    mount::{MountPropagationFlags, mount_bind, mount_change},
    thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space},
};

use super::{MachineSettings, address::MachineAddress, clock, tun};
use crate::{
    error::{Doing, Error},
    netlink,
    network::Device,
};

type Job = Box<dyn FnOnce() + Send>;

/// A machine. Dropping it ends its thread; what runs on it keeps its namespaces.
#[derive(Debug)]
pub struct Machine {
    address: MachineAddress,
    jobs: Option<mpsc::Sender<Job>>,
    thread: Option<JoinHandle<()>>,
    network: OwnedFd,
}

impl Machine {
    /// Makes a machine whose `/etc/hosts` is the file `hosts`, and the device at which the network carries
    /// its packets.
    ///
    /// # Errors
    /// No right to make namespaces, or no TUN devices.
    pub(super) fn new(
        address: MachineAddress,
        hosts: &Path,
        settings: &MachineSettings,
    ) -> Result<(Self, Device), Error> {
        let (jobs, inbox) = mpsc::channel::<Job>();
        let (told, tells) = mpsc::channel();
        let name = address.name.clone();
        let here = (address.clone(), hosts.to_owned(), *settings);
        let thread = thread::Builder::new()
            .name(format!("machine {name}"))
            .spawn(move || {
                let (address, hosts, settings) = here;
                let made = enter_new(&address, &hosts, &settings);
                let failed = made.is_err();
                // The one who asked waits for this.
                let _told = told.send(made);
                if !failed {
                    for job in inbox {
                        job();
                    }
                }
            })
            .doing(|| format!("cannot start the thread of {name}"))?;
        let gone = || io::Error::other("its thread ended");
        let made = tells
            .recv()
            .map_err(|_| gone())
            .doing(|| format!("cannot make {name}"))?;
        let (device, network) = made?;
        let device = Device {
            packets: device,
            addresses: address.all().to_vec(),
            header_bytes: if settings.offload {
                tun::HEADER_BYTES
            } else {
                0
            },
        };
        let machine = Self {
            address,
            jobs: Some(jobs),
            thread: Some(thread),
            network,
        };
        Ok((machine, device))
    }

    /// Its name and addresses.
    pub fn address(&self) -> &MachineAddress {
        &self.address
    }

    /// Does something on the machine, and waits for it: what a job starts stays there. One job at a time.
    ///
    /// # Errors
    /// A job before has ended the machine's thread.
    pub fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> io::Result<T> {
        let (told, tells) = mpsc::channel();
        let job: Job = Box::new(move || {
            // The one who asked waits for this.
            let _told = told.send(job());
        });
        let gone = || io::Error::other("the machine's thread has ended");
        let jobs = self.jobs.as_ref().ok_or_else(gone)?;
        jobs.send(job).map_err(|_| gone())?;
        tells.recv().map_err(|_| gone())
    }

    /// Sets the monotonic clock of what is started here from now on.
    ///
    /// # Errors
    /// No right to it, or a kernel without time namespaces.
    pub fn set_clock(&self, at_s: u64) -> io::Result<()> {
        self.run(move || clock::set(at_s))?
    }

    /// Moves the calling thread into the machine's network: sockets that it opens from now on are there.
    ///
    /// # Errors
    /// The right to enter is gone.
    pub fn enter_network(&self) -> io::Result<()> {
        let kind = Some(LinkNameSpaceType::Network);
        Ok(move_into_link_name_space(
            std::os::fd::AsFd::as_fd(&self.network),
            kind,
        )?)
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        drop(self.jobs.take());
        if let Some(thread) = self.thread.take() {
            let _panicked = thread.join();
        }
    }
}

/// Takes the calling thread into new namespaces and sets them up; the device and the network's handle.
fn enter_new(
    address: &MachineAddress,
    hosts: &Path,
    settings: &MachineSettings,
) -> Result<(OwnedFd, OwnedFd), Error> {
    unshare(UnshareFlags::NEWNET | UnshareFlags::NEWNS | UnshareFlags::NEWUTS).map_err(
        |error| {
            Error::NoMachines(format!(
                "a network namespace is not permitted ({error}): run it as root, or behind `unshare -Ur`"
            ))
        },
    )?;
    let name = &address.name;
    // What is mounted outside later is seen, what is mounted here is not seen outside.
    mount_change(
        "/",
        MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC,
    )
    .and_then(|()| mount_bind(hosts, "/etc/hosts"))
    .map_err(io::Error::from)
    .doing(|| format!("cannot give {name} its /etc/hosts"))?;
    let _name_stays = rustix::system::sethostname(name.as_bytes());
    netlink::raise(netlink::LOOPBACK)
        .doing(|| format!("cannot raise the loopback device of {name}"))?;
    let device = tun::open(address, settings.mtu, settings.offload).map_err(|error| {
        Error::NoMachines(format!("no TUN device for {name} (/dev/net/tun: {error})"))
    })?;
    let network = fs::File::open("/proc/thread-self/ns/net")
        .doing(|| format!("cannot find the network namespace of {name}"))?;
    Ok((device, network.into()))
}

#[expect(unsafe_code, reason = "unshare(2) is unsafe for tables of files")]
pub(super) fn unshare(flags: UnshareFlags) -> io::Result<()> {
    // SAFETY: `CLONE_FILES` is not among the flags, so no thread loses sight of a file.
    unsafe { rustix::thread::unshare_unsafe(flags) }.map_err(io::Error::from)
}
