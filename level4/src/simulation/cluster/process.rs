//! A process: how it starts from its disk, and what becomes of what goes into its core and comes out of it.

use std::collections::{BTreeSet, HashMap, VecDeque};

use bytes::Bytes;
use raft::eraftpb::HardState;
use rand::Rng as _;

use super::{CONTENT_EVERY, Cluster, Event, Process, SEGMENT, Step, TICK, TIMING, Time};
use crate::consensus::{
    Applied, Apply, Core, Effects, Offered, Persist, Standing, Start, asks_for_comparison,
    founding_entry,
};
use crate::ids::{Incarnation, Index, NodeId, Term};
use crate::log::Log;
use crate::machine::{ApplyError, Machine};
use crate::simulation::durable::Durable;
use crate::simulation::ledger::{Defect, Ledger, POISON};
use crate::simulation::plant::Plant;

impl Cluster {
    pub(super) fn start(&mut self, place: usize) {
        let mut tick = self.rng.random_range(0..TICK);
        let snapshot_every = self.rng.random_range(self.pace.snapshot.clone());
        if self.pace.is_calm {
            tick = place as Time * TICK / self.slots.len() as Time;
        }
        let seed = self.rng.random();
        let slot = &mut self.slots[place];
        slot.life += 1;
        slot.began = self.now;
        slot.incarnation = slot.incarnation.next();
        let disk = slot.disk.take().expect("a stopped machine has its disk");
        let (mut log, mut recovered) =
            Log::open_with(disk, SEGMENT).expect("crashes damage nothing");
        if recovered.is_new {
            // As a node does that finds nothing of its own.
            self.begun += 1;
            // Not in the order of places, so that ranks are mixed; but where a script counts on it.
            let id = self.begun * 1_000 + self.rng.random_range(0..1_000);
            let number = if self.pace.is_calm { self.begun } else { id };
            slot.id = NodeId::new(number);
            slot.incarnation = Incarnation::new(1);
            slot.parted = None;
        }
        if recovered.is_new && (place > 0 || self.wiped) {
            log.begin().expect("the power is on");
        } else if recovered.is_new {
            let hard_state = Some(HardState {
                term: 1,
                commit: 1,
                ..HardState::default()
            });
            let entries = vec![founding_entry(slot.id, &slot.name)];
            let found = Persist {
                entries,
                hard_state,
                ..Persist::default()
            };
            log.append(&[found]).expect("the power is on");
            let disk = log.into_disk();
            (log, recovered) = Log::open_with(disk, SEGMENT).expect("just written");
        }
        self.record
            .restarted(self.now, place, slot.id, &recovered.log);
        let durable = Durable::of(&recovered.log);
        self.planted.recovered(&mut recovered.log);
        let skipped = recovered.log.skips();
        let mut machine = Machine::new(Ledger::default());
        machine.skip(&skipped);
        if let Some(snapshot) = recovered.snapshot {
            machine
                .apply(Apply::Restore(snapshot))
                .expect("own snapshots are readable");
        }
        let mut core = Core::new(Start {
            id: slot.id,
            incarnation: slot.incarnation,
            log: recovered.log,
            applied: machine.applied(),
            origin: machine.applied(),
            members: machine.members().clone(),
            timing: TIMING,
            seed,
            parted: slot.parted,
            skipped,
            proved: false,
        })
        .expect("the recovered log is consistent");
        let snapshotted = machine.applied();
        core.applied(Applied::recovered(snapshotted, machine.take_links()));
        slot.process = Some(Process {
            core,
            log,
            machine,
            durable,
            writes: VecDeque::new(),
            applies: VecDeque::new(),
            installing_until: 0,
            flush_scheduled: false,
            snapshot_every,
            snapshotted,
            full_until: 0,
        });
        let life = slot.life;
        self.schedule(tick, Event::Tick(place), life);
        self.flush(place);
    }

    /// Something went into the core: flushes it now, or together with what comes within the next
    /// moments.
    pub(super) fn touch(&mut self, place: usize) {
        let later = self.rng.random_bool(self.busy);
        let life = self.slots[place].life;
        let Some(process) = &mut self.slots[place].process else {
            return;
        };
        if process.flush_scheduled {
            return;
        }
        if later {
            process.flush_scheduled = true;
            let delay = self.rng.random_range(100..5_000);
            self.schedule(delay, Event::Flush(place), life);
        } else {
            self.flush(place);
        }
    }

    pub(super) fn flush(&mut self, place: usize) {
        let now = self.now;
        let slot = &mut self.slots[place];
        let (id, life, skew) = (slot.id, slot.life, slot.skew);
        let Some(process) = &mut slot.process else {
            return;
        };
        process.flush_scheduled = false;
        let Effects {
            messages,
            persist,
            apply,
            answers,
            reads,
            refused,
            standing,
            skip,
            snapshot_wanted,
            ..
        } = process.core.flush(1_700_000_000_000 + skew + now / 1_000);
        self.record.flushed(now, place, &process.core, &persist);
        match standing {
            Some(Standing::Parted(index)) => slot.parted = Some(index),
            Some(Standing::Sound) => slot.parted = None,
            _ => {}
        }
        if let Some(term) = process.core.leads() {
            let leader = *self.leaders.entry(term).or_insert(id);
            assert_eq!(leader, id, "two leaders in term {term}");
        }
        for (_, message) in &messages {
            process.durable.check(message);
        }
        for state in persist.iter().filter_map(|write| write.hard_state.as_ref()) {
            process.durable.commit = state.commit.max(process.durable.commit);
        }
        for step in &apply {
            if let Apply::Members { index, .. } = step {
                let written = process.durable.commit;
                assert!(
                    index.get() <= written,
                    "a configuration change that may be forgotten"
                );
            }
        }
        if snapshot_wanted {
            let snapshot = match process.core.standing() {
                Standing::Sound => process.machine.snapshot().ok(),
                Standing::Doubtful(at) => {
                    let saved = process.log.saved_snapshot().expect("saved whole");
                    saved.filter(|saved| Index::new(saved.get_metadata().index) < at)
                }
                Standing::Parted(_) => None,
            };
            process.core.offer_snapshot(snapshot.map(Offered::beside));
        }
        if apply.iter().any(|step| matches!(step, Apply::Restore(_))) {
            process.installing_until = now + self.rng.random_range(self.pace.install.clone());
        }
        let early = persist.last().map(|write| write.number);
        let early = early.filter(|_| self.planted.is(Plant::EarlyAck));
        if let Some(number) = early {
            process.core.persisted(number);
        }
        let (writes, applies) = (persist.len(), apply.len() + reads.len());
        process.writes.extend(persist);
        process.applies.extend(apply.into_iter().map(Step::Apply));
        process.applies.extend(reads.into_iter().map(Step::Read));
        for _ in 0..writes {
            let delay = self.rng.random_range(self.pace.write.clone());
            self.schedule(delay, Event::Write(place), life);
        }
        for _ in 0..applies {
            let delay = self.rng.random_range(self.pace.apply.clone());
            self.schedule(delay, Event::Apply(place), life);
        }
        for (to, message) in messages {
            self.send(id, to, &message);
        }
        for (token, answer) in answers {
            let client = token as usize;
            match answer.sequence {
                Some(sequence) => self.answered(client, place, sequence, false),
                // Skipped.
                None => self.refused(client, place, life),
            }
        }
        for token in refused {
            self.refused(token as usize, place, life);
        }
        if let Some(standing) = standing {
            self.found(place, standing);
        }
        if let Some(index) = skip {
            self.skip(place, index);
        }
        if early.is_some() {
            self.touch(place);
        }
    }

    /// The entry at `index` is not to be applied at `place`.
    fn skip(&mut self, place: usize, index: Index) {
        let slot = &mut self.slots[place];
        let Some(process) = &mut slot.process else {
            return;
        };
        let at_it = process.machine.applied().next() == index;
        process.machine.skip(&BTreeSet::from([index]));
        if at_it && self.rng.random_bool(0.5) {
            // As if it had been at it for a while already, and had to start again.
            slot.restarts = true;
        }
        self.skipped.insert(index);
        self.summary.skipped += 1;
    }

    pub(super) fn write(&mut self, place: usize) {
        let slot = &mut self.slots[place];
        let id = slot.id;
        let Some(process) = &mut slot.process else {
            return;
        };
        if let Some(left) = process.full_until.checked_sub(self.now + 1) {
            process.core.step_down();
            let life = self.slots[place].life;
            return self.schedule(left + 1, Event::Write(place), life);
        }
        // What has piled up goes into one record.
        let count = self.rng.random_range(self.pace.group.clone());
        let count = count.min(process.writes.len());
        let group: Vec<Persist> = process.writes.drain(..count).collect();
        let Some(number) = group.last().map(|write| write.number) else {
            return;
        };
        process.log.append(&group).expect("the power is on");
        let waiting = process.writes.len();
        self.record.persisted(self.now, place, &group, waiting);
        for write in &group {
            process.durable.note(write);
            if let Some(HardState { term, vote, .. }) = write.hard_state
                && vote != 0
            {
                let first = *self.votes.entry((id, term)).or_insert(vote);
                assert_eq!(first, vote, "two votes of node {id} in term {term}");
            }
        }
        if !self.planted.is(Plant::EarlyAck) {
            process.core.persisted(number);
        }
        self.touch(place);
    }

    pub(super) fn apply(&mut self, place: usize) {
        let life = self.slots[place].life;
        let Some(process) = &mut self.slots[place].process else {
            return;
        };
        if let Some(left) = process.installing_until.checked_sub(self.now + 1) {
            self.schedule(left + 1, Event::Apply(place), life);
            return;
        }
        if let Some(Step::Apply(Apply::Batch { index, data, .. })) = process.applies.front()
            && data.windows(POISON.len()).any(|words| words == POISON)
            && !process.machine.skips(*index)
            // Copies of a request that was skipped are not executed either.
            && self.skipped.range(..index).next().is_none()
        {
            return self.schedule(50_000, Event::Apply(place), life);
        }
        match process.applies.pop_front() {
            None => return,
            Some(Step::Read(token)) => {
                let count = process.machine.executor().count;
                self.answered(token as usize, place, count, true);
                return;
            }
            Some(Step::Apply(step)) => {
                if let Apply::Batch { index, term, data } = &step {
                    note_applied(&mut self.entries, *index, (*term, data.clone()));
                }
                let restored = matches!(step, Apply::Restore(_));
                let data = match &step {
                    Apply::Batch { data, .. } => data.clone(),
                    _ => Bytes::new(),
                };
                let asked = matches!(&step, Apply::Batch { data, .. } if asks_for_comparison(data));
                let executed = match process.machine.apply(step) {
                    Ok(executed) => executed,
                    Err(ApplyError::Execute { .. }) => {
                        // The process ends at once, and is started again.
                        self.summary.failed += 1;
                        let text = "out of memory while it applied";
                        self.record.fault(self.now, &[place], &[], text);
                        self.crash(place);
                        return self.start(place);
                    }
                    Err(error) => panic!("snapshots are readable: {error}"),
                };
                let index = process.machine.applied();
                let waiting = process.applies.len();
                let at = (self.now, place, index.get());
                self.record.applied(at, restored, &data, waiting);
                let links = process.machine.take_links();
                let ledger = process.machine.executor();
                let ran = std::mem::take(&mut ledger.ran);
                if let Some(spoilt) = &mut self.spoilt
                    && spoilt.place == place
                    && !ran.is_empty()
                {
                    spoilt.executed.get_or_insert(self.now);
                }
                let is_whole = ledger.defect == Defect::None;
                let content = ledger.digest();
                for (position, hash, text) in ran {
                    let hash = is_whole.then_some(hash);
                    if let Some((known, known_text)) = self.history.get_mut(position as usize) {
                        assert_eq!(*known_text, text, "replicas differ");
                        let agree = hash.is_none() || known.is_none() || *known == hash;
                        assert!(agree, "replicas differ at {position}");
                        *known = known.or(hash);
                    } else {
                        assert_eq!(position as usize, self.history.len(), "a gap in history");
                        self.history.push((hash, text));
                    }
                }
                let is_sound = process.core.standing() == Standing::Sound;
                if index >= process.snapshotted + process.snapshot_every && is_sound {
                    let snapshot = process.machine.snapshot().expect("it is in memory");
                    process
                        .log
                        .save_snapshot(&snapshot)
                        .expect("the power is on");
                    let gone = process
                        .core
                        .compact(index, process.snapshot_every / 8, 10_000);
                    process.log.compact(gone).expect("the power is on");
                    process.snapshotted = index;
                    self.record.snapshot(self.now, place, "taken", index.get());
                }
                process.core.applied(Applied {
                    index,
                    links,
                    executed,
                    restored,
                });
                if (asked || index.is_multiple_of(CONTENT_EVERY)) && !restored {
                    process.core.content(index, content);
                }
            }
        }
        self.note_spread();
        self.touch(place);
    }

    pub(super) fn tick(&mut self, place: usize) {
        let Some(process) = &mut self.slots[place].process else {
            return;
        };
        self.record.ticked(self.now, place);
        process.core.tick();
        self.operate(place);
        self.settle(place);
        let life = self.slots[place].life;
        self.schedule(TICK, Event::Tick(place), life);
        self.touch(place);
        if std::mem::take(&mut self.slots[place].restarts) {
            self.crash(place);
            self.start(place);
        }
    }
}

/// All nodes apply the same entry at an index.
fn note_applied(known: &mut HashMap<Index, (Term, Bytes)>, index: Index, entry: (Term, Bytes)) {
    let (term, data) = entry;
    let (first_term, first) = known.entry(index).or_insert((term, data.clone()));
    assert!(
        *first_term == term && *first == data,
        "nodes apply different entries at {index}, of terms {first_term} and {term}"
    );
}
