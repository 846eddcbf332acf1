//! The policy, shared by all workers: where requests enter, wait and leave.
//!
//! Fairness is global, so there is one policy behind one lock. It is held for well under a
//! microsecond three times a request at most, and nobody is woken under it.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Instant;

use std::pin::Pin;
use tokio::sync::oneshot;

use crate::policy::{
    ClientHasher, ClientKey, Decision, Effect, Flight, Outcome, Policy, Rank, Reason, Seconds,
    Settings,
};

/// What a waiting request is told.
type Verdict = Result<Flight, Reason>;
type Token = oneshot::Sender<Verdict>;

/// The shared policy. See the module's documentation.
#[derive(Debug)]
pub struct Gate {
    policy: Mutex<Policy<Token>>,
    hasher: ClientHasher,
    origin: Instant,
}

/// What becomes of a request that enters.
#[derive(Debug)]
pub enum Entry {
    /// Go on.
    Go(Flight),
    /// Wait.
    Wait(Waiter),
    /// Turned away.
    Refuse(Reason),
}

/// A place in the waiting room. [`Gate::leave`] must be called if it is not waited out.
#[derive(Debug)]
pub struct Waiter {
    rank: Rank,
    verdict: oneshot::Receiver<Verdict>,
}

impl Waiter {
    /// The verdict, once it has fallen.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Verdict> {
        // A sender is only dropped unused when the gate itself goes, and then nobody serves.
        Pin::new(&mut self.verdict)
            .poll(cx)
            .map(|verdict| verdict.unwrap_or(Err(Reason::NoBackend)))
    }
}

impl Gate {
    /// A gate with a policy that has seen nothing yet.
    pub fn new(settings: Settings) -> Self {
        Self {
            policy: Mutex::new(Policy::new(settings)),
            hasher: ClientHasher::default(),
            origin: Instant::now(),
        }
    }

    /// The key of a client's name.
    pub fn client(&self, name: &[u8]) -> ClientKey {
        self.hasher.key(name)
    }

    /// A request comes.
    pub fn enter(&self, client: ClientKey) -> Entry {
        let now = self.now();
        let mut effects = Vec::new();
        let mut receiver = None;
        let token = || {
            let (sender, verdict) = oneshot::channel();
            receiver = Some(verdict);
            sender
        };
        let decision = self.policy().arrive(now, client, token, &mut effects);
        self.deliver(effects);
        match (decision, receiver) {
            (Decision::Admit(flight), _) => Entry::Go(flight),
            (Decision::Queue(rank), Some(verdict)) => Entry::Wait(Waiter { rank, verdict }),
            (Decision::Reject(reason), _) => Entry::Refuse(reason),
            // The policy takes a token whenever it says "wait".
            (Decision::Queue(_), None) => Entry::Refuse(Reason::TooLate { retry_after: 1.0 }),
        }
    }

    /// A request leaves its backend. Returns whether that ejected the backend.
    pub fn finish(&self, flight: Flight, outcome: Outcome) -> bool {
        let now = self.now();
        let mut effects = Vec::new();
        let ejected = self.policy().finish(now, flight, outcome, &mut effects);
        self.deliver(effects);
        ejected
    }

    /// A waiting request is abandoned.
    pub fn leave(&self, mut waiter: Waiter) {
        let now = self.now();
        if !self.policy().abandon(now, waiter.rank) {
            // The verdict has fallen already: a flight may be on its way to nobody.
            waiter.verdict.close();
            if let Ok(Ok(flight)) = waiter.verdict.try_recv() {
                self.finish(flight, Outcome::Aborted);
            }
        }
    }

    /// Turns away whoever waited too long.
    pub fn tick(&self) {
        let now = self.now();
        let mut effects = Vec::new();
        self.policy().tick(now, &mut effects);
        self.deliver(effects);
    }

    /// A backend was reached again. Returns whether it had been ejected.
    pub fn revive(&self, backend: usize) -> bool {
        let now = self.now();
        let mut effects = Vec::new();
        let mut policy = self.policy();
        let ejected = !policy.backends()[backend].healthy;
        policy.revive(now, backend, &mut effects);
        drop(policy);
        self.deliver(effects);
        ejected
    }

    /// The policy, to read its state.
    pub fn policy(&self) -> MutexGuard<'_, Policy<Token>> {
        // A panic within would have been a bug; what the policy knows is as good as before it.
        self.policy.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Seconds {
        self.origin.elapsed().as_secs_f64()
    }

    /// Tells those who waited, outside the lock. Whoever is gone passes its place on.
    fn deliver(&self, mut effects: Vec<Effect<Token>>) {
        while let Some(effect) = effects.pop() {
            let undelivered = match effect {
                Effect::Admit(token, flight) => token.send(Ok(flight)).err(),
                Effect::Reject(token, reason) => token.send(Err(reason)).err(),
            };
            if let Some(Ok(flight)) = undelivered {
                let now = self.now();
                self.policy()
                    .finish(now, flight, Outcome::Aborted, &mut effects);
            }
        }
    }
}
