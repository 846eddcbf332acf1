//! The policy by itself, in virtual time: three quiet clients beside a flood, at one backend that takes
//! 50 ms for a request and works on two at a time.
//!
//! `cargo run -p level2 --example share`

use level2::policy::{ClientHasher, Decision, Effect, Flight, Outcome, Policy, Settings};

/// Seconds that are played, and seconds that a request takes.
const LENGTH: f64 = 20.0;
const SERVICE: f64 = 0.05;

/// Requests a second of each client: three that are quiet, and a flood.
const RATES: [f64; 4] = [2.0, 4.0, 8.0, 200.0];

/// What happens next: a client asks, or a request at the backend is answered.
enum Next {
    Asks(usize),
    Answered(usize),
}

/// Requests at the backend: when each will be answered, and whose it is.
type Work = Vec<(f64, usize, Flight)>;

fn next(due: &[f64], work: &Work) -> (f64, Next) {
    let ask = due
        .iter()
        .copied()
        .zip(0..)
        .map(|(at, n)| (at, Next::Asks(n)));
    let end = work
        .iter()
        .zip(0..)
        .map(|(request, n)| (request.0, Next::Answered(n)));
    ask.chain(end)
        .min_by(|a, b| a.0.total_cmp(&b.0))
        .expect("clients never stop asking")
}

fn main() {
    let mut policy: Policy<usize> = Policy::new(Settings {
        max_in_flight: Some(2),
        ..Settings::default()
    });
    let hasher = ClientHasher::default();
    let mut due: Vec<f64> = RATES.iter().map(|rate| 0.1 / rate).collect();
    let (mut asked, mut answered) = ([0; RATES.len()], [0; RATES.len()]);
    let (mut work, mut effects) = (Work::new(), Vec::new());
    loop {
        let (now, what) = next(&due, &work);
        if now > LENGTH {
            break;
        }
        match what {
            Next::Asks(client) => {
                due[client] += 1.0 / RATES[client];
                asked[client] += 1;
                let key = hasher.key(&[client as u8]);
                if let Decision::Admit(flight) = policy.arrive(now, key, || client, &mut effects) {
                    work.push((now + SERVICE, client, flight));
                }
            }
            Next::Answered(place) => {
                let (_, client, flight) = work.swap_remove(place);
                answered[client] += 1;
                policy.finish(now, flight, Outcome::Answered, &mut effects);
            }
        }
        policy.tick(now, &mut effects);
        for effect in effects.drain(..) {
            if let Effect::Admit(client, flight) = effect {
                work.push((now + SERVICE, client, flight));
            }
        }
    }
    println!("requests/s  answered of asked, in {LENGTH} s at 40/s of capacity");
    for ((rate, answered), asked) in RATES.iter().zip(answered).zip(asked) {
        println!("{rate:10}  {answered:5} of {asked:5}");
    }
}
