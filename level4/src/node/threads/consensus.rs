//! The consensus thread: feeds the core with what comes in, and carries out what comes out of it.
//!
//! It sends messages and answers as soon as the core gives them; everything that may wait for a disk or
//! for SQL is handed to another thread.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender};
use std::time::{Duration, Instant};

use super::super::fault::Fault;
use super::super::{Node, locked};
use super::parcels::ParcelWork;
use super::{Input, LogWork, StateWork, now_ms};
use crate::consensus::{Core, Effects};
use crate::notes::note;
use crate::trace::Watch;
use crate::transport::{Event, Transport};

/// Entries kept before a snapshot, for followers that are a little behind.
pub const SNAPSHOT_KEEP: u64 = 20_000;
/// And not more than these bytes of them.
const SNAPSHOT_KEEP_BYTES: usize = 32 * 1024 * 1024;
/// Inputs taken before the core is flushed, at most.
const INPUT_GROUP: usize = 512;

/// Where the core's effects go.
pub(in crate::node) struct Outputs<'a> {
    pub node: &'a Node,
    pub transport: &'a Arc<Transport>,
    pub log: &'a Sender<LogWork>,
    pub state: &'a Sender<StateWork>,
    /// To be read and sent.
    pub parcels: &'a SyncSender<ParcelWork>,
}

impl Outputs<'_> {
    pub(in crate::node) fn carry_out(&self, effects: &mut Effects) -> Result<(), Fault> {
        for (to, message) in effects.messages.drain(..) {
            self.transport.send(to, &message);
        }
        for (to, part) in effects.parts.drain(..) {
            let _ = self.parcels.try_send(ParcelWork::Send(to, part));
        }
        for persist in effects.persist.drain(..) {
            let _ = self.log.send(LogWork::Write(persist));
        }
        for step in effects.apply.drain(..) {
            let _ = self.state.send(StateWork::Apply(step));
        }
        for token in effects.reads.drain(..) {
            let _ = self.state.send(StateWork::Read(token));
        }
        if !effects.answers.is_empty() {
            let mut waiting = locked(&self.node.answers);
            for (token, answer) in effects.answers.drain(..) {
                if let Some(sender) = waiting.remove(token) {
                    // The client may have gone.
                    let _ = sender.send(answer);
                }
            }
        }
        for token in effects.refused.drain(..) {
            // Whoever waits sees the sender go.
            drop(locked(&self.node.answers).remove(token));
            drop(locked(&self.node.reads).remove(&token));
        }
        if let Some(members) = effects.members.take() {
            self.transport.set_members(members);
        }
        for notice in effects.notices.drain(..) {
            note(format_args!("{notice}"));
        }
        if let Some(standing) = effects.standing.take() {
            self.node.trust.standing(standing);
        }
        if let Some(index) = effects.skip.take() {
            self.node.applying.skip(index)?;
        }
        if effects.snapshot_wanted {
            let _ = self.state.send(StateWork::Snapshot);
        }
        Ok(())
    }
}

/// Tells the core what came in.
fn feed(core: &mut Core, input: Input, log: &Sender<LogWork>, watch: &mut Option<Watch>) {
    match input {
        Input::Peer(Event::Message(from, message)) => core.receive(from, message),
        Input::Peer(Event::Found(peer)) => core.peer_found(peer),
        Input::Peer(Event::Lost(peer)) => core.peer_lost(peer),
        Input::Peer(Event::Removed(index)) => core.learn_removed(index),
        Input::Request {
            token,
            key,
            command,
        } => {
            let id = core.request(token, key, command);
            if let Some(watch) = watch {
                watch.request(token, id);
            }
        }
        Input::Read(token) => {
            core.read(token);
            if let Some(watch) = watch {
                watch.read(token);
            }
        }
        Input::Persisted(number) => {
            core.persisted(number);
            if let Some(watch) = watch {
                watch.persisted(number);
            }
        }
        Input::Applied(applied) => {
            if let Some(watch) = watch {
                watch.applied(&applied);
            }
            core.applied(applied);
        }
        Input::Content(index, digest) => core.content(index, digest),
        Input::Skip(index) => core.skip(index),
        Input::Offer(snapshot) => core.offer_snapshot(snapshot),
        Input::Saved(index) => {
            if let Some(watch) = watch {
                watch.snapshot("taken", index.get());
            }
            let gone = core.compact(index, SNAPSHOT_KEEP, SNAPSHOT_KEEP_BYTES);
            let _ = log.send(LogWork::Compact(gone));
        }
        Input::Join(id, name) => core.join(id, name),
        Input::Remove(id) => core.remove(id),
        Input::Status(sender) => {
            let _ = sender.send(core.status());
        }
        Input::StepDown(None) => core.step_down(),
        Input::StepDown(Some(successor)) => core.step_down_for(successor),
    }
}

/// Runs the core until everybody who could tell it something is gone.
pub(in crate::node) fn run(
    mut core: Core,
    inputs: &Receiver<Input>,
    tick: Duration,
    out: &Outputs,
    mut watch: Option<Watch>,
) -> Result<(), Fault> {
    let mut next_tick = Instant::now() + tick;
    loop {
        match inputs.recv_timeout(next_tick.saturating_duration_since(Instant::now())) {
            Ok(input) => {
                feed(&mut core, input, out.log, &mut watch);
                for input in inputs.try_iter().take(INPUT_GROUP) {
                    feed(&mut core, input, out.log, &mut watch);
                }
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return Ok(()),
        }
        if Instant::now() >= next_tick {
            core.tick();
            // After a pause of the process, missed ticks are not made up for: what came in meanwhile
            // has to be looked at first.
            next_tick = (next_tick + tick).max(Instant::now());
        }
        let mut effects = core.flush(now_ms());
        if let Some(watch) = &mut watch {
            watch.flushed(core.outline(), &effects);
        }
        out.carry_out(&mut effects)?;
    }
}
