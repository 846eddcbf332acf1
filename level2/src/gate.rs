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
    Allowance, Class, ClientHasher, ClientKey, Decision, Effect, Flight, Naming, Outcome, Policy,
    Rank, Reason, Seconds, Settings, Trust,
};

/// What a waiting request is told.
type Verdict = Result<Flight, Refusal>;
type Token = oneshot::Sender<Verdict>;

/// Why a request is turned away.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Refusal {
    /// Why.
    pub reason: Reason,
    /// How the policy saw its client, if it was asked.
    pub class: Option<Class>,
}

impl Refusal {
    /// There is nowhere to send it.
    pub const NO_BACKEND: Self = Self {
        reason: Reason::NoBackend,
        class: None,
    };
}

/// The shared policy. See the module's documentation.
#[derive(Debug)]
pub struct Gate {
    state: Mutex<State>,
    hasher: ClientHasher,
    origin: Instant,
}

/// On cache lines of its own, and its lock with it: what is beside it, every worker reads all the time.
#[derive(Debug)]
#[repr(align(128))]
struct State {
    policy: Policy<Token>,
    /// Who waits for a place at a certain backend, in order. They are few: HEAD to all, second attempts.
    claims: Vec<(ClientKey, Wanted, Token)>,
}

/// Which backends a request may go to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// This one.
    Only(usize),
    /// Any but this one, unless it is the only one that is up.
    Not(usize),
}

impl Wanted {
    fn allows(self, backend: usize) -> bool {
        match self {
            Self::Only(only) => backend == only,
            Self::Not(tried) => backend != tried,
        }
    }
}

/// What becomes of a request that enters.
#[derive(Debug)]
pub enum Entry {
    /// Go on.
    Go(Flight),
    /// Wait.
    Wait(Waiter),
    /// Turned away.
    Refuse(Refusal),
}

/// A place in the waiting room. [`Gate::leave`] must be called if it is not waited out.
#[derive(Debug)]
pub struct Waiter {
    /// Its place in the policy's queue; `None` if it waits for a certain backend.
    rank: Option<Rank>,
    verdict: oneshot::Receiver<Verdict>,
}

impl Waiter {
    /// The verdict, once it has fallen.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Verdict> {
        // A sender is only dropped unused when the gate itself goes, and then nobody serves.
        Pin::new(&mut self.verdict)
            .poll(cx)
            .map(|verdict| verdict.unwrap_or(Err(Refusal::NO_BACKEND)))
    }
}

impl Gate {
    /// A gate with a policy that has seen nothing yet.
    pub fn new(settings: Settings) -> Self {
        Self {
            state: Mutex::new(State {
                policy: Policy::new(settings),
                claims: Vec::new(),
            }),
            hasher: ClientHasher::default(),
            origin: Instant::now(),
        }
    }

    /// The key of a client's name, by the configuration's rules of how clients are told apart.
    pub fn client(&self, naming: &Naming, name: &[u8]) -> ClientKey {
        self.hasher.key_in(naming, name)
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
        let decision = self.state().policy.arrive(now, client, token, &mut effects);
        self.deliver(effects);
        match (decision, receiver) {
            (Decision::Admit(flight), _) => Entry::Go(flight),
            (Decision::Queue(rank), Some(verdict)) => Entry::Wait(Waiter {
                rank: Some(rank),
                verdict,
            }),
            (Decision::Reject(class, reason), _) => Entry::Refuse(Refusal {
                reason,
                class: Some(class),
            }),
            // The policy takes a token whenever it queues.
            (Decision::Queue(_), None) => Entry::Refuse(Refusal::NO_BACKEND),
        }
    }

    /// A request that was admitted before needs a place at a certain backend: the next that falls free
    /// there. Whoever waits here goes before the queue, and is never many.
    pub fn claim(&self, client: ClientKey, wanted: Wanted) -> Entry {
        let now = self.now();
        let mut state = self.state();
        let wanted = state.settle(wanted);
        if !state.is_up(wanted) {
            return Entry::Refuse(Refusal::NO_BACKEND);
        }
        if let Some(flight) = state.take(now, client, wanted) {
            return Entry::Go(flight);
        }
        let (sender, verdict) = oneshot::channel();
        state.claims.push((client, wanted, sender));
        Entry::Wait(Waiter {
            rank: None,
            verdict,
        })
    }

    /// What a client may ask for now.
    pub fn allowance(&self, client: ClientKey) -> Allowance {
        let now = self.now();
        self.state().policy.allowance(now, client)
    }

    /// A request leaves its backend.
    pub fn finish(&self, flight: Flight, outcome: Outcome) {
        let now = self.now();
        let mut effects = Vec::new();
        self.state().finish(now, flight, outcome, &mut effects);
        self.deliver(effects);
    }

    /// A waiting request is abandoned.
    pub fn leave(&self, mut waiter: Waiter) {
        let now = self.now();
        let waited = waiter
            .rank
            .is_some_and(|rank| self.state().policy.abandon(now, rank));
        if !waited {
            // The verdict has fallen already: a flight may be on its way to nobody. A claim whose
            // receiver is closed is passed over.
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
        self.state().policy.tick(now, &mut effects);
        self.deliver(effects);
    }

    /// Nothing goes to this backend until it is revived.
    pub fn eject(&self, backend: usize) {
        let mut state = self.state();
        state.policy.eject(backend);
        let claims = std::mem::take(&mut state.claims);
        let (kept, lost): (Vec<_>, Vec<_>) = claims
            .into_iter()
            .partition(|(_, wanted, _)| state.is_up(*wanted));
        state.claims = kept;
        drop(state);
        for (_, _, token) in lost {
            let _ = token.send(Err(Refusal::NO_BACKEND));
        }
    }

    /// This backend may be used again.
    pub fn revive(&self, backend: usize) {
        let now = self.now();
        let mut effects = Vec::new();
        let mut state = self.state();
        state.policy.revive(now, backend, &mut effects);
        drop(state);
        self.deliver(effects);
    }

    /// This backend is trusted with fewer requests, or with more.
    pub fn trust(&self, backend: usize, trust: Trust) {
        let now = self.now();
        let mut effects = Vec::new();
        self.state().policy.trust(now, backend, trust, &mut effects);
        self.deliver(effects);
    }

    /// Looks at the policy's state.
    pub fn look<R>(&self, look: impl FnOnce(&Policy<Token>) -> R) -> R {
        look(&self.state().policy)
    }

    /// Other settings; more backends are added at the end.
    pub fn configure(&self, settings: Settings) {
        self.state().policy.configure(settings);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic within would have been a bug; what the policy knows is as good as before it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Seconds {
        self.origin.elapsed().as_secs_f64()
    }

    /// Tells those who waited, outside the lock. Whoever is gone passes its place on.
    fn deliver(&self, mut effects: Vec<Effect<Token>>) {
        while let Some(effect) = effects.pop() {
            let undelivered = match effect {
                Effect::Admit(token, flight) => token.send(Ok(flight)).err(),
                Effect::Reject(token, class, reason) => {
                    let class = Some(class);
                    token.send(Err(Refusal { reason, class })).err()
                }
            };
            if let Some(Ok(flight)) = undelivered {
                let now = self.now();
                self.state()
                    .finish(now, flight, Outcome::Aborted, &mut effects);
            }
        }
    }
}

impl State {
    /// Ends a flight; those who wait for a certain backend go before the queue.
    fn finish(
        &mut self,
        now: Seconds,
        flight: Flight,
        outcome: Outcome,
        effects: &mut Vec<Effect<Token>>,
    ) {
        self.policy.end(now, flight, outcome);
        let mut index = 0;
        while index < self.claims.len() {
            let (client, wanted, token) = &self.claims[index];
            if token.is_closed() {
                self.claims.remove(index);
            } else if let Some(flight) = take(&mut self.policy, now, *client, *wanted) {
                let (_, _, token) = self.claims.remove(index);
                effects.push(Effect::Admit(token, flight));
            } else {
                index += 1;
            }
        }
        self.policy.dispatch(now, effects);
    }

    fn take(&mut self, now: Seconds, client: ClientKey, wanted: Wanted) -> Option<Flight> {
        take(&mut self.policy, now, client, wanted)
    }

    /// A second attempt goes to the same backend where there is no other.
    fn settle(&self, wanted: Wanted) -> Wanted {
        match wanted {
            Wanted::Not(tried) if !self.is_up(wanted) => Wanted::Only(tried),
            _ => wanted,
        }
    }

    fn is_up(&self, wanted: Wanted) -> bool {
        let backends = self.policy.backends().iter().enumerate();
        backends
            .filter(|(index, _)| wanted.allows(*index))
            .any(|(_, backend)| backend.healthy)
    }
}

fn take(
    policy: &mut Policy<Token>,
    now: Seconds,
    client: ClientKey,
    wanted: Wanted,
) -> Option<Flight> {
    policy.admit_at(now, client, |backend| wanted.allows(backend))
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    fn gate() -> Gate {
        Gate::new(Settings {
            backends: 2,
            max_in_flight: Some(1),
            max_wait: 60.0,
            ..Settings::default()
        })
    }

    fn in_flight(gate: &Gate) -> u32 {
        gate.look(|policy| {
            policy
                .backends()
                .iter()
                .map(crate::policy::Backend::in_flight)
                .sum()
        })
    }

    /// Whoever leaves just as its verdict falls gives back what it was given, on whichever thread that
    /// falls: no place is lost and none is freed twice.
    #[test]
    fn leaving_against_a_verdict_loses_no_place() {
        let gate = gate();
        thread::scope(|scope| {
            for n in 0..4_u8 {
                let gate = &gate;
                scope.spawn(move || {
                    for round in 0..3_000_u32 {
                        let client = gate.client(&Naming::default(), &[n, round as u8]);
                        let entry = if round % 3 == 0 {
                            gate.claim(client, Wanted::Only(usize::from(n % 2)))
                        } else {
                            gate.enter(client)
                        };
                        match entry {
                            Entry::Go(flight) => gate.finish(flight, Outcome::Answered),
                            Entry::Wait(waiter) => gate.leave(waiter),
                            Entry::Refuse(_) => {}
                        }
                    }
                });
            }
        });
        assert_eq!(in_flight(&gate), 0);
        assert_eq!(gate.look(Policy::waiting), 0);
    }

    #[test]
    fn a_claim_has_the_next_place_at_its_backend() {
        let gate = gate();
        let client = gate.client(&Naming::default(), b"a");
        let Entry::Go(first) = gate.claim(client, Wanted::Only(1)) else {
            panic!("there was a place");
        };
        let Entry::Wait(mut waiter) = gate.claim(client, Wanted::Only(1)) else {
            panic!("there was none");
        };
        let mut cx = Context::from_waker(std::task::Waker::noop());
        assert!(waiter.poll(&mut cx).is_pending());
        gate.finish(first, Outcome::Answered);
        let Poll::Ready(Ok(second)) = waiter.poll(&mut cx) else {
            panic!("its turn had come");
        };
        assert_eq!(second.backend, 1);
        gate.finish(second, Outcome::Answered);
        assert_eq!(in_flight(&gate), 0);
    }

    #[test]
    fn a_second_attempt_goes_elsewhere_where_there_is_an_elsewhere() {
        let gate = gate();
        let client = gate.client(&Naming::default(), b"a");
        let Entry::Go(other) = gate.claim(client, Wanted::Not(0)) else {
            panic!("there was a place");
        };
        assert_eq!(other.backend, 1);
        gate.finish(other, Outcome::Answered);
        gate.eject(1);
        let Entry::Go(same) = gate.claim(client, Wanted::Not(0)) else {
            panic!("the same backend is better than none");
        };
        assert_eq!(same.backend, 0);
        gate.finish(same, Outcome::Answered);
        gate.eject(0);
        assert!(matches!(
            gate.claim(client, Wanted::Not(0)),
            Entry::Refuse(Refusal::NO_BACKEND)
        ));
    }
}
