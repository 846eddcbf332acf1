//! Whether a file can be run, and if not, why: in words that name what is missing.
//!
//! The kernel says "no such file or directory" both for a program that is not there and for one
//! whose interpreter or loader is not there; which of them it is stands in the file's first bytes
//! (`execve(2)`: the `#!` line; the ELF header's `PT_INTERP`).

use std::{
    env,
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use rustix::fs::{Access, access};
use sha2::{Digest, Sha256};
use thiserror::Error;

/// How much of a file's head is looked at; the kernel reads 256 bytes of a `#!` line.
const HEAD: u64 = 4096;

/// Why a program cannot be run. The texts follow the program's name.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum NotRunnable {
    /// There is nothing of that name.
    #[error("cannot be found")]
    Missing,
    /// A folder or a device.
    #[error("not a file")]
    NotAFile,
    /// The executable bit is missing.
    #[error("not executable (chmod +x {0})")]
    NotExecutable(String),
    /// The `#!` line names a program that is not there.
    #[error("its first line `{line}` asks for {interpreter}, which {fault}")]
    Interpreter {
        /// The line.
        line: String,
        /// The program that it names.
        interpreter: String,
        /// What is wrong with that.
        fault: &'static str,
    },
    /// A dynamically linked program's loader is not there.
    #[error("it was built for the loader {0}, which is not on this machine")]
    Loader(String),
    /// The kernel knows no way to run it.
    #[error("neither a program for this machine nor a script with a `#!` line")]
    Format,
}

/// Checks that a file can be run, as far as that shows without running it.
pub fn check(path: &Path) -> Result<(), NotRunnable> {
    let metadata = path.metadata().map_err(|_| NotRunnable::Missing)?;
    if !metadata.is_file() {
        return Err(NotRunnable::NotAFile);
    }
    if access(path, Access::EXEC_OK).is_err() {
        return Err(NotRunnable::NotExecutable(path.display().to_string()));
    }
    let mut head = Vec::new();
    // One that may be run but not read is left to the kernel.
    if File::open(path)
        .and_then(|file| file.take(HEAD).read_to_end(&mut head))
        .is_err()
    {
        return Ok(());
    }
    if let Some(line) = head.strip_prefix(b"#!") {
        return check_interpreter(line);
    }
    match loader(&head) {
        Some(loader) if !Path::new(&loader).exists() => Err(NotRunnable::Loader(loader)),
        _ => Ok(()),
    }
}

/// What a failed start of a program means, in one line that names the program.
pub fn cannot_run(program: &Path, error: &io::Error) -> anyhow::Error {
    let shown = program.display();
    if let Err(reason) = check(program) {
        return anyhow::anyhow!("cannot run {shown}: {reason}");
    }
    if error.raw_os_error() == Some(rustix::io::Errno::NOEXEC.raw_os_error()) {
        return anyhow::anyhow!("cannot run {shown}: {}", NotRunnable::Format);
    }
    anyhow::anyhow!("cannot run {shown}: {error}")
}

/// The absolute path of a program given by its name alone, as a shell finds it.
pub fn on_path(name: &Path) -> Option<PathBuf> {
    let folders = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&folders)
        .map(|folder| folder.join(name))
        .find(|path| path.is_file() && access(path, Access::EXEC_OK).is_ok())
}

/// SHA-256 of a file in hex; none if it cannot be read.
pub fn sha256(path: &Path) -> Option<String> {
    let mut file = File::open(path).ok()?;
    let mut digest = Sha256::new();
    let mut piece = vec![0; 1 << 16];
    loop {
        match file.read(&mut piece) {
            Ok(0) => return Some(hex::encode(digest.finalize())),
            Ok(count) => digest.update(&piece[..count]),
            Err(_) => return None,
        }
    }
}

/// Checks what follows `#!`.
fn check_interpreter(text: &[u8]) -> Result<(), NotRunnable> {
    let end = text.iter().position(|&byte| byte == b'\n');
    let line = String::from_utf8_lossy(&text[..end.unwrap_or(text.len())]).into_owned();
    let trimmed = line.trim_matches([' ', '\t']);
    let (interpreter, argument) = trimmed.split_once([' ', '\t']).unwrap_or((trimmed, ""));
    let refused = |interpreter: &str, fault| {
        Err(NotRunnable::Interpreter {
            line: format!("#!{}", line.trim_end().escape_debug()),
            interpreter: interpreter.trim_end().to_owned(),
            fault,
        })
    };
    if line.ends_with('\r') {
        let fault = "does not exist under that name: the line ends with a carriage return, as \
                     Windows writes it";
        return refused(interpreter, fault);
    }
    let path = Path::new(interpreter);
    if !path.is_file() {
        return refused(interpreter, "is not on this machine");
    }
    if access(path, Access::EXEC_OK).is_err() {
        return refused(interpreter, "is not executable");
    }
    if path.file_name() != Some("env".as_ref()) {
        return Ok(());
    }
    match started_by_env(argument.trim_start()) {
        Some(program) if on_path(Path::new(&program)).is_none() => {
            let fault = if program.contains(' ') {
                "is one name to it (`env -S` splits a line into words)"
            } else {
                "is not on the PATH"
            };
            refused(&program, fault)
        }
        _ => Ok(()),
    }
}

/// The program that `/usr/bin/env ARGUMENT` starts, as far as that is plain: the kernel passes the
/// rest of the line as one argument, which `-S` splits into words.
fn started_by_env(argument: &str) -> Option<String> {
    let split = argument
        .strip_prefix("-S")
        .or_else(|| argument.strip_prefix("--split-string="));
    match split {
        None if argument.is_empty() || argument.starts_with('-') || argument.contains('=') => None,
        None => Some(argument.to_owned()),
        Some(words) => words
            .split_whitespace()
            .find(|word| !word.contains('='))
            .filter(|word| !word.starts_with('-'))
            .map(str::to_owned),
    }
}

/// The loader that a little-endian 64-bit ELF program names (System V ABI, `PT_INTERP`).
fn loader(head: &[u8]) -> Option<String> {
    const ELF64_LITTLE_ENDIAN: &[u8] = b"\x7fELF\x02\x01";
    const PT_INTERP: u64 = 3;
    let number = |at: usize, bytes: usize| {
        let field = head.get(at..at.checked_add(bytes)?)?;
        let digits = field.iter().rev();
        Some(digits.fold(0_u64, |sum, &byte| sum << 8 | u64::from(byte)))
    };
    if !head.starts_with(ELF64_LITTLE_ENDIAN) {
        return None;
    }
    let table = usize::try_from(number(32, 8)?).ok()?;
    let (size, count) = (number(54, 2)? as usize, number(56, 2)? as usize);
    let mut entries = (0..count).map(|index| table.checked_add(index * size));
    let entry = entries.find_map(|at| at.filter(|&at| number(at, 4) == Some(PT_INTERP)))?;
    let start = usize::try_from(number(entry.checked_add(8)?, 8)?).ok()?;
    let length = usize::try_from(number(entry.checked_add(32)?, 8)?).ok()?;
    let name = head.get(start..start.checked_add(length)?)?;
    let name = name.split(|&byte| byte == 0).next()?;
    Some(String::from_utf8_lossy(name).into_owned())
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use super::*;

    fn refused(content: &[u8]) -> Option<String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("solution");
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        check(&path).err().map(|reason| reason.to_string())
    }

    #[test]
    fn an_interpreter_that_is_missing_is_named() {
        let missing = |text: &str, what: &str| {
            let reason = refused(text.as_bytes()).unwrap();
            assert!(reason.contains(what), "{text:?}: {reason}");
        };
        missing(
            "#!/usr/bin/python9\n",
            "`#!/usr/bin/python9` asks for /usr/bin/python9",
        );
        missing(
            "#! /no/such -x\nprint",
            "/no/such, which is not on this machine",
        );
        missing(
            "#!/usr/bin/env python9\n",
            "python9, which is not on the PATH",
        );
        missing(
            "#!/usr/bin/env -S A=1 python9 -u\n",
            "python9, which is not on the PATH",
        );
        missing("#!/usr/bin/env sh -u\n", "env -S");
        missing("#!/bin/sh\r\necho\r\n", "carriage return");
        missing("#!/usr/bin/env sh\r\n", "carriage return");
        missing("#!/etc/passwd\n", "not executable");
        missing("#!\n", "is not on this machine");
    }

    #[test]
    fn what_can_be_run_is_not_refused() {
        assert_eq!(refused(b"#!/bin/sh\n"), None);
        assert_eq!(refused(b"#!/bin/sh"), None);
        assert_eq!(refused(b"#! /usr/bin/env  sh\n"), None);
        assert_eq!(refused(b"#!/usr/bin/env -S FOO=bar sh -u\n"), None);
        assert_eq!(refused(b"#!/usr/bin/env -i sh\n"), None);
        assert_eq!(refused(b"echo a script that a shell runs\n"), None);
        assert_eq!(refused(b""), None);
        let own = env::current_exe().unwrap();
        assert_eq!(check(&own), Ok(()));
    }

    #[test]
    #[cfg(all(
        target_os = "linux",
        target_pointer_width = "64",
        target_endian = "little"
    ))]
    fn a_loader_that_is_missing_is_named() {
        let mut program = fs::read(env::current_exe().unwrap()).unwrap();
        let name = loader(&program[..HEAD as usize]).unwrap();
        assert!(Path::new(&name).exists(), "{name}");
        let at = program
            .windows(name.len())
            .position(|w| w == name.as_bytes());
        program[at.unwrap()..][..2].copy_from_slice(b"/X");
        let reason = refused(&program).unwrap();
        assert!(reason.contains("the loader /X"), "{reason}");
        // Damaged heads are not looked into any further.
        for length in 0..200 {
            refused(&program[..length]);
        }
        let mut wild = program[..HEAD as usize].to_vec();
        wild[32..64].fill(0xff);
        assert_eq!(refused(&wild), None);
    }

    #[test]
    fn a_failed_start_is_told_with_its_reason() {
        let noexec = io::Error::from(rustix::io::Errno::NOEXEC);
        let own = env::current_exe().unwrap();
        let told = cannot_run(&own, &noexec).to_string();
        assert!(
            told.contains("neither a program for this machine"),
            "{told}"
        );
        let told = cannot_run(Path::new("/no/such"), &noexec).to_string();
        assert_eq!(told, "cannot run /no/such: cannot be found");
    }
}
