//! What the policy costs per request: an arrival and its end, with a given number of known clients.
//!
//! The clients are asked for in random order, so with a million of them every look-up misses the
//! caches, as it would under a real crowd.

use divan::Bencher;
use level2::policy::{ClientHasher, ClientKey, Decision, Outcome, Policy, Settings};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

fn main() {
    divan::main();
}

/// Requests per measured run, so that the clock's own cost vanishes.
const REQUESTS: usize = 1_000;

#[divan::bench(args = [100, 10_000, 1_000_000])]
fn arrive_and_finish(bencher: Bencher, clients: usize) {
    let settings = Settings {
        backends: 2,
        max_in_flight: Some(64),
        max_clients: 2 * clients,
        ..Settings::default()
    };
    let mut policy: Policy<()> = Policy::new(settings);
    let hasher = ClientHasher::default();
    let keys: Vec<ClientKey> = (0..clients)
        .map(|n| hasher.key(format!("client {n}").as_bytes()))
        .collect();
    let mut now = 0.0;
    let mut effects = Vec::new();
    let mut one = |policy: &mut Policy<()>, key| {
        now += 1e-5;
        if let Decision::Admit(flight) = policy.arrive(now, key, || (), &mut effects) {
            policy.finish(now + 5e-6, flight, Outcome::Answered, &mut effects);
        }
    };
    for key in &keys {
        one(&mut policy, *key);
    }
    assert!(policy.clients().0 > clients * 9 / 10);
    let mut draw = ChaCha8Rng::seed_from_u64(1);
    bencher
        .counter(divan::counter::ItemsCount::new(REQUESTS))
        .with_inputs(|| {
            (0..REQUESTS)
                .map(|_| keys[draw.random_range(0..clients)])
                .collect::<Vec<_>>()
        })
        .bench_local_values(|keys| {
            for key in keys {
                one(&mut policy, key);
            }
        });
}

#[divan::bench]
fn name_to_key(bencher: Bencher) {
    let hasher = ClientHasher::default();
    let name = b"an opaque name of forty-eight characters, really";
    bencher.bench(|| hasher.key(divan::black_box(name)));
}
