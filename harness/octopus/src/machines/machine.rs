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

use super::{MachineSettings, address::MachineAddress, clock, tun, veth};
use crate::{
    error::{Doing, Error},
    netlink,
    network::{Device, Framing},
};

type Job = Box<dyn FnOnce() + Send>;

/// What machines are joined to the network by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DeviceKind {
    Tun,
    /// Where there are no TUN devices.
    Veth,
}

impl DeviceKind {
    /// The one that can be had here.
    pub fn find(settings: &MachineSettings) -> Result<Self, Error> {
        match tun::check() {
            Ok(()) => Ok(Self::Tun),
            Err(error) if settings.offload => Err(Error::NoMachines(format!(
                "packets of 64 KiB (offload) need a TUN device (/dev/net/tun: {error})"
            ))),
            Err(_) => Ok(Self::Veth),
        }
    }

    fn framing(self, settings: &MachineSettings) -> Framing {
        match self {
            Self::Tun if settings.offload => Framing::Offload,
            Self::Tun => Framing::Plain,
            Self::Veth => Framing::Ethernet,
        }
    }
}

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
    /// its packets, of this kind.
    ///
    /// # Errors
    /// No right to make namespaces or devices.
    pub(super) fn new(
        address: MachineAddress,
        hosts: &Path,
        settings: &MachineSettings,
        kind: DeviceKind,
    ) -> Result<(Self, Device), Error> {
        let (jobs, inbox) = mpsc::channel::<Job>();
        let (told, tells) = mpsc::channel();
        let name = address.name.clone();
        let here = (address.clone(), hosts.to_owned(), *settings);
        let thread = thread::Builder::new()
            .name(format!("machine {name}"))
            .spawn(move || {
                let (address, hosts, settings) = here;
                let made = enter_new(&address, &hosts, &settings, kind);
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
            framing: kind.framing(settings),
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
    kind: DeviceKind,
) -> Result<(OwnedFd, OwnedFd), Error> {
    unshare(UnshareFlags::NEWNET | UnshareFlags::NEWNS | UnshareFlags::NEWUTS).map_err(
        |error| {
            Error::NoMachines(format!(
                "a network namespace is not permitted ({error}): run it as root"
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
    let device = match kind {
        DeviceKind::Tun => tun::open(address, settings.mtu, settings.offload).map_err(|error| {
            format!("no TUN device for {name} (/dev/net/tun: {error})")
        }),
        DeviceKind::Veth => veth::open(address, settings.mtu).map_err(|error| {
            format!("/dev/net/tun cannot be opened, and virtual Ethernet for {name} cannot be had ({error})")
        }),
    };
    let device = device.map_err(Error::NoMachines)?;
    let network = fs::File::open("/proc/thread-self/ns/net")
        .doing(|| format!("cannot find the network namespace of {name}"))?;
    Ok((device, network.into()))
}

#[expect(unsafe_code, reason = "unshare(2) is unsafe for tables of files")]
pub(crate) fn unshare(flags: UnshareFlags) -> io::Result<()> {
    // SAFETY: `CLONE_FILES` is not among the flags, so no thread loses sight of a file.
    unsafe { rustix::thread::unshare_unsafe(flags) }.map_err(io::Error::from)
}
