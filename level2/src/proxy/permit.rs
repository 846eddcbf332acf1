//! A request's right to be at a backend, as a guard.

use std::rc::Rc;

use super::call::Place;
use super::worker::Worker;
use crate::health::Sign;
use crate::policy::{Class, ClientKey, Flight, Outcome};
use crate::stats::count;

/// A request's right to be at a backend. Dropped unused, it counts as broken off by the client.
#[derive(Debug)]
#[must_use = "dropping a permit gives its place away"]
pub struct Permit {
    worker: Rc<Worker>,
    flight: Option<Flight>,
    client: ClientKey,
    /// The backend's number.
    pub backend: usize,
    /// How the policy saw the client.
    pub class: Class,
}

impl Permit {
    /// The permit that goes with a flight.
    pub fn new(worker: &Rc<Worker>, flight: Flight, client: ClientKey) -> Self {
        Self {
            worker: worker.clone(),
            backend: flight.backend,
            class: flight.class,
            flight: Some(flight),
            client,
        }
    }

    /// What an event meant for the place.
    pub fn apply(&mut self, place: Place) {
        if let Place::Freed(outcome) = place {
            self.finish(outcome);
        }
    }

    /// The request is over at the backend. Only the first call counts.
    pub fn finish(&mut self, outcome: Outcome) {
        if let Some(flight) = self.flight.take() {
            self.worker.shared.gate.finish(flight, outcome);
        }
    }

    /// What the request says of its backend.
    pub fn report(&self, sign: Sign) {
        if matches!(sign, Sign::Bad | Sign::Unreachable) {
            count(&self.worker.stats().backend_failures);
        }
        self.worker.shared.report(self.backend, self.client, sign);
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.finish(Outcome::Aborted);
    }
}
