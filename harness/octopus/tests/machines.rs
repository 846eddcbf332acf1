//! Whole machines: real packets over the same links. Where there are no rights to make machines, the tests are
//! skipped, with a message.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::{
    collections::BTreeSet,
    io::{ErrorKind, Read, Write},
    net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    sync::Arc,
    time::{Duration, Instant},
};

use octopus::{
    Change, Config, Down, Error, Machine, MachineAddress, MachineSettings, MonkeySettings,
    NodePlan, Octopus, PacketRules, Pair, ProcessSpec, Transport, WorkDir,
};

/// Far more than anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// Tells the tests that they are the ones without TUN devices.
const WITHOUT_TUN: &str = "OCTOPUS_TEST_WITHOUT_TUN";

/// Two nodes that do nothing, on links that keep the state of their start; none where that is not permitted.
fn two_machines(settings: MachineSettings) -> Option<(Octopus, WorkDir)> {
    two_machines_and_clients(settings, false)
}

/// The same, with links of clients that are as flaky as all others.
fn two_machines_and_clients(
    settings: MachineSettings,
    flaky_clients: bool,
) -> Option<(Octopus, WorkDir)> {
    let config = Config {
        nodes: 2,
        seed: 7,
        duration: Duration::from_secs(1),
        monkeys: MonkeySettings {
            enabled: BTreeSet::new(),
            flaky_clients,
            ..MonkeySettings::default()
        },
        transport: Transport::Machines(settings),
        disk_bytes: None,
        echo: None,
        scripts: Vec::new(),
        limits: octopus::NodeLimits::default(),
    };
    let root = WorkDir::temporary().unwrap();
    let plan = |place: &octopus::Place| NodePlan::in_folder(place.folder.clone());
    match Octopus::new(&config, root.path(), plan) {
        Ok(octopus) => {
            octopus
                .network()
                .change(Pair::new(0, 1), Change::Latency(30));
            octopus.network().change(Pair::new(0, 1), Change::Jitter(0));
            Some((octopus, root))
        }
        Err(Error::NoMachines(why)) => {
            eprintln!("SKIPPED: {why}");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

fn on<T: Send + 'static>(
    machine: Option<&Arc<Machine>>,
    job: impl FnOnce() -> T + Send + 'static,
) -> T {
    machine.unwrap().run(job).unwrap()
}

fn at(node: usize, port: u16) -> [SocketAddr; 2] {
    MachineAddress::of_node(node)
        .all()
        .map(|address| (address, port).into())
}

/// A listener on a node, and a way to it.
fn listener(octopus: &Octopus, node: usize, address: SocketAddr) -> TcpListener {
    on(octopus.machine(node), move || {
        TcpListener::bind(address).unwrap()
    })
}

fn connect(octopus: &Octopus, node: usize, to: SocketAddr) -> std::io::Result<TcpStream> {
    on(octopus.machine(node), move || {
        TcpStream::connect_timeout(&to, PATIENCE)
    })
}

#[test]
fn tcp_takes_at_least_the_delay_of_the_link_and_clients_take_none() {
    let Some((octopus, _root)) = two_machines(MachineSettings::default()) else {
        return;
    };
    for address in at(1, 4000) {
        let listening = listener(&octopus, 1, address);
        let start = Instant::now();
        let mut near = connect(&octopus, 0, address).unwrap();
        assert!(
            start.elapsed() >= Duration::from_millis(60),
            "a handshake is there and back"
        );
        let (mut far, from) = listening.accept().unwrap();
        assert!(
            MachineAddress::of_node(0).all().contains(&from.ip()),
            "{from}"
        );
        near.write_all(b"hello").unwrap();
        let mut heard = [0; 5];
        far.read_exact(&mut heard).unwrap();
        assert!(start.elapsed() >= Duration::from_millis(90));
        let client = octopus.client_machine();
        drop(on(client, move || {
            TcpStream::connect_timeout(&address, PATIENCE).unwrap()
        }));
    }
    let there = octopus.network().traffic().between(0, 1);
    assert_eq!(there.connections, 2, "one of IPv4, one of IPv6: {there:?}");
    assert!(there.bytes_read >= there.bytes_written && there.chunks >= 6);
}

#[test]
fn links_of_clients_can_be_flaky_and_clocks_others() {
    let settings = MachineSettings {
        rules: PacketRules {
            down: Down::Reject,
            ..PacketRules::default()
        },
        ..MachineSettings::default()
    };
    let Some((octopus, _root)) = two_machines_and_clients(settings, true) else {
        return;
    };
    // The clients' machine is the place behind the nodes.
    let link = Pair::new(1, 2);
    let [address, _] = at(1, 4000);
    let _listening = listener(&octopus, 1, address);
    let from_client = move || TcpStream::connect_timeout(&address, PATIENCE).map(drop);
    let client = octopus.client_machine();
    octopus.network().change(link, Change::Latency(40));
    let start = Instant::now();
    on(client, from_client).unwrap();
    assert!(start.elapsed() >= Duration::from_millis(80));
    octopus.network().change(link, Change::Down);
    let refused = on(client, from_client).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    assert_eq!(octopus.network().traffic().between(2, 1).connections, 1);

    let machine = octopus.machine(0).unwrap();
    for at_s in [40_000_000, 1000] {
        machine.set_clock(at_s).unwrap();
        let up = machine.run(|| {
            let mut look = std::process::Command::new("cut");
            look.args(["-d.", "-f1", "/proc/uptime"]).output().unwrap()
        });
        let up = String::from_utf8(up.unwrap().stdout).unwrap();
        let up: u64 = up.trim().parse().unwrap();
        assert!(
            (at_s - 1..at_s + 900).contains(&up),
            "{up} instead of {at_s}"
        );
    }
}

#[test]
fn what_is_down_drops_and_comes_back_without_a_new_connection() {
    let Some((octopus, _root)) = two_machines(MachineSettings::default()) else {
        return;
    };
    let link = Pair::new(0, 1);
    let [address, _] = at(1, 4000);
    let listening = listener(&octopus, 1, address);
    let mut near = connect(&octopus, 0, address).unwrap();
    let (mut far, _) = listening.accept().unwrap();
    octopus.network().change(link, Change::Down);
    near.write_all(b"lost at first").unwrap();
    far.set_read_timeout(Some(Duration::from_millis(300)))
        .unwrap();
    let mut heard = [0; 13];
    let silence = far.read(&mut heard).unwrap_err();
    assert!(
        matches!(silence.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
        "{silence}"
    );
    octopus.network().change(link, Change::Up);
    far.set_read_timeout(Some(PATIENCE)).unwrap();
    far.read_exact(&mut heard).unwrap();
    assert_eq!(&heard, b"lost at first", "TCP sends it again");
}

#[test]
fn what_rejects_says_so() {
    let settings = MachineSettings {
        rules: PacketRules {
            down: Down::Reject,
            ..PacketRules::default()
        },
        ..MachineSettings::default()
    };
    let Some((octopus, _root)) = two_machines(settings) else {
        return;
    };
    octopus.network().change(Pair::new(0, 1), Change::Down);
    for address in at(1, 4000) {
        let _listening = listener(&octopus, 1, address);
        let refused = connect(&octopus, 0, address).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused, "{refused}");
        let told = on(octopus.machine(0), move || {
            let any: IpAddr = if address.is_ipv4() {
                [0, 0, 0, 0].into()
            } else {
                [0_u16; 8].into()
            };
            let socket = UdpSocket::bind((any, 0)).unwrap();
            socket.connect(address).unwrap();
            socket.set_read_timeout(Some(PATIENCE)).unwrap();
            socket.send(b"?").unwrap();
            socket.recv(&mut [0; 8]).unwrap_err()
        });
        let says_so = [ErrorKind::HostUnreachable, ErrorKind::PermissionDenied];
        assert!(says_so.contains(&told.kind()), "{told}");
    }
}

#[test]
fn broken_connections_are_reset_while_the_link_stays_up() {
    let Some((octopus, _root)) = two_machines(MachineSettings::default()) else {
        return;
    };
    let [address, _] = at(1, 4000);
    let listening = listener(&octopus, 1, address);
    let mut near = connect(&octopus, 0, address).unwrap();
    let (_far, _) = listening.accept().unwrap();
    octopus
        .network()
        .change(Pair::new(0, 1), Change::DropConnections);
    near.write_all(b"into the void").unwrap();
    near.set_read_timeout(Some(PATIENCE)).unwrap();
    let broken = near.read(&mut [0; 8]).unwrap_err();
    assert_eq!(broken.kind(), ErrorKind::ConnectionReset);
    connect(&octopus, 0, address).unwrap();
}

#[test]
fn duplicated_datagrams_come_twice_and_large_ones_in_pieces() {
    let settings = MachineSettings {
        rules: PacketRules {
            duplication: 1.0,
            ..PacketRules::default()
        },
        ..MachineSettings::default()
    };
    let Some((octopus, _root)) = two_machines(settings) else {
        return;
    };
    let [address, _] = at(1, 4000);
    let far = on(octopus.machine(1), move || {
        UdpSocket::bind(address).unwrap()
    });
    far.set_read_timeout(Some(PATIENCE)).unwrap();
    let near = on(octopus.machine(0), || UdpSocket::bind("0.0.0.0:0").unwrap());
    near.send_to(b"once", address).unwrap();
    let mut heard = [0; 9000];
    assert_eq!(far.recv(&mut heard).unwrap(), 4);
    assert_eq!(far.recv(&mut heard).unwrap(), 4);
    near.send_to(&[7; 5000], address).unwrap();
    assert_eq!(far.recv(&mut heard).unwrap(), 5000);
}

#[test]
fn nothing_outside_is_reached_and_machines_know_their_names() {
    let Some((octopus, _root)) = two_machines(MachineSettings::default()) else {
        return;
    };
    let outside = on(octopus.machine(0), || {
        TcpStream::connect("192.0.2.1:80").unwrap_err()
    });
    assert_eq!(outside.kind(), ErrorKind::NetworkUnreachable, "{outside}");
    let named = on(octopus.machine(0), || {
        std::net::ToSocketAddrs::to_socket_addrs("node1:80")
            .unwrap()
            .collect::<Vec<_>>()
    });
    assert!(
        named.contains(&at(1, 80)[0]) && named.contains(&at(1, 80)[1]),
        "{named:?}"
    );
    let here = std::fs::read_to_string("/etc/hosts").unwrap_or_default();
    assert!(
        !here.contains("10.77.0.11"),
        "our own names are as they were"
    );
}

#[test]
fn a_node_of_several_processes_lives_and_dies_as_one() {
    let config = Config {
        nodes: 1,
        seed: 7,
        duration: Duration::from_secs(1),
        monkeys: MonkeySettings::default(),
        transport: Transport::Machines(MachineSettings::default()),
        disk_bytes: None,
        echo: None,
        scripts: Vec::new(),
        limits: octopus::NodeLimits::default(),
    };
    let root = WorkDir::temporary().unwrap();
    let script = |text: &str| ProcessSpec {
        program: "/bin/sh".into(),
        arguments: vec!["-c".into(), text.into()],
        environment: vec![("GREETING".to_owned(), "hello".to_owned())],
        user: Some(65_534),
    };
    let plan = |place: &octopus::Place| NodePlan {
        processes: vec![
            script("echo $GREETING from $(hostname) as $(id -u); while :; do sleep 1; done"),
            script("echo second; while :; do sleep 1; done"),
        ],
        ..NodePlan::in_folder(place.folder.clone())
    };
    let octopus = match Octopus::new(&config, root.path(), plan) {
        Ok(octopus) => octopus,
        Err(error) => return eprintln!("SKIPPED: {error}"),
    };
    octopus.start().unwrap();
    let said = |wanted: &str| {
        let text = std::fs::read_to_string(root.path().join("node0.log")).unwrap_or_default();
        text.matches(wanted).count()
    };
    let wait_for = |times: usize| {
        let start = Instant::now();
        while said("hello from node0 as 65534") < times || said("second") < times {
            assert!(start.elapsed() < PATIENCE);
            std::thread::sleep(Duration::from_millis(2));
        }
    };
    wait_for(1);
    octopus.nodes().kill(&[0]).unwrap();
    octopus.nodes().revive(&[0]).unwrap();
    wait_for(2);
    octopus.stop().unwrap();
}

/// All tests of this file once more, in a process that sees no TUN device.
#[test]
fn all_this_holds_without_tun_devices() {
    if std::env::var_os(WITHOUT_TUN).is_some() {
        return;
    }
    let hidden = "[ ! -e /dev/net ] || mount -t tmpfs none /dev/net";
    let apart = |script: &str| {
        let mut command = std::process::Command::new("unshare");
        command.args(["-m", "sh", "-c", script]);
        command.arg(std::env::current_exe().unwrap());
        command.env(WITHOUT_TUN, "1").output()
    };
    match apart(hidden) {
        Ok(tried) if tried.status.success() => {}
        other => return eprintln!("SKIPPED: /dev/net cannot be hidden: {other:?}"),
    }
    let run = apart(&format!("{hidden} && exec \"$0\" --nocapture")).unwrap();
    let said = String::from_utf8_lossy(&run.stdout) + String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success(), "{said}");
    for line in said.lines().filter(|line| line.contains("SKIPPED")) {
        eprintln!("{line}");
    }
}
