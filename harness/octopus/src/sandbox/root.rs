//! The file system in a sandbox: the system's programs and libraries, read-only; what was named;
//! fresh `/tmp`, `/dev` and `/proc`. What is not put there is not there: no home, no `/run`, no
//! other folder of the caller's.
//!
//! It is put together below a new root, from the old one, which is then taken away.

use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt, PermissionsExt, symlink},
    path::{Component, Path, PathBuf},
};

use rustix::mount::{
    MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_bind, mount_bind_recursive,
    mount_change, mount_remount, unmount,
};

use super::{Folder, Reach, Sandbox};
use crate::error::{Doing, Error};

/// Where the old and the new root are while the new one is put together.
const OLD: &str = "/old";
const NEW: &str = "/new";

/// Folders of the system that are there as they are, or as the symbolic links that they are.
const SYSTEM: [&str; 11] = [
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/lib32",
    "/lib64",
    "/libx32",
    "/opt",
    "/nix",
    "/gnu",
    "/run/current-system",
];

/// What programs read in `/etc`. The rest may hold secrets.
const ETC: [&str; 22] = [
    "alternatives",
    "ca-certificates",
    "crypto-policies",
    "gai.conf",
    "group",
    "host.conf",
    "hosts",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "locale.alias",
    "localtime",
    "magic",
    "mime.types",
    "nsswitch.conf",
    "passwd",
    "pki",
    "protocols",
    "services",
    "ssl",
    "terminfo",
    "timezone",
];

/// Beginnings of further names in `/etc`.
const ETC_PREFIXES: [&str; 4] = ["java", "python", "ruby", "node"];

/// Devices that are not the machine's.
const DEVICES: [&str; 5] = ["null", "zero", "full", "random", "urandom"];

/// The most bytes of a file of `/etc` that is copied.
const COPY_MOST: u64 = 4 << 20;

/// Room for folders and copied files.
const SKELETON: &str = "mode=0755,size=16m";

/// Makes the new root that of this process, and its folder the one that it had.
pub(super) fn enter(sandbox: &Sandbox) -> Result<(), Error> {
    let folder = std::env::current_dir().doing(|| "cannot find the current folder".to_owned())?;
    turn_old_root_away().doing(|| "cannot make a root of its own".to_owned())?;
    Layout { sandbox }.lay_out(&folder)?;
    leave_old_root().doing(|| "cannot leave the old root".to_owned())?;
    std::env::set_current_dir(&folder).doing(|| format!("cannot enter {}", folder.display()))
}

/// Puts the old root at [`OLD`] below a small new one.
fn turn_old_root_away() -> io::Result<()> {
    mount_change(
        "/",
        MountPropagationFlags::PRIVATE | MountPropagationFlags::REC,
    )?;
    tmpfs(Path::new("/tmp"), SKELETON)?;
    fs::create_dir("/tmp/old")?;
    fs::create_dir("/tmp/new")?;
    rustix::process::pivot_root("/tmp", "/tmp/old")?;
    std::env::set_current_dir("/")?;
    tmpfs(Path::new(NEW), SKELETON)
}

/// Makes [`NEW`] the root, and removes all else.
fn leave_old_root() -> io::Result<()> {
    unmount(OLD, UnmountFlags::DETACH)?;
    std::env::set_current_dir(NEW)?;
    // The old root comes to lie over the new one, and is taken away from there.
    rustix::process::pivot_root(".", ".")?;
    unmount(".", UnmountFlags::DETACH)?;
    std::env::set_current_dir("/")?;
    let flags = MountFlags::BIND | MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV;
    mount_remount("/", flags, c"")?;
    Ok(())
}

struct Layout<'a> {
    sandbox: &'a Sandbox,
}

impl Layout<'_> {
    fn lay_out(&self, folder: &Path) -> Result<(), Error> {
        self.fresh()
            .doing(|| "cannot make /tmp, /dev and /proc".to_owned())?;
        for path in SYSTEM.map(Path::new) {
            system(path).doing(|| format!("cannot show {}", path.display()))?;
        }
        self.etc().doing(|| "cannot show /etc".to_owned())?;
        let read_only = self.sandbox.read_only.iter().map(PathBuf::as_path);
        let writable = self.sandbox.writable.iter().map(PathBuf::as_path);
        let own = match self.sandbox.folder {
            Folder::Shared => Access::Write,
            Folder::Private => Access::Private,
        };
        let mut named: Vec<(&Path, Access)> = read_only
            .map(|path| (path, Access::Read))
            .chain(writable.map(|path| (path, Access::Write)))
            .chain([(folder, own)])
            .collect();
        // What lies in another one is put there after that.
        named.sort_by_key(|(path, _)| path.components().count());
        for (path, access) in named {
            let shown = match access {
                Access::Private => self.private(path),
                Access::Read | Access::Write => show(path, access),
            };
            shown.doing(|| format!("cannot show {}", path.display()))?;
        }
        Ok(())
    }

    fn fresh(&self) -> io::Result<()> {
        let room = format!("mode=1777,size={}", self.sandbox.limits.disk_bytes);
        for (path, options) in [
            ("/tmp", room.as_str()),
            ("/dev", SKELETON),
            ("/dev/shm", &room),
        ] {
            let path = new(Path::new(path));
            fs::create_dir_all(&path)?;
            tmpfs(&path, options)?;
        }
        for device in DEVICES {
            let path = Path::new("/dev").join(device);
            fs::write(new(&path), "")?;
            mount_bind(old(&path), new(&path))?;
        }
        for (link, target) in [
            ("fd", "/proc/self/fd"),
            ("stdin", "/proc/self/fd/0"),
            ("stdout", "/proc/self/fd/1"),
            ("stderr", "/proc/self/fd/2"),
        ] {
            symlink(target, new(&Path::new("/dev").join(link)))?;
        }
        // Whoever the program is, the folder may be its own.
        let flags = MountFlags::BIND | MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV;
        mount_remount(new(Path::new("/dev")), flags, c"")?;
        let proc = new(Path::new("/proc"));
        fs::create_dir(&proc)?;
        let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
        mount("proc", &proc, "proc", flags, None)?;
        Ok(())
    }

    fn etc(&self) -> io::Result<()> {
        let etc = Path::new("/etc");
        fs::create_dir(new(etc))?;
        let entries = fs::read_dir(old(etc)).into_iter().flatten().flatten();
        for entry in entries {
            let name = entry.file_name();
            let name = name.to_str().unwrap_or_default();
            let is_wanted = ETC.contains(&name)
                || ETC_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
                || (self.sandbox.reach == Reach::Callers && name == "resolv.conf");
            if is_wanted {
                etc_entry(&etc.join(name))?;
            }
        }
        Ok(())
    }

    /// An empty folder, with the links and folders of the one in whose place it is.
    fn private(&self, folder: &Path) -> io::Result<()> {
        if folder == Path::new("/tmp") || folder == Path::new("/") {
            return Ok(());
        }
        let target = make_folder(folder)?;
        let room = format!("mode=1777,size={}", self.sandbox.limits.disk_bytes);
        tmpfs(&target, &room)?;
        for entry in fs::read_dir(old(folder))?.flatten() {
            let name = entry.file_name();
            if let Ok(points_to) = fs::read_link(entry.path()) {
                symlink(points_to, target.join(name))?;
            } else if entry.file_type()?.is_dir() {
                let inner = make_folder(&folder.join(name))?;
                bind(&entry.path(), &inner, Access::Read)?;
            }
        }
        Ok(())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Access {
    Read,
    Write,
    /// To one that stands in the place of the caller's.
    Private,
}

/// A file or folder of `/etc`: folders are shown, files copied, as they may be symbolic links into
/// what is not there.
fn etc_entry(path: &Path) -> io::Result<()> {
    let Ok(metadata) = resolved(path).metadata() else {
        return Ok(());
    };
    if metadata.is_dir() {
        return bind(&resolved(path), &make_folder(path)?, Access::Read);
    }
    let is_for_all = metadata.permissions().mode() & 0o004 != 0;
    if metadata.is_file() && is_for_all && metadata.len() <= COPY_MOST {
        fs::copy(resolved(path), new(path))?;
    }
    Ok(())
}

/// A folder of the system's, if it is there.
fn system(path: &Path) -> io::Result<()> {
    match fs::read_link(old(path)) {
        Ok(target) => {
            if let Some(parent) = path.parent() {
                make_folder(parent)?;
            }
            symlink(target, new(path))
        }
        Err(_) if old(path).is_dir() => bind(&old(path), &make_folder(path)?, Access::Read),
        Err(_) => Ok(()),
    }
}

/// A file or folder that was named.
fn show(path: &Path, access: Access) -> io::Result<()> {
    let source = resolved(path);
    let target = if source.metadata()?.is_dir() {
        make_folder(path)?
    } else {
        let target = make_folder(path.parent().unwrap_or(path))?;
        let target = target.join(path.file_name().unwrap_or_default());
        if !target.exists() {
            fs::write(&target, "")?;
        }
        target
    };
    bind(&source, &target, access)
}

fn bind(source: &Path, target: &Path, access: Access) -> io::Result<()> {
    mount_bind_recursive(source, target)?;
    let mounts = fs::read_to_string(new(Path::new("/proc/self/mountinfo")))?;
    for point in mount_points(&mounts).filter(|point| point.starts_with(target)) {
        let had = rustix::fs::statvfs(&point)?.f_flag;
        let mut flags = MountFlags::BIND | MountFlags::NOSUID | kept(had);
        if access == Access::Read {
            flags |= MountFlags::RDONLY;
        }
        mount_remount(&point, flags, c"")?;
    }
    Ok(())
}

/// The flags of a mount that nobody but its owner may take from it.
fn kept(had: rustix::fs::StatVfsMountFlags) -> MountFlags {
    use rustix::fs::StatVfsMountFlags as Had;
    let pairs = [
        (Had::RDONLY, MountFlags::RDONLY),
        (Had::NODEV, MountFlags::NODEV),
        (Had::NOEXEC, MountFlags::NOEXEC),
        (Had::NOATIME, MountFlags::NOATIME),
        (Had::NODIRATIME, MountFlags::NODIRATIME),
        (Had::RELATIME, MountFlags::RELATIME),
    ];
    pairs
        .iter()
        .filter(|(flag, _)| had.contains(*flag))
        .fold(MountFlags::empty(), |all, (_, flag)| all | *flag)
}

/// The mount points in the text of `/proc/PID/mountinfo`.
fn mount_points(text: &str) -> impl Iterator<Item = PathBuf> + '_ {
    text.lines().filter_map(|line| {
        let point = line.split(' ').nth(4)?;
        Some(unescaped(point))
    })
}

/// Spaces, tabs, newlines and backslashes are written as three octal digits.
fn unescaped(text: &str) -> PathBuf {
    use std::{ffi::OsString, os::unix::ffi::OsStringExt};
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let code = after.get(..3).and_then(|digits| {
            let digits = std::str::from_utf8(digits).ok()?;
            u8::from_str_radix(digits, 8).ok()
        });
        let byte = code.filter(|_| first == b'\\');
        rest = if byte.is_some() { &after[3..] } else { after };
        bytes.push(byte.unwrap_or(first));
    }
    OsString::from_vec(bytes).into()
}

fn tmpfs(path: &Path, options: &str) -> io::Result<()> {
    let options = std::ffi::CString::new(options)?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV;
    mount("tmpfs", path, "tmpfs", flags, options.as_c_str())?;
    Ok(())
}

/// A folder in the new root, made with all that are above it.
fn make_folder(path: &Path) -> io::Result<PathBuf> {
    let path = new(path);
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true).mode(0o755).create(&path)?;
    Ok(path)
}

fn new(path: &Path) -> PathBuf {
    below(NEW, path)
}

fn old(path: &Path) -> PathBuf {
    below(OLD, path)
}

fn below(root: &str, path: &Path) -> PathBuf {
    Path::new(root).join(path.strip_prefix("/").unwrap_or(path))
}

/// Where a path leads in the old root: its symbolic links mean that root, not this one.
fn resolved(path: &Path) -> PathBuf {
    let mut real = PathBuf::from(OLD);
    let mut waiting: Vec<PathBuf> = vec![path.to_owned()];
    let mut links = 0;
    while let Some(path) = waiting.pop() {
        let mut parts = path.components();
        let Some(first) = parts.next() else { continue };
        let rest = parts.as_path().to_owned();
        waiting.push(rest);
        match first {
            Component::RootDir => real = OLD.into(),
            Component::ParentDir => {
                if real != Path::new(OLD) {
                    real.pop();
                }
            }
            Component::Normal(name) => {
                let next = real.join(name);
                match fs::read_link(&next) {
                    // As many as the kernel follows.
                    Ok(target) if links < 40 => {
                        links += 1;
                        waiting.push(target);
                    }
                    _ => real = next,
                }
            }
            Component::CurDir | Component::Prefix(_) => {}
        }
    }
    real
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_points_are_read_with_their_spaces() {
        let text = "36 35 98:0 /mnt1 /mnt\\0402/x\\134y rw,noatime - ext3 /dev/root rw\n\
                    37 35 0:5 / /proc rw - proc proc rw\nbroken\n";
        let points: Vec<PathBuf> = mount_points(text).collect();
        assert_eq!(points, [Path::new("/mnt 2/x\\y"), Path::new("/proc")]);
        assert_eq!(unescaped("a\\9"), Path::new("a\\9"));
    }

    #[test]
    fn flags_that_are_locked_are_kept() {
        use rustix::fs::StatVfsMountFlags as Had;
        let flags = kept(Had::NODEV | Had::RELATIME | Had::SYNCHRONOUS);
        assert_eq!(flags, MountFlags::NODEV | MountFlags::RELATIME);
    }
}
