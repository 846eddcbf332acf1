//! How two nodes greet each other: who says what first, and when one turns the other away.
//!
//! The words are in [`super::greeting`], and who is welcome is for [`super::roster::Roster::check`] to say. Whoever
//! dialled shows its proofs only to an end that has shown its own; and what a peer says of the members
//! counts only once it has proved that it belongs to them.

use std::sync::Arc;

use tokio::io::AsyncWriteExt as _;

use super::course::Course;
use super::greeting::{self, Greeting, Hello, Nonce, Unread, printable};
use super::roster::{CONNECTED, Refused};
use super::stream::{self, Connected, Socket};
use super::{Transport, text};
use crate::ids::{Index, NodeId};
use crate::security::{Proof, Role, Secret, Security, transcript};

/// What is said of one whose proof is none.
const UNPROVED: &str = "the two do not know the same cluster secret";
/// What is said to one from another machine.
const ELSEWHERE: &str =
    "peers are accepted from this machine only: give all nodes a --secret-file or certificates";

/// A peer whose greeting is over.
pub(super) struct Greeted {
    pub socket: Box<dyn Socket>,
    /// What the greeting took of it.
    pub course: Course,
    pub hello: Hello,
    pub secret: Option<Secret>,
    /// By which it was let in.
    pub security: Arc<Security>,
    /// Of the membership that this node told.
    pub told: Index,
}

/// A connection during the greeting, and how much has been said on it.
pub(super) struct Spoken {
    socket: Box<dyn Socket>,
    written: u64,
    read: u64,
}

impl Spoken {
    pub(super) fn new(socket: Box<dyn Socket>) -> Self {
        Self {
            socket,
            written: 0,
            read: 0,
        }
    }

    pub(super) async fn say(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.socket.write_all(bytes).await.map_err(text)?;
        self.written += bytes.len() as u64;
        self.socket.flush().await.map_err(text)
    }

    /// Tells the other end why, for its own log.
    pub(super) async fn turn_away(&mut self, reason: String) {
        // It may be gone already.
        let _ = self.say(&Greeting::Refusal(reason).encode()).await;
    }

    pub(super) async fn hear(&mut self) -> Result<(Greeting, Vec<u8>), Unread> {
        let heard = greeting::read(&mut self.socket).await?;
        self.read += (greeting::HEAD + heard.1.len()) as u64;
        Ok(heard)
    }

    /// Reads the proofs of the other end, which has this role; gives the secret that it knows.
    pub(super) async fn verify(
        &mut self,
        security: &Security,
        role: Role,
        transcript: &[u8],
    ) -> Result<Secret, String> {
        let shown = match self.hear().await.map_err(text)? {
            (Greeting::Proofs(shown), _) => shown,
            (Greeting::Refusal(reason), _) => return Err(reason),
            (Greeting::Hello(_), _) => return Err(UNPROVED.to_owned()),
        };
        let known = security.secrets.iter().find(|secret| {
            let mut shown = shown.iter();
            shown.any(|proof| secret.verifies(role, transcript, proof))
        });
        known.cloned().ok_or_else(|| UNPROVED.to_owned())
    }

    /// The greeting is over; whoever dialled had drawn this nonce.
    fn end(self, dialler: &Nonce) -> (Box<dyn Socket>, Course) {
        let course = Course::new(dialler, self.written, self.read);
        (self.socket, course)
    }
}

impl Transport {
    /// The greeting of a node that dials.
    pub(super) async fn greet(
        &self,
        address: &str,
        expected: Option<NodeId>,
    ) -> Result<Greeted, String> {
        let (security, own) = {
            let roster = self.roster();
            (roster.security.clone(), roster.hello(expected))
        };
        let connected = stream::connect(address).await.map_err(text)?;
        if !security.admits(connected.local) {
            return Err(self.refuse(format!(
                "{address} is not on this machine, and this node can prove nothing to it: give all nodes a --secret-file or certificates"
            )));
        }
        let socket = match &security.tls {
            Some(tls) => tls.dial(address, connected.socket).await.map_err(|error| {
                self.refuse(format!(
                    "{address} is not taken for a peer, by TLS: {error}"
                ))
            })?,
            None => connected.socket,
        };
        let mut line = Spoken::new(socket);
        let said = Greeting::Hello(own.clone()).encode();
        line.say(&said).await?;
        let (hello, body) = match line.hear().await {
            Ok((Greeting::Hello(hello), body)) => (hello, body),
            Ok((Greeting::Refusal(reason), _)) => {
                let reason = format!("{address} refuses this node: {reason}");
                // Of an earlier connection of this node's, which goes when it has been silent.
                let passes = reason.contains(CONNECTED);
                return Err(if passes { reason } else { self.refuse(reason) });
            }
            Ok((Greeting::Proofs(_), _)) => return Err("proofs before a greeting".to_owned()),
            Err(error @ Unread::Version(_)) => {
                return Err(self.refuse(format!("{address}: {error}")));
            }
            Err(error) => return Err(error.to_string()),
        };
        if expected.is_some_and(|id| id != hello.node) {
            return Err(format!("another node, {}, answers there", hello.node));
        }
        let told = own.membership.as_of;
        let transcript = transcript(&said[greeting::HEAD..], &body);
        let secret = if own.proves && hello.proves {
            let secret = match line.verify(&security, Role::Accepts, &transcript).await {
                Ok(secret) => secret,
                Err(reason) => {
                    line.turn_away(UNPROVED.to_owned()).await;
                    return Err(self.refuse(format!("{address}: {reason}")));
                }
            };
            line.say(&proofs(&security, Role::Dials, &transcript))
                .await?;
            Some(secret)
        } else {
            None
        };
        if let Err(Refused { reason, passes }) = self.check(&hello, true) {
            let reason = format!("{address} is not taken for a peer: {reason}");
            return Err(if passes { reason } else { self.refuse(reason) });
        }
        let (socket, course) = line.end(&own.nonce);
        Ok(Greeted {
            socket,
            course,
            hello,
            secret,
            security,
            told,
        })
    }

    /// The greeting of a node that was dialled.
    pub(super) async fn welcome(&self, connected: Connected) -> Result<Greeted, String> {
        let Connected {
            socket,
            local,
            from,
        } = connected;
        let security = self.roster().security.clone();
        let socket = match &security.tls {
            Some(tls) => tls.accept(socket).await.map_err(|error| {
                self.refuse(format!("a peer from {from} was refused, by TLS: {error}"))
            })?,
            None => socket,
        };
        let mut line = Spoken::new(socket);
        let (hello, body) = match line.hear().await {
            Ok((Greeting::Hello(hello), body)) => (hello, body),
            Ok(_) => return Err("no greeting".to_owned()),
            Err(error @ Unread::Version(_)) => {
                line.turn_away(error.to_string()).await;
                return Err(self.refuse(format!("a peer from {from} was refused: {error}")));
            }
            Err(error) => return Err(error.to_string()),
        };
        let checked = if security.admits(local) {
            self.check(&hello, false)
        } else {
            Err(Refused::told(ELSEWHERE))
        };
        let named = |reason: &str| {
            let name = printable(&hello.name);
            format!("{name}, from {from}, was refused: {reason}")
        };
        if let Err(Refused { reason, passes }) = checked {
            let named = named(&reason);
            line.turn_away(reason).await;
            return Err(if passes { named } else { self.refuse(named) });
        }
        let own = self.roster().hello(None);
        let told = own.membership.as_of;
        let mut said = Greeting::Hello(own.clone()).encode();
        let transcript = transcript(&body, &said[greeting::HEAD..]);
        let mut secret = None;
        if own.proves && hello.proves {
            said.extend(proofs(&security, Role::Accepts, &transcript));
            line.say(&said).await?;
            match line.verify(&security, Role::Dials, &transcript).await {
                Ok(found) => secret = Some(found),
                Err(reason) => return Err(self.refuse(named(&reason))),
            }
        } else {
            line.say(&said).await?;
        }
        let (socket, course) = line.end(&hello.nonce);
        Ok(Greeted {
            socket,
            course,
            hello,
            secret,
            security,
            told,
        })
    }

    /// Whether to talk to the author of this greeting; see `Roster::check`.
    fn check(&self, hello: &Hello, dialled: bool) -> Result<(), Refused> {
        let joined = self.roster().check(hello, dialled, self.now())?;
        if let Some(cluster) = joined {
            (self.on_cluster)(cluster);
        }
        Ok(())
    }
}

/// A proof by each secret.
pub(super) fn proofs(security: &Security, role: Role, transcript: &[u8]) -> Vec<u8> {
    let secrets = security.secrets.iter();
    let proofs: Vec<Proof> = secrets
        .map(|secret| secret.prove(role, transcript))
        .collect();
    Greeting::Proofs(proofs).encode()
}
