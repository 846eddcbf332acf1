//! Tool chains that are not the system's: rustup keeps Rust's below the home, which sandboxes do
//! not see.

use std::{env, path::PathBuf};

/// Where rustup has its tool chains, and cargo its programs, if they are there.
struct Rust {
    toolchains: PathBuf,
    programs: PathBuf,
}

fn rust() -> Option<Rust> {
    let home = env::var_os("HOME").map(PathBuf::from)?;
    let named = |variable: &str, name: &str| {
        let set = env::var_os(variable).map(PathBuf::from);
        set.unwrap_or_else(|| home.join(name))
    };
    let rust = Rust {
        toolchains: named("RUSTUP_HOME", ".rustup"),
        programs: named("CARGO_HOME", ".cargo").join("bin"),
    };
    (rust.toolchains.is_dir() && rust.programs.join("rustc").exists()).then_some(rust)
}

/// What sandboxes are to see of them.
pub(super) fn places() -> Vec<PathBuf> {
    rust().map_or_else(Vec::new, |rust| vec![rust.toolchains, rust.programs])
}

/// Folders for `PATH`.
pub(super) fn programs() -> Vec<PathBuf> {
    rust().map_or_else(Vec::new, |rust| vec![rust.programs])
}

/// Variables that tell the tools where they are.
pub(super) fn environment() -> Vec<(&'static str, PathBuf)> {
    rust().map_or_else(Vec::new, |rust| vec![("RUSTUP_HOME", rust.toolchains)])
}
