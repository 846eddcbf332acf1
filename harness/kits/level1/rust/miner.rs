//! Mines one gitcoin: `miner CLONE_URL USERNAME`.

use std::error::Error;
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, url, user] = arguments.as_slice() else {
        return Err("usage: miner CLONE_URL USERNAME".into());
    };
    git(&["clone", "--quiet", url, "chain"], b"")?;
    std::env::set_current_dir("chain")?;
    let difficulty = std::fs::read_to_string("difficulty.txt")?;
    let commit = search(&prepare(user)?, difficulty.trim_end());
    let found = git(&["hash-object", "-t", "commit", "-w", "--stdin"], &commit)?;
    git(&["push", "--quiet", "origin", &format!("{found}:refs/heads/master")], b"")?;
    println!("landed {found}");
    Ok(())
}

/// What a git command says.
fn git(arguments: &[&str], input: &[u8]) -> Result<String> {
    let mut command = Command::new("git");
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn()?;
    child.stdin.take().ok_or("git has no input")?.write_all(input)?;
    let output = child.wait_with_output()?;
    if !output.status.success() {
        return Err(format!("git {} failed", arguments.join(" ")).into());
    }
    Ok(String::from_utf8(output.stdout)?.trim_end().to_owned())
}

/// The commit's text up to the nonce.
fn prepare(user: &str) -> Result<String> {
    let ledger = std::fs::read_to_string("LEDGER.txt")?;
    std::fs::write("LEDGER.txt", raise_entry(&ledger, user)?)?;
    git(&["add", "LEDGER.txt"], b"")?;
    let tree = git(&["write-tree"], b"")?;
    let head = git(&["rev-parse", "HEAD"], b"")?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let person = format!("{user} <{user}@localhost> {now} +0000");
    Ok(format!(
        "tree {tree}\nparent {head}\nauthor {person}\ncommitter {person}\n\nGive me a coin: "
    ))
}

/// The ledger's text with one coin more for the user.
fn raise_entry(ledger: &str, user: &str) -> Result<String> {
    let mut lines: Vec<String> = ledger.lines().map(str::to_owned).collect();
    let entry = format!("{user}: ");
    match lines.iter_mut().find(|line| line.starts_with(&entry)) {
        Some(line) => *line = format!("{entry}{}", line[entry.len()..].parse::<u64>()? + 1),
        None => lines.push(format!("{entry}1")),
    }
    Ok(lines.join("\n") + "\n")
}

/// A commit whose id comes before the difficulty, both as hex digits.
fn search(text: &str, difficulty: &str) -> Vec<u8> {
    let mut nonce = 0_u64;
    loop {
        let commit = format!("{text}{nonce}\n");
        let object = format!("commit {}\0{commit}", commit.len());
        if hex(&sha1(object.as_bytes())).as_str() < difficulty {
            return commit.into_bytes();
        }
        nonce += 1;
    }
}

fn hex(digest: &[u32; 5]) -> String {
    digest.iter().map(|word| format!("{word:08x}")).collect()
}

/// SHA-1 as FIPS 180-4 writes it down.
fn sha1(message: &[u8]) -> [u32; 5] {
    let mut padded = message.to_vec();
    padded.push(0x80);
    while padded.len() % 64 != 56 {
        padded.push(0);
    }
    padded.extend(((message.len() as u64) * 8).to_be_bytes());
    let mut state = [0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0];
    for block in padded.chunks(64) {
        compress(&mut state, block);
    }
    state
}

fn compress(state: &mut [u32; 5], block: &[u8]) {
    let mut w = [0_u32; 80];
    for (word, bytes) in w.iter_mut().zip(block.chunks(4)) {
        *word = u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    }
    for t in 16..80 {
        w[t] = (w[t - 3] ^ w[t - 8] ^ w[t - 14] ^ w[t - 16]).rotate_left(1);
    }
    let [mut a, mut b, mut c, mut d, mut e] = *state;
    for (t, word) in w.iter().enumerate() {
        let (f, k) = match t / 20 {
            0 => ((b & c) | (!b & d), 0x5a827999),
            1 => (b ^ c ^ d, 0x6ed9eba1),
            2 => ((b & c) | (b & d) | (c & d), 0x8f1bbcdc),
            _ => (b ^ c ^ d, 0xca62c1d6_u32),
        };
        let next = a.rotate_left(5).wrapping_add(f).wrapping_add(e);
        let next = next.wrapping_add(k).wrapping_add(*word);
        (a, b, c, d, e) = (next, a, b.rotate_left(30), c, d);
    }
    for (sum, value) in state.iter_mut().zip([a, b, c, d, e]) {
        *sum = sum.wrapping_add(value);
    }
}
