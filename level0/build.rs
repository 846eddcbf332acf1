//! Packs the built-in word list into the arrays that `src/compact.rs` searches.
//!
//! They are written as plain numbers, not as references: references in a position-independent
//! program are relocated, page by page, before `main` begins, and the whole program is to run in
//! less than a millisecond.

use std::fmt::{Debug, Write as _};
use std::path::Path;
use std::{env, fs, io};

#[path = "src/encode.rs"]
mod encode;
#[path = "src/front_coding.rs"]
mod front_coding;

fn main() -> io::Result<()> {
    link_at_fixed_addresses();
    println!("cargo:rerun-if-changed=data/web2");
    println!("cargo:rerun-if-changed=src/encode.rs");
    println!("cargo:rerun-if-changed=src/front_coding.rs");
    let list = fs::read("data/web2")?;
    // An entry with an upper-case letter can never match: words are folded to lower case first.
    let mut words: Vec<&[u8]> = list
        .split(|&byte| byte == b'\n')
        .filter(|word| !word.is_empty() && !word.iter().any(u8::is_ascii_uppercase))
        .collect();
    words.sort_unstable();
    words.dedup();
    let encoded = encode::encode(&words);

    let directory = env::var("OUT_DIR").map_err(io::Error::other)?;
    let directory = Path::new(&directory);
    fs::write(directory.join("body.bin"), &encoded.body)?;
    let mut source = String::new();
    declare(&mut source, "HEADS", "u64", &encoded.heads);
    declare(&mut source, "STARTS", "u32", &encoded.starts);
    declare(&mut source, "TOKENS", "(u64, u8)", &encoded.tokens);
    declare(&mut source, "PREFIXES", "u16", &encoded.prefixes);
    let longest = words.iter().map(|word| word.len()).max().unwrap_or(0);
    let _ = writeln!(source, "const LONGEST_BUILT_IN: usize = {longest};");
    fs::write(directory.join("built_in.rs"), source)
}

/// Lets the linker resolve addresses instead of the loader. The program has thousands (tables of methods
/// and of names), most of them for flags that a call does not have, and each page with some is copied
/// before `main` begins: a sixth of what a short document takes.
fn link_at_fixed_addresses() {
    let is = |name: &str, value: &str| env::var(name).is_ok_and(|found| found == value);
    let is_static = env::var("CARGO_CFG_TARGET_FEATURE")
        .is_ok_and(|features| features.split(',').any(|feature| feature == "crt-static"));
    if is("CARGO_CFG_TARGET_OS", "linux") && is("CARGO_CFG_TARGET_ENV", "gnu") && !is_static {
        println!("cargo:rustc-link-arg-bin=level0=-no-pie");
    }
}

fn declare<T: Debug>(source: &mut String, name: &str, kind: &str, values: &[T]) {
    let _ = writeln!(
        source,
        "static {name}: [{kind}; {}] = {values:?};",
        values.len()
    );
}
