//! How nodes that belong to no cluster yet meet, to agree on who founds one.
//!
//! They greet as peers do, with their proofs, and hang up. A member of a cluster answers such a greeting
//! like any newcomer's, and so is known.

use std::time::Duration;

use rand::RngCore as _;
use tokio::time::timeout;

use super::greeting::{self, Greeting, Hello, Nonce, Ticket};
use super::handshake::{Spoken, proofs};
use super::stream::{self, Connected, Socket};
use super::text;
use crate::consensus::Membership;
use crate::ids::NodeId;
use crate::security::{Role, Security, transcript};

/// How long a meeting may take.
const LIMIT: Duration = Duration::from_secs(3);

/// Who answers at an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Met {
    /// A node without a cluster, by the number that it drew.
    Waiting(NodeId),
    /// A member of a cluster.
    Member,
}

/// A node that waits for others.
#[derive(Debug)]
pub struct Meeting {
    /// Drawn for these meetings.
    pub number: NodeId,
    name: String,
    security: Security,
}

impl Meeting {
    /// A node that will be known by `name`.
    pub fn new(name: &str, security: Security) -> Self {
        let number = rand::rng().next_u64().max(1);
        Self {
            number: NodeId::new(number),
            name: name.to_owned(),
            security,
        }
    }

    fn hello(&self) -> Hello {
        let mut nonce = Nonce::default();
        rand::rng().fill_bytes(&mut nonce);
        Hello {
            cluster: None,
            node: self.number,
            name: self.name.clone(),
            nonce,
            proves: !self.security.secrets.is_empty(),
            ticket: Ticket::default(),
            membership: Membership::default(),
        }
    }

    /// Asks who is at `address`.
    ///
    /// # Errors
    ///
    /// In words, if nobody is, or nobody who belongs here.
    pub async fn ask(&self, address: &str) -> Result<Met, String> {
        let late = |_| "no greeting".to_owned();
        timeout(LIMIT, self.ask_now(address)).await.map_err(late)?
    }

    async fn ask_now(&self, address: &str) -> Result<Met, String> {
        let connected = stream::connect(address).await.map_err(text)?;
        self.admit(&connected)?;
        let socket: Box<dyn Socket> = match &self.security.tls {
            Some(tls) => tls.dial(address, connected.socket).await.map_err(text)?,
            None => connected.socket,
        };
        let mut line = Spoken::new(socket);
        let own = self.hello();
        let said = Greeting::Hello(own).encode();
        line.say(&said).await?;
        let (hello, body) = match line.hear().await.map_err(text)? {
            (Greeting::Hello(hello), body) => (hello, body),
            (Greeting::Refusal(reason), _) => return Err(reason),
            (Greeting::Proofs(_), _) => return Err("proofs before a greeting".to_owned()),
        };
        self.expect_proofs(&hello)?;
        if hello.proves {
            let transcript = transcript(&said[greeting::HEAD..], &body);
            line.verify(&self.security, Role::Accepts, &transcript)
                .await?;
        }
        Ok(match hello.cluster {
            Some(_) => Met::Member,
            None => Met::Waiting(hello.node),
        })
    }

    /// Answers one that asks.
    ///
    /// # Errors
    ///
    /// In words, if it is none that belongs here.
    pub async fn answer(&self, connected: Connected) -> Result<(), String> {
        let late = |_| "no greeting".to_owned();
        timeout(LIMIT, self.answer_now(connected))
            .await
            .map_err(late)?
    }

    async fn answer_now(&self, connected: Connected) -> Result<(), String> {
        self.admit(&connected)?;
        let socket = match &self.security.tls {
            Some(tls) => tls.accept(connected.socket).await.map_err(text)?,
            None => connected.socket,
        };
        let mut line = Spoken::new(socket);
        let (Greeting::Hello(hello), body) = line.hear().await.map_err(text)? else {
            return Err("no greeting".to_owned());
        };
        if let Err(reason) = self.expect_proofs(&hello) {
            line.turn_away(reason.clone()).await;
            return Err(reason);
        }
        let mut said = Greeting::Hello(self.hello()).encode();
        if hello.proves {
            let transcript = transcript(&body, &said[greeting::HEAD..]);
            said.extend(proofs(&self.security, Role::Accepts, &transcript));
        }
        line.say(&said).await
    }

    fn admit(&self, connected: &Connected) -> Result<(), String> {
        if self.security.admits(connected.local) {
            return Ok(());
        }
        Err(format!(
            "{} is not on this machine, and this node can prove nothing to it: give all nodes a --secret-file or certificates",
            connected.from
        ))
    }

    /// Either both have a secret, or neither.
    fn expect_proofs(&self, hello: &Hello) -> Result<(), String> {
        if hello.proves == self.security.secrets.is_empty() {
            return Err("one has a cluster secret, and the other none".to_owned());
        }
        Ok(())
    }
}
