//! The `harness` binary: flags in, exit code out; everything else is in the library.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    octopus::sandbox::enable();
    octopus::rootless::enable();
    let _watched = octopus::watcher::enable();
    harness::cli::main(std::env::args_os())
}
