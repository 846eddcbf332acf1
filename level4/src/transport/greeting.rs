//! The greeting of two nodes: who they are, proof that they belong together, or why not.
//!
//! | who | says |
//! |---|---|
//! | dials | [`Hello`] |
//! | accepts | [`Hello`], and behind it a proof for each secret it has; or a refusal, in words |
//! | dials | its proofs, if both have secrets, and blocks of frames at once |
//!
//! Each message is `00 L4P`, version, u32 length, kind, content; see [`crate::security`] for the proofs.
//! Every version keeps the magic, its place and the length, so that versions can refuse each other by name.

use tokio::io::AsyncReadExt as _;

use super::Socket;
use crate::codec::{Malformed, Reader, Writer};
use crate::consensus::{Membership, decode_members, encode_members};
use crate::ids::{ClusterId, Index, NodeId};
use crate::security::{PROOF, Proof};

/// No HTTP request begins with a zero byte, so both protocols share a socket.
pub const MAGIC: [u8; 4] = [0, b'L', b'4', b'P'];
/// The version of greeting and frames.
pub const VERSION: u8 = 2;
/// Magic, version and length, bytes.
pub const HEAD: usize = MAGIC.len() + 5;
/// A greeting is shorter than this, bytes.
const LIMIT: usize = 64 * 1024;
/// Names of nodes are addresses, and not longer than this, bytes.
pub const NAME_LIMIT: usize = 255;
/// Of a refusal so many characters are shown.
const SHOWN: usize = 300;

/// A random number said once, so that no greeting is like an earlier one.
pub type Nonce = [u8; 32];
/// What a node is given on a connection, and shows when it connects again while that one still seems to
/// be there.
pub type Ticket = [u8; 16];

/// The first thing each side says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hello {
    /// `None`: belongs to none yet.
    pub cluster: Option<ClusterId>,
    /// Who speaks.
    pub node: NodeId,
    /// Its address for its peers.
    pub name: String,
    /// Drawn for this greeting.
    pub nonce: Nonce,
    /// Proofs follow, and are expected.
    pub proves: bool,
    /// As given by the other end on an earlier connection; zeros: none.
    pub ticket: Ticket,
    /// The members that it knows of.
    pub membership: Membership,
}

/// One message of a greeting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Greeting {
    /// Who speaks.
    Hello(Hello),
    /// That it knows the secret, or one of two.
    Proofs(Vec<Proof>),
    /// Why there will be no connection.
    Refusal(String),
}

impl Hello {
    fn encode(&self, writer: &mut Writer) {
        writer.uint(ClusterId::number(self.cluster));
        writer.uint(self.node.get());
        writer.bytes(self.name.as_bytes());
        writer.raw(&self.nonce);
        writer.byte(u8::from(self.proves));
        writer.raw(&self.ticket);
        writer.uint(self.membership.as_of.get());
        encode_members(&self.membership.members, writer);
    }

    fn decode(reader: &mut Reader) -> Result<Self, Malformed> {
        Ok(Self {
            cluster: ClusterId::new(reader.uint()?),
            node: NodeId::new(reader.uint()?),
            name: reader.text()?,
            nonce: reader.array()?,
            proves: reader.byte()? == 1,
            ticket: reader.array()?,
            membership: Membership {
                as_of: Index::new(reader.uint()?),
                members: decode_members(reader)?,
            },
        })
    }
}

impl Greeting {
    /// With magic, version and length.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        match self {
            Self::Hello(hello) => {
                writer.byte(0);
                hello.encode(&mut writer);
            }
            Self::Proofs(proofs) => {
                writer.byte(1);
                for proof in proofs {
                    writer.raw(proof);
                }
            }
            Self::Refusal(reason) => {
                writer.byte(2);
                writer.raw(reason.as_bytes());
            }
        }
        let body = writer.finish();
        [
            &MAGIC[..],
            &[VERSION],
            &(body.len() as u32).to_le_bytes(),
            &body,
        ]
        .concat()
    }

    /// Without magic, version and length.
    ///
    /// # Errors
    ///
    /// If it is not in the format.
    pub fn decode(body: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(body);
        Ok(match reader.byte()? {
            0 => Self::Hello(Hello::decode(&mut reader)?),
            1 => {
                let (proofs, rest) = reader.rest().as_chunks::<PROOF>();
                if !rest.is_empty() {
                    return Err(Malformed { at: 1 });
                }
                Self::Proofs(proofs.to_vec())
            }
            2 => Self::Refusal(printable(&String::from_utf8_lossy(reader.rest()))),
            _ => return Err(Malformed { at: 0 }),
        })
    }
}

/// Text of another node's in a form that is one line of a log, and not a long one.
pub fn printable(text: &str) -> String {
    let shown = text.chars().take(SHOWN);
    shown
        .map(|c| if c.is_control() { '?' } else { c })
        .collect()
}

/// Why what came is no greeting.
#[derive(Debug, thiserror::Error)]
pub enum Unread {
    /// It did not come.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// Not this protocol.
    #[error("not a level4 node")]
    Foreign,
    /// Another release.
    #[error(
        "it speaks version {0} of the protocol between nodes, and this node version {VERSION}: run the same release of level4 on all nodes"
    )]
    Version(u8),
    /// Longer than any greeting.
    #[error("a greeting too long")]
    TooLong,
    /// Not in the format.
    #[error(transparent)]
    Malformed(#[from] Malformed),
}

/// Reads one message of a greeting; gives its body as well, for proofs.
///
/// # Errors
///
/// If it does not come, or is none of this version's.
pub async fn read(socket: &mut Box<dyn Socket>) -> Result<(Greeting, Vec<u8>), Unread> {
    let mut head = [0; HEAD];
    socket.read_exact(&mut head).await?;
    let (magic, rest) = head.split_at(MAGIC.len());
    if magic != MAGIC {
        return Err(Unread::Foreign);
    }
    if rest[0] != VERSION {
        return Err(Unread::Version(rest[0]));
    }
    let length = u32::from_le_bytes([rest[1], rest[2], rest[3], rest[4]]) as usize;
    if length > LIMIT {
        return Err(Unread::TooLong);
    }
    let mut body = vec![0; length];
    socket.read_exact(&mut body).await?;
    Ok((Greeting::decode(&body)?, body))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::consensus::Members;
    use proptest::prelude::*;

    #[test]
    fn greetings_survive() {
        let hello = Hello {
            cluster: ClusterId::new(9),
            node: NodeId::new(3),
            name: "./node0.sock".to_owned(),
            nonce: [7; 32],
            proves: true,
            ticket: [9; 16],
            membership: Membership {
                as_of: Index::new(77),
                members: Members::from([(NodeId::new(3), "./node0.sock".to_owned())]),
            },
        };
        for greeting in [
            Greeting::Hello(hello),
            Greeting::Proofs(vec![[1; PROOF], [2; PROOF]]),
            Greeting::Refusal("no".to_owned()),
        ] {
            let bytes = greeting.encode();
            assert_eq!(Greeting::decode(&bytes[9..]).unwrap(), greeting);
        }
    }

    #[tokio::test]
    async fn another_version_is_refused_by_name() {
        let mut bytes = Greeting::Refusal(String::new()).encode();
        bytes[4] = 9;
        let mut socket: Box<dyn Socket> = Box::new(std::io::Cursor::new(bytes));
        let reason = read(&mut socket).await.unwrap_err().to_string();
        assert!(reason.contains("version 9") && reason.contains("run the same release"));
    }

    #[test]
    fn what_another_node_says_is_one_line() {
        let reason = Greeting::Refusal("a\nlevel4: b\x1b[2J".repeat(99)).encode();
        let Ok(Greeting::Refusal(shown)) = Greeting::decode(&reason[9..]) else {
            panic!("a refusal");
        };
        assert!(shown.len() <= SHOWN && !shown.contains(['\n', '\x1b']));
    }

    proptest! {
        #[test]
        fn garbage_is_refused_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = Greeting::decode(&bytes);
        }
    }
}
