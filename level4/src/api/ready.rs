//! `GET /readyz`: whether a request here would be answered, and if not, why.
//!
//! What is known at once is looked at first; then a read goes the whole way, to the leader, a majority and
//! this node's copy.

use std::time::Duration;

use axum::extract::State;

use super::params::{Parameters, flag, time};
use super::{Api, ApiError, operate, read_answer};
use crate::consensus::Status;
use crate::statement::{Statement, Statements};

/// A node that has to apply more entries than these first answers nothing soon.
const FAR_BEHIND: u64 = 10_000;
/// Without `?timeout=`, the read may take this long.
const PROBE_LIMIT: Duration = Duration::from_secs(2);

/// `GET /readyz`: 200 only if a request here would be answered. With `?noleader` (rqlite's), if the node
/// itself is well.
pub async fn ready(State(api): State<Api>, parameters: Parameters) -> Result<String, ApiError> {
    let limit = time(&parameters, "timeout")?.unwrap_or(PROBE_LIMIT);
    let status = api.status().await?;
    let mut text = "[+]node ok".to_owned();
    if api.transport.is_open() && !api.kept.is_rqlited {
        text.push_str("\n[!]peers insecure: whoever reaches this node can act as a member");
    }
    if flag(&parameters, "noleader") {
        return Ok(text);
    }
    let not_ready = |reason: String| Err(ApiError::unavailable(format!("{text}\n[-]{reason}")));
    if let Some(reason) = objection(&api, &status) {
        return not_ready(reason);
    }
    if status.leader.is_none() {
        return not_ready("leader not known".to_owned());
    }
    let probe = Statements::query(vec![Statement::plain("SELECT 1")]);
    let pending = api.node.read(probe, 1, Some(limit));
    if read_answer(pending, Some(limit)).await.is_err() {
        let reason = match api.node.applying() {
            Some(now) if now.since >= limit => format!(
                "state: the request at index {} has been running for {} s",
                now.index,
                now.since.as_secs()
            ),
            _ => format!(
                "quorum: no majority confirmed a read within {} ms",
                limit.as_millis()
            ),
        };
        return not_ready(reason);
    }
    text.push_str("\n[+]leader ok\n[+]store ok");
    if flag(&parameters, "sync") {
        // The read has seen everything that was committed before it.
        text.push_str("\n[+]sync ok");
    }
    text.push_str("\n[+]db ok");
    Ok(text)
}

/// Why a request would not be answered, as far as this node knows.
fn objection(api: &Api, status: &Status) -> Option<String> {
    if let Err(error) = api.is_open() {
        return Some(format!("node: {error}"));
    }
    of_status(status, api.node.figures.is_disk_full())
}

fn of_status(status: &Status, is_disk_full: bool) -> Option<String> {
    if status.removed.is_some() {
        return Some(
            "membership: this node has been removed from its cluster; --join has it taken in again"
                .to_owned(),
        );
    }
    if !status.members.contains_key(&status.id) {
        return Some("membership: this node is no member of a cluster yet".to_owned());
    }
    if let Some(reason) = operate::objection(status) {
        return Some(format!("state: {reason}"));
    }
    if is_disk_full {
        return Some("disk: full, so that nothing can be written here".to_owned());
    }
    if status.receiving_snapshot {
        return Some("state: a snapshot is on its way to this node".to_owned());
    }
    let behind = status.commit_index.since(status.applied_index);
    (behind > FAR_BEHIND).then(|| format!("state: {behind} entries behind"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::consensus::{JoinCounts, Removal, Standing};
    use crate::ids::{Index, NodeId, Term};

    #[test]
    fn each_reason_not_to_be_ready_is_told() {
        let id = NodeId::new(7);
        let well = Status {
            id,
            role: "leader",
            term: Term::new(1),
            leader: Some(id),
            last_index: Index::new(FAR_BEHIND + 5),
            commit_index: Index::new(FAR_BEHIND + 5),
            applied_index: Index::new(5),
            applied_term: Term::new(1),
            waiting: 0,
            members: [(id, String::new())].into(),
            members_as_of: Index::new(1),
            removed: None,
            voters: vec![id],
            standing: Standing::Sound,
            mixed_engines: false,
            stuck_at: None,
            receiving_snapshot: false,
            leader_silence: Some(0),
            changing: false,
            joins: JoinCounts::default(),
        };
        assert_eq!(of_status(&well, false), None);
        let changed = |change: &dyn Fn(&mut Status)| {
            let mut status = well.clone();
            change(&mut status);
            of_status(&status, false).unwrap()
        };
        let behind = changed(&|status| status.applied_index = Index::new(4));
        assert_eq!(behind, "state: 10001 entries behind");
        assert!(of_status(&well, true).unwrap().starts_with("disk: full"));
        assert!(changed(&|status| status.receiving_snapshot = true).contains("a snapshot"));
        assert!(changed(&|status| status.members.clear()).contains("no member"));
        assert!(changed(&|status| status.removed = Some(Removal::Absent)).contains("removed"));
        let at = Index::new(3);
        for standing in [Standing::Parted(at), Standing::Doubtful(at)] {
            assert!(changed(&|status| status.standing = standing).contains("at index 3"));
        }
    }
}
