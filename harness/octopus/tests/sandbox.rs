//! What a hostile program cannot do in a sandbox: see other files, write where it may not, reach a
//! network, use up processes, memory or disk, write without end, or live on.
//!
//! A sandbox is the calling program, started again, so this file has a `main` of its own. Where
//! namespaces are not permitted, the trials are skipped, with a message.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::{
    fs,
    io::Read,
    net::TcpListener,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Output, Stdio},
    time::Duration,
};

use octopus::{
    ProcessGroup,
    sandbox::{self, EXIT_NO_SANDBOX, Folder, Limits, Reach, Sandbox},
};

/// Far more than anything here takes.
const PATIENCE: Duration = Duration::from_secs(120);

const SMALL: Limits = Limits {
    memory_bytes: 256 << 20,
    processes: 60,
    disk_bytes: 8 << 20,
    file_bytes: 4 << 20,
    open_files: 64,
};

fn main() {
    sandbox::enable();
    if let Err(error) = Sandbox::new(SMALL).check() {
        eprintln!("SKIPPED: {error}");
        return;
    }
    let trials: [(&str, fn()); 11] = [
        ("a status comes out", statuses),
        ("the system is there, and nothing else", files),
        ("nothing is written but in its folder", writing),
        ("a folder is shared or private", folders),
        ("links lead nowhere else", links),
        ("there is no network", network),
        ("rights are gone and do not come back", rights),
        ("a fork bomb ends", forks),
        ("memory is limited", memory),
        ("disks and files are limited", disk),
        ("whoever leaves the group ends as well", escape),
    ];
    for (name, trial) in trials {
        trial();
        println!("trial: {name} ... ok");
    }
}

/// Runs a script in a sandbox.
fn run(sandbox: &Sandbox, folder: &Path, script: &str) -> Output {
    output(command(sandbox, folder, script))
}

fn command(sandbox: &Sandbox, folder: &Path, script: &str) -> Command {
    let mut command = sandbox.command("sh".as_ref());
    command.args(["-c", script]).current_dir(folder);
    command
}

/// What a command says and how it ends, unlike `Command::output` with an end to patience.
fn output(mut command: Command) -> Output {
    let mut said = [tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap()];
    command
        .stdin(Stdio::null())
        .stdout(said[0].try_clone().unwrap())
        .stderr(said[1].try_clone().unwrap());
    let mut group = ProcessGroup::spawn(&mut command).unwrap();
    let status = group.wait_for(PATIENCE).unwrap();
    let status = status.expect("it ends");
    let [stdout, stderr] = said.each_mut().map(|file| {
        let mut bytes = Vec::new();
        std::io::Seek::rewind(file).unwrap();
        file.read_to_end(&mut bytes).unwrap();
        bytes
    });
    Output {
        status,
        stdout,
        stderr,
    }
}

fn text(output: &Output) -> String {
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    text(&output.stdout) + &text(&output.stderr)
}

/// A folder that programs in sandboxes can be given.
fn home() -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    // They may run as another user.
    fs::set_permissions(home.path(), fs::Permissions::from_mode(0o777)).unwrap();
    home
}

fn statuses() {
    let home = home();
    let sandbox = Sandbox::new(SMALL);
    let code = |script: &str| run(&sandbox, home.path(), script).status.code();
    assert_eq!(code("exit 7"), Some(7));
    assert_eq!(code("kill -9 $$"), Some(137));
    let mut missing = sandbox.command("/no/such/program".as_ref());
    missing.current_dir(home.path());
    let missing = output(missing);
    assert_eq!(missing.status.code(), Some(EXIT_NO_SANDBOX.into()));
    assert!(text(&missing).contains("sandbox: cannot run /no/such/program"));
    // What it is to see is not there.
    let mut blind = sandbox.clone();
    blind.read_only.push("/no/such/folder".into());
    let blind = run(&blind, home.path(), "true");
    assert_eq!(blind.status.code(), Some(EXIT_NO_SANDBOX.into()));
    assert!(text(&blind).contains("/no/such/folder"), "{blind:?}");
}

fn files() {
    let home = home();
    fs::write(home.path().join("secret"), "of the caller").unwrap();
    let sandbox = Sandbox::new(SMALL);
    let secret = home.path().join("secret");
    let script = format!(
        "ls /; ls /home /root /run /mnt /var; cat {} /etc/shadow; ls /proc | grep -c '^[0-9]*$'",
        secret.display()
    );
    let seen = text(&run(&sandbox, home.path(), &script));
    assert!(!seen.contains("of the caller"), "{seen}");
    for absent in ["/home", "/root", "/mnt", "/var", "/etc/shadow"] {
        let line = seen.lines().find(|line| line.contains(absent));
        let line = line.unwrap_or_else(|| panic!("{absent}: {seen}"));
        assert!(line.contains("No such file"), "{line}");
    }
    // init, the shell, and what it runs.
    let processes = seen.lines().find_map(|line| line.parse::<u32>().ok());
    assert!(processes.is_some_and(|count| count <= 5), "{seen}");
    let mut named = sandbox;
    named.read_only.push(secret.clone());
    let seen = text(&run(
        &named,
        Path::new("/"),
        &format!("cat {}", secret.display()),
    ));
    assert_eq!(seen, "of the caller");
}

fn writing() {
    let home = home();
    let (seen, given) = (home.path().join("seen"), home.path().join("given"));
    for folder in [&seen, &given] {
        fs::create_dir(folder).unwrap();
        fs::set_permissions(folder, fs::Permissions::from_mode(0o777)).unwrap();
    }
    let mut sandbox = Sandbox::new(SMALL);
    sandbox.read_only.push(seen.clone());
    sandbox.writable.push(given.clone());
    let script = format!(
        "for f in /x /usr/x /etc/x /dev/x {}/x; do echo > $f && echo WROTE $f; done
         mount -o remount,bind,rw {0} && echo REMOUNTED
         echo > {}/x; echo > /tmp/x; ls {1} /tmp",
        seen.display(),
        given.display()
    );
    let told = text(&run(&sandbox, Path::new("/tmp"), &script));
    assert!(
        !told.contains("WROTE") && !told.contains("REMOUNTED"),
        "{told}"
    );
    assert!(given.join("x").exists() && !seen.join("x").exists());
}

fn folders() {
    let home = home();
    fs::write(home.path().join("file"), "").unwrap();
    std::os::unix::fs::symlink("target", home.path().join("link")).unwrap();
    fs::create_dir(home.path().join("inner")).unwrap();
    fs::write(home.path().join("inner/seen"), "").unwrap();
    let mut sandbox = Sandbox::new(SMALL);
    let told = run(&sandbox, home.path(), "ls inner; echo > inner/x");
    assert!(text(&told).starts_with("seen\n"), "{told:?}");
    assert!(text(&told).contains("Read-only"), "{told:?}");
    fs::remove_dir_all(home.path().join("inner")).unwrap();
    let told = run(&sandbox, home.path(), "ls; readlink link; echo > made; pwd");
    // A file in it that was named is there.
    let mut named = sandbox.clone();
    named.read_only.push(home.path().join("file"));
    assert_eq!(text(&run(&named, home.path(), "ls")), "file\nlink\n");
    let expected = format!("link\ntarget\n{}\n", home.path().display());
    assert_eq!(text(&told), expected);
    assert!(!home.path().join("made").exists());
    sandbox.folder = Folder::Shared;
    let told = run(&sandbox, home.path(), "ls; echo > made");
    assert_eq!(text(&told), "file\nlink\n");
    assert!(home.path().join("made").exists());
}

fn links() {
    let home = home();
    let outside = home.path().join("outside");
    fs::write(&outside, "untouched").unwrap();
    let folder = home.path().join("folder");
    fs::create_dir(&folder).unwrap();
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).unwrap();
    let mut sandbox = Sandbox::new(SMALL);
    sandbox.folder = Folder::Shared;
    let script = format!(
        "ln -s {0} a; echo broken > a; ln -s ../outside b; echo broken > b; cat a b
         ln -s /proc/1/root/{0} c; cat c; ln -s /proc/self/root/../{0} d; cat d; exit 0",
        outside.display()
    );
    let told = text(&run(&sandbox, &folder, &script));
    assert!(!told.contains("untouched"), "{told}");
    assert_eq!(fs::read_to_string(&outside).unwrap(), "untouched");
}

fn network() {
    let home = home();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut sandbox = Sandbox::new(SMALL);
    let devices = |sandbox: &Sandbox| {
        let told = text(&run(sandbox, home.path(), "tail -n +3 /proc/net/dev"));
        told.lines().count()
    };
    assert_eq!(devices(&sandbox), 1, "nothing but a loopback device");
    // A shell that can connect.
    let scan = format!("exec 3<>/dev/tcp/127.0.0.1/{port} && echo REACHED");
    let connects = |sandbox: &Sandbox| {
        let mut command = sandbox.command("bash".as_ref());
        command.args(["-c", &scan]).current_dir(home.path());
        text(&output(command))
    };
    let told = connects(&sandbox);
    assert!(!told.contains("REACHED"), "{told}");
    sandbox.reach = Reach::Callers;
    let told = connects(&sandbox);
    if !told.contains("REACHED") {
        eprintln!("SKIPPED: no bash that can connect: {told}");
    }
}

fn rights() {
    let home = home();
    let script = "grep -E 'Cap(Inh|Prm|Eff|Bnd|Amb)|NoNewPrivs' /proc/self/status; id -u
                  hostname pwned; kill -9 1; mount -t tmpfs x /tmp; echo alive";
    let told = text(&run(&Sandbox::new(SMALL), home.path(), script));
    let empty = told
        .lines()
        .filter(|line| line.ends_with("0000000000000000"));
    assert_eq!(empty.count(), 5, "{told}");
    assert!(
        told.contains("NoNewPrivs:\t1") && told.contains("alive"),
        "{told}"
    );
    assert!(!told.lines().any(|line| line == "0"), "not root: {told}");
}

fn forks() {
    let home = home();
    let many = "i=0; while [ $i -lt 200 ]; do sleep 600 & i=$((i + 1)); done; echo all of them";
    let told = text(&run(&Sandbox::new(SMALL), home.path(), many));
    assert!(
        told.contains("fork") && !told.contains("all of them"),
        "{told}"
    );
    // That it ends is all that can be said: whose call fails is chance.
    let bomb = "bomb() { bomb | bomb & }; bomb 2>/dev/null; sleep 0.3";
    run(&Sandbox::new(SMALL), home.path(), bomb);
    // The next one is as free as ever.
    let next = run(&Sandbox::new(SMALL), home.path(), "true | true; echo fine");
    assert_eq!(text(&next), "fine\n");
}

fn memory() {
    let home = home();
    let one = "x=0123456789abcdef; while :; do x=$x$x; done";
    let told = run(&Sandbox::new(SMALL), home.path(), one);
    assert!(!told.status.success(), "{told:?}");
    // Together: each of them has less than the limit.
    let many = "part() { x=0123456789abcdef; while [ ${#x} -lt 30000000 ]; do x=$x$x; done
                         sleep 600; }
                for i in 1 2 3 4 5 6 7 8 9 10; do part & done; wait";
    let told = run(&Sandbox::new(SMALL), home.path(), many);
    assert_eq!(told.status.code(), Some(137), "{told:?}");
    assert!(
        text(&told).contains("more than 256 MiB of memory"),
        "{told:?}"
    );
}

fn disk() {
    let home = home();
    let script = "for i in 1 2 3 4 5 6 7 8 9; do head -c 3000000 /dev/zero > $i; done; du -sk .
                  for i in 1 2 3 4; do head -c 3000000 /dev/zero > /tmp/$i; done; du -xsk /tmp
                  head -c 3000000 /dev/zero > /dev/shm/x; rm -f * /tmp/*
                  head -c 6000000 /dev/zero > large; ls -l large";
    let told = text(&run(&Sandbox::new(SMALL), home.path(), script));
    assert!(told.contains("No space left"), "{told}");
    let used = told.lines().filter_map(|line| {
        let (kib, _) = line.split_once('\t')?;
        kib.parse::<u64>().ok()
    });
    let used: Vec<u64> = used.collect();
    assert_eq!(used.len(), 2, "{told}");
    assert!(used.iter().all(|&kib| kib <= 8 << 10), "{told}");
    assert!(told.contains(&(4 << 20).to_string()), "{told}");
    // Output without end goes into a file of ours.
    let told = run(&Sandbox::new(SMALL), home.path(), "yes");
    assert!(told.stdout.len() <= 4 << 20, "{}", told.stdout.len());
    assert!(!told.status.success());
}

fn escape() {
    let home = home();
    let mut sandbox = Sandbox::new(SMALL);
    sandbox.folder = Folder::Shared;
    let script = "(setsid sh -c 'trap \"\" HUP TERM; unset OCTOPUS_PROCESS; echo > there
                  exec 7<there; while :; do sleep 1; done' >/dev/null 2>&1 &)
                  while [ ! -e there ]; do :; done; echo gone";
    let told = run(&sandbox, home.path(), script);
    assert_eq!(text(&told), "gone\n");
    // It had a file of ours open; nobody has now.
    let file = home.path().join("there");
    let holds = |process: &Path| {
        let files = fs::read_dir(process.join("fd"));
        files.is_ok_and(|files| {
            files
                .flatten()
                .any(|fd| fs::read_link(fd.path()).is_ok_and(|path| path == file))
        })
    };
    let mut processes = fs::read_dir("/proc").unwrap().flatten();
    assert!(!processes.any(|entry| holds(&entry.path())));
}
