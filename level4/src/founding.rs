//! Nodes that are started all at once, without one that founds: they wait until so many are there as were
//! announced, and the one that drew the smallest number founds the cluster, which the others join.
//!
//! Only who sees them all may found, and only as long as none of them belongs to a cluster. So a node that
//! comes back without its disk finds the cluster that it was in, or waits for those who know it.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::ids::NodeId;
use crate::notes::{detail, note};
use crate::transport::{Listener, Meeting, Met};

/// All are asked again after this.
const ASK_AGAIN: Duration = Duration::from_millis(200);
/// What is missing is said this often.
const SAY_AGAIN: Duration = Duration::from_secs(10);

/// How many nodes found a cluster, and how they find each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Founders {
    /// So many, this one among them.
    pub count: usize,
    /// How long to wait for them.
    pub patience: Duration,
}

/// Where the addresses of other nodes come from, besides those that were given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Discovery {
    /// A host's name, each of whose addresses is a node's.
    pub name: String,
    /// The port of them all.
    pub port: u16,
}

/// Not all came.
#[derive(Debug, thiserror::Error)]
#[error(
    "only {seen} of {count} nodes have come in {} s: {missing}", patience.as_secs()
)]
pub struct NotAllCame {
    seen: usize,
    count: usize,
    patience: Duration,
    /// What the last one said that could not be met.
    missing: String,
}

/// What a node is to do.
#[derive(Debug, PartialEq, Eq)]
pub enum Part {
    /// Found the cluster.
    Found,
    /// Join through this member.
    Join(String),
}

/// The addresses given and discovered.
pub async fn addresses(given: &[String], discovery: Option<&Discovery>) -> Vec<String> {
    let mut all = given.to_vec();
    if let Some(Discovery { name, port }) = discovery {
        match tokio::net::lookup_host((name.as_str(), *port)).await {
            Ok(found) => all.extend(found.map(|address| address.to_string())),
            Err(error) => detail(format_args!("cannot look up {name}: {error}")),
        }
    }
    all
}

/// Waits until it is known who founds the cluster. Meanwhile answers those who come in by `listener`.
///
/// # Errors
///
/// If not all come in time.
pub async fn agree(
    meeting: Meeting,
    founders: &Founders,
    given: &[String],
    discovery: Option<&Discovery>,
    listener: &Listener,
) -> Result<Part, NotAllCame> {
    let meeting = std::sync::Arc::new(meeting);
    let answering = async {
        loop {
            match listener.accept().await {
                Ok(connected) => {
                    let meeting = meeting.clone();
                    tokio::spawn(async move {
                        if let Err(reason) = meeting.answer(connected).await {
                            detail(format_args!("nobody to found a cluster with: {reason}"));
                        }
                    });
                }
                Err(_) => sleep(ASK_AGAIN).await,
            }
        }
    };
    let asking = ask_all(&meeting, founders, given, discovery);
    tokio::select! {
        part = asking => part,
        () = answering => unreachable!("it goes on for ever"),
    }
}

async fn ask_all(
    meeting: &Meeting,
    founders: &Founders,
    given: &[String],
    discovery: Option<&Discovery>,
) -> Result<Part, NotAllCame> {
    let deadline = Instant::now() + founders.patience;
    let mut said = Instant::now();
    loop {
        let mut waiting = BTreeSet::from([meeting.number]);
        let mut missing = "no address of theirs is known".to_owned();
        for address in addresses(given, discovery).await {
            match meeting.ask(&address).await {
                Ok(Met::Member) => return Ok(Part::Join(address)),
                Ok(Met::Waiting(number)) => {
                    waiting.insert(number);
                }
                Err(reason) => missing = format!("{address}: {reason}"),
            }
        }
        if founds(meeting.number, &waiting, founders.count) {
            return Ok(Part::Found);
        }
        let seen = waiting.len();
        if Instant::now() >= deadline {
            return Err(NotAllCame {
                seen,
                count: founders.count,
                patience: founders.patience,
                missing,
            });
        }
        if seen < founders.count && said.elapsed() >= SAY_AGAIN {
            let count = founders.count;
            note(format_args!("{seen} of {count} nodes are here: {missing}"));
            said = Instant::now();
        }
        sleep(ASK_AGAIN).await;
    }
}

/// Whether it is for the node `own` to found.
fn founds(own: NodeId, waiting: &BTreeSet<NodeId>, count: usize) -> bool {
    waiting.len() >= count && waiting.first() == Some(&own)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::security::Security;

    #[test]
    fn only_the_first_of_all_founds() {
        let ids = |numbers: &[u64]| numbers.iter().copied().map(NodeId::new).collect();
        assert!(founds(NodeId::new(1), &ids(&[1, 2, 3]), 3));
        assert!(!founds(NodeId::new(2), &ids(&[1, 2, 3]), 3));
        assert!(!founds(NodeId::new(1), &ids(&[1, 2]), 3));
        assert!(founds(NodeId::new(1), &ids(&[1]), 1));
    }

    #[tokio::test]
    async fn nodes_that_meet_know_each_other_and_one_of_them_founds() {
        let mut listeners = Vec::new();
        for _ in 0..2 {
            listeners.push(Listener::bind("127.0.0.1:0").await.unwrap());
        }
        let given: Vec<String> = listeners.iter().map(|l| l.address("")).collect();
        let founders = Founders {
            count: 2,
            patience: Duration::from_secs(60),
        };
        let meetings = [(); 2].map(|()| Meeting::new("x:1", Security::default()));
        let numbers = meetings.each_ref().map(|meeting| meeting.number);
        let [one, other] = meetings;
        let first = agree(one, &founders, &given, None, &listeners[0]);
        let second = agree(other, &founders, &given, None, &listeners[1]);
        // The other one goes on waiting for a member.
        let (part, is_first) = tokio::select! {
            part = first => (part, true),
            part = second => (part, false),
        };
        assert_eq!(part.unwrap(), Part::Found);
        assert_eq!(is_first, numbers[0] < numbers[1]);
    }

    #[tokio::test]
    async fn whoever_waits_in_vain_says_for_whom() {
        let listener = Listener::bind("127.0.0.1:0").await.unwrap();
        let founders = Founders {
            count: 3,
            patience: Duration::ZERO,
        };
        let meeting = Meeting::new("x:1", Security::default());
        let given = [listener.address("")];
        let error = agree(meeting, &founders, &given, None, &listener).await;
        let error = error.unwrap_err().to_string();
        assert!(error.contains("only 1 of 3 nodes"), "{error}");
    }
}
