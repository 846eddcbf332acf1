//! The server's half of a push (gitprotocol-pack(5)), without git: what the player asks for is
//! read here, judged in memory, and only then given to git to keep.
//!
//! So the rules do not hang on a program that git would have to run, which it silently does not
//! where the file system forbids it, or the configuration names other hooks.

use thiserror::Error;

use super::{
    ledger::Entry,
    object::ObjectId,
    pkt_line::{self, FLUSH, Item, put, put_band},
    rules::{BRANCH, RefUpdate},
};

/// What we can do, as the client is told; deletions too, so that they are refused by name.
const CAPABILITIES: &str = "report-status delete-refs side-band-64k ofs-delta object-format=sha1";

/// The most refs that one push may name.
const UPDATES_MAX: usize = 64;

/// The most characters of a reason that a player is told.
const REASON_MAX: usize = 400;

/// A push as it came.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Push<'a> {
    /// What it asks for; empty where the client only tries whether it may push.
    pub updates: Vec<RefUpdate>,
    /// The pack; empty where nothing but deletions is asked for.
    pub pack: &'a [u8],
    /// Whether the client wants messages beside the report.
    side_band: bool,
}

/// Why a request is no push.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum ProtocolError {
    /// A line is not framed as lines are, or the list does not end.
    #[error("the list of refs is cut off or malformed")]
    Framing,
    /// A line of the list is no command.
    #[error("`{0}` is not an update of a ref")]
    Command(String),
    /// More refs than a push may name.
    #[error("a push names at most {UPDATES_MAX} refs")]
    TooManyUpdates,
}

/// What a client is told that is about to push: where `master` stands.
pub fn advertisement(head: ObjectId) -> Vec<u8> {
    let mut out = Vec::new();
    put(b"# service=git-receive-pack\n", &mut out);
    out.extend(FLUSH);
    let line = format!("{head} {BRANCH}\0{CAPABILITIES}\n");
    put(line.as_bytes(), &mut out);
    out.extend(FLUSH);
    out
}

impl<'a> Push<'a> {
    /// Takes a request's body apart.
    ///
    /// # Errors
    /// It is not what gitprotocol-pack(5) calls an update request.
    pub fn parse(mut body: &'a [u8]) -> Result<Self, ProtocolError> {
        let mut updates = Vec::new();
        let mut side_band = false;
        loop {
            let line = match pkt_line::take(&mut body) {
                Some(Item::Flush) => break,
                Some(Item::Line(line)) => line,
                None => return Err(ProtocolError::Framing),
            };
            let line = line.strip_suffix(b"\n").unwrap_or(line);
            // A shallow clone says where its history ends; a coin's parent is here anyway.
            if line.starts_with(b"shallow ") {
                continue;
            }
            let (command, capabilities) = match line.iter().position(|byte| *byte == 0) {
                Some(end) => (&line[..end], &line[end + 1..]),
                None => (line, &[][..]),
            };
            side_band |= capabilities
                .split(|byte| *byte == b' ')
                .any(|word| word == b"side-band-64k");
            if updates.len() == UPDATES_MAX {
                return Err(ProtocolError::TooManyUpdates);
            }
            updates.push(update(command)?);
        }
        Ok(Self {
            updates,
            pack: body,
            side_band,
        })
    }

    /// The answer: for each ref whether it moved, and why not.
    pub fn report(&self, outcome: &Result<Entry, String>) -> Vec<u8> {
        let mut status = Vec::new();
        put(b"unpack ok\n", &mut status);
        for update in &self.updates {
            let name = &update.name;
            let line = match outcome {
                Ok(_) => format!("ok {name}\n"),
                // The reason is told beside the report, where it is easier to read.
                Err(_) if self.side_band => format!("ng {name} refused by the rules\n"),
                Err(reason) => format!("ng {name} {}\n", shown(reason)),
            };
            put(line.as_bytes(), &mut status);
        }
        status.extend(FLUSH);
        if !self.side_band {
            return status;
        }
        let words = match outcome {
            Ok(entry) => format!("gitcoin: {} has {}\n", entry.name, entry.balance),
            Err(reason) => format!("gitcoin: {}\n", shown(reason)),
        };
        let mut out = Vec::new();
        put_band(2, words.as_bytes(), &mut out);
        put_band(1, &status, &mut out);
        out.extend(FLUSH);
        out
    }
}

/// Reads `OLD NEW NAME`.
fn update(command: &[u8]) -> Result<RefUpdate, ProtocolError> {
    let text = String::from_utf8_lossy(command);
    let malformed = || ProtocolError::Command(shown(&text));
    let mut words = text.splitn(3, ' ');
    let mut id = || words.next().and_then(|word| word.parse().ok());
    let (old, new) = (id().ok_or_else(malformed)?, id().ok_or_else(malformed)?);
    let name = words.next().filter(|name| !name.is_empty());
    Ok(RefUpdate {
        old,
        new,
        name: name.ok_or_else(malformed)?.to_owned(),
    })
}

/// One line of text, of bounded length, for a terminal.
pub fn shown(reason: &str) -> String {
    let mut text: String = reason
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(REASON_MAX)
        .collect();
    if reason.chars().nth(REASON_MAX).is_some() {
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const OLD: &str = "1111111111111111111111111111111111111111";
    const NEW: &str = "2222222222222222222222222222222222222222";

    fn body(lines: &[&str], pack: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        for line in lines {
            put(line.as_bytes(), &mut out);
        }
        out.extend(FLUSH);
        out.extend(pack);
        out
    }

    #[test]
    fn a_push_is_taken_apart() {
        let line = format!("{OLD} {NEW} refs/heads/master\0 report-status side-band-64k\n");
        let bytes = body(&[&format!("shallow {OLD}"), &line], b"PACK...");
        let push = Push::parse(&bytes).unwrap();
        assert_eq!(push.updates[0].name, "refs/heads/master");
        assert_eq!(push.updates[0].new.to_string(), NEW);
        assert_eq!(push.pack, b"PACK...");
        assert!(push.side_band);
        assert_eq!(Push::parse(FLUSH).unwrap().updates, []);
    }

    #[test]
    fn what_is_no_push_is_refused_by_name() {
        let refuse = |lines: &[&str]| Push::parse(&body(lines, b"")).unwrap_err();
        for bad in [
            "",
            "x",
            "push-cert",
            &format!("{OLD} {NEW}"),
            &format!("{OLD} {NEW} "),
        ] {
            assert!(matches!(refuse(&[bad]), ProtocolError::Command(_)), "{bad}");
        }
        let line = format!("{OLD} {NEW} refs/heads/x");
        assert_eq!(refuse(&[line.as_str(); 65]), ProtocolError::TooManyUpdates);
        for cut in [&b""[..], b"00", b"0009ab", b"0006a\n"] {
            assert!(Push::parse(cut).is_err());
        }
    }

    #[test]
    fn the_report_names_each_ref_and_the_reason_on_one_line() {
        let line = format!("{OLD} {NEW} refs/heads/master");
        let bytes = body(&[&line], b"");
        let push = Push::parse(&bytes).unwrap();
        let reason = "no\nway".to_owned();
        let report = String::from_utf8(push.report(&Err(reason.clone()))).unwrap();
        assert_eq!(
            report,
            "000eunpack ok\n0020ng refs/heads/master no way\n0000"
        );
        let line = format!("{line}\0side-band-64k");
        let bytes = body(&[&line], b"");
        let report = Push::parse(&bytes).unwrap().report(&Err(reason));
        let text = String::from_utf8_lossy(&report);
        assert!(text.contains("\u{2}gitcoin: no way\n"), "{text}");
        assert!(
            text.contains("ng refs/heads/master refused by the rules"),
            "{text}"
        );
        assert!(text.ends_with("00000000"), "{text}");
        assert_eq!(shown(&"x".repeat(9000)).chars().count(), REASON_MAX + 1);
    }

    proptest! {
        #[test]
        fn nothing_that_arrives_panics(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = Push::parse(&bytes);
            let _ = Push::parse(&[format!("{:04x}", bytes.len() + 4).as_bytes(), &bytes, FLUSH].concat());
        }
    }
}
