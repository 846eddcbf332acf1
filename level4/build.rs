//! Whether the bundled SQLite is built with its preupdate hook, which `.cargo/config.toml` of the workspace
//! asks for, and no feature of its crate that needs only a C compiler.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=LIBSQLITE3_FLAGS");
    println!("cargo::rustc-check-cfg=cfg(preupdate_hook)");
    let flags = std::env::var("LIBSQLITE3_FLAGS").unwrap_or_default();
    if flags.contains("SQLITE_ENABLE_PREUPDATE_HOOK") {
        println!("cargo::rustc-cfg=preupdate_hook");
    }
}
