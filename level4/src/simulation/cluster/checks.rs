//! What has to hold: of every replica's standing, of the whole at the end, and of the history.

use std::collections::HashMap;

use crate::consensus::{Apply, Members, Standing};
use crate::ids::Index;
use bytes::Bytes;

use super::{Cluster, FAULTS_END, FOUND_WITHIN, FOUND_WITHIN_ENTRIES, Spoilt, Step};
use crate::simulation::ledger::Defect;

impl Cluster {
    /// The cluster found something out about a replica.
    pub(super) fn found(&mut self, place: usize, standing: Standing) {
        if let Standing::Parted(index) = standing
            && !self.spread
            && !self.to_skip.contains(&index)
        {
            let Some(spoilt) = self.spoilt else {
                panic!("nothing was spoilt, and {place} is said to have parted at {index}");
            };
            let applied = spoilt.applied;
            self.summary.parted += 1;
            // Another one may have got it by a snapshot.
            let right = spoilt.place == place || self.has_defect(place);
            assert!(
                right,
                "{place} is said to have parted, not {}",
                spoilt.place
            );
            assert!(index > applied, "it was whole at {index}");
            assert!(
                index <= applied + FOUND_WITHIN_ENTRIES,
                "found too late: at {index}, spoilt after {applied}"
            );
        }
    }

    /// Whether a running replica is not as it should be.
    pub(super) fn has_defect(&self, place: usize) -> bool {
        let process = self.slots[place].process.as_ref();
        process.is_some_and(|process| process.machine.look().defect != Defect::None)
    }

    /// Whether so many are spoilt that a majority may be; one that is down is what it was.
    pub(super) fn note_spread(&mut self) {
        let Some(spoilt) = self.spoilt else {
            return;
        };
        let is_up = self.slots[spoilt.place].process.is_some();
        let count = (0..self.slots.len())
            .filter(|&place| self.has_defect(place) || place == spoilt.place && !is_up)
            .count();
        self.spread |= count > 1;
    }

    /// Whether a replica waits to hear which of two contents is the right one: entries that lead to the
    /// next comparison help.
    pub(super) fn is_in_doubt(&self) -> bool {
        let mut processes = self.slots.iter().filter_map(|slot| slot.process.as_ref());
        processes.any(|process| matches!(process.core.standing(), Standing::Doubtful(_)))
    }

    pub(super) fn settled(&self) -> bool {
        if self.clients.iter().any(|client| client.waiting.is_some()) {
            return false;
        }
        // What was never executed on shows in nothing.
        let shows = self.spoilt.is_some_and(|spoilt| spoilt.executed.is_some());
        let may_differ = self.spread || !shows;
        let whole: Option<Vec<(Members, Index, Index)>> = self
            .slots
            .iter()
            .map(|slot| {
                let process = slot.process.as_ref()?;
                let status = process.core.status();
                let idle = status.waiting == 0 && process.applies.is_empty();
                let whole = status.standing == Standing::Sound
                    && (process.machine.look().defect != Defect::Visible || may_differ);
                let votes = status.voters.len() == status.members.len();
                let known =
                    status.removed.is_none() && status.members.get(&slot.id) == Some(&slot.name);
                (idle && whole && votes && known).then_some((
                    status.members,
                    status.commit_index,
                    status.applied_index,
                ))
            })
            .collect();
        let Some(whole) = whole else { return false };
        let (members, commit, _) = &whole[0];
        members.len() == self.slots.len()
            && whole
                .iter()
                .all(|(m, c, a)| m == members && c == commit && a == commit)
    }

    /// A spoilt replica has to be known for one, some time after all is whole, it has executed something, and its
    /// process, which knows nothing of what it compared in an earlier life, has begun.
    pub(super) fn expect_found(&self) {
        let Some(Spoilt {
            place,
            executed: Some(since),
            ..
        }) = self.spoilt
        else {
            return;
        };
        let began = self.slots[place].began;
        let whole = since.max(FAULTS_END).max(began) + FOUND_WITHIN;
        if self.spread || self.now < whole {
            return;
        }
        if let Some(process) = &self.slots[place].process {
            let unknown = process.core.standing() == Standing::Sound
                && process.machine.look().defect == Defect::Visible;
            // What it has is of no use any more, and goes when it comes to the end of what it is at.
            let is_replaced = |step: &Step| matches!(step, Step::Apply(Apply::Restore(_)));
            let status = process.core.status();
            let is_behind = status.receiving_snapshot
                // It has just come, and is not handed out yet.
                || process.applies.is_empty() && status.applied_index < status.commit_index;
            assert!(
                !unknown || is_behind || process.applies.iter().any(is_replaced),
                "the spoilt replica is not found: {}",
                self.describe()
            );
        }
    }

    pub(super) fn describe(&self) -> String {
        let slots = self.slots.iter().map(|slot| {
            slot.process.as_ref().map_or_else(String::new, |p| {
                let next = match p.applies.front() {
                    Some(Step::Apply(step)) => format!("{step:?}"),
                    Some(Step::Read(_)) => "a read".to_owned(),
                    None => "nothing".to_owned(),
                };
                let status = p.core.status();
                let defect = p.machine.look().defect;
                let saved = p.log.saved_snapshot().ok().flatten();
                let saved = saved.map_or(0, |saved| saved.get_metadata().index);
                format!(
                    "\n{status:?}, {} to apply, first {next}; saved at {saved}; defect: {defect:?}",
                    p.applies.len()
                )
            })
        });
        slots.collect()
    }

    pub(super) fn check(&self) {
        let mut positions: HashMap<&Bytes, u64> = HashMap::new();
        for ((_, text), position) in self.history.iter().zip(0..) {
            assert_eq!(positions.insert(text, position), None, "{text:?} ran twice");
        }
        for (text, position) in &self.acknowledged {
            assert_eq!(
                positions.get(text),
                Some(position),
                "{text:?} was acknowledged and is lost"
            );
        }
    }
}
