//! What holds for the health of backends whatever requests and checks say, in whatever order.

use proptest::prelude::*;

use super::*;
use crate::policy::ClientHasher;

const BACKENDS: usize = 4;

/// What can happen.
#[derive(Clone, Copy, Debug)]
enum Event {
    /// A request of a client ends at a backend.
    Report(usize, u8, Sign),
    /// A check of a backend ends.
    Checked(usize, bool),
    /// So many milliseconds pass.
    Pass(u64),
    Retire(usize),
    Restore(usize),
}

fn event() -> impl Strategy<Value = Event> {
    let sign = prop::sample::select(vec![Sign::Begun, Sign::Good, Sign::Bad, Sign::Unreachable]);
    prop_oneof![
        12 => (0..BACKENDS, 0..3_u8, sign).prop_map(|(b, c, s)| Event::Report(b, c, s)),
        6 => (0..BACKENDS, any::<bool>()).prop_map(|(b, s)| Event::Checked(b, s)),
        4 => (0..3_000_u64).prop_map(Event::Pass),
        1 => (0..BACKENDS).prop_map(Event::Retire),
        1 => (0..BACKENDS).prop_map(Event::Restore),
    ]
}

/// What is known of one backend by the slow, obvious way.
#[derive(Clone, Copy)]
struct Seen {
    /// Whether whoever obeys every change uses it.
    used: bool,
    last_check: bool,
    retired: bool,
}

/// Plays events and obeys what is to be done; checks after each.
fn play(events: &[Event]) -> Result<(), TestCaseError> {
    let hasher = ClientHasher::default();
    let mut health = Health::new(BACKENDS);
    let mut now = Duration::from_secs(100);
    let mut seen = [Seen {
        used: true,
        last_check: true,
        retired: false,
    }; BACKENDS];
    for &event in events {
        let mut ejected_by = None;
        match event {
            Event::Report(backend, client, sign) => {
                let change = health.report(now, backend, hasher.key(&[client]), sign);
                if change == Some(Change::Eject) {
                    prop_assert!(seen[backend].used, "ejected twice");
                    seen[backend].used = false;
                    ejected_by = Some(event);
                }
                prop_assert_ne!(change, Some(Change::Revive));
            }
            Event::Checked(backend, _) if seen[backend].retired => {}
            Event::Checked(backend, success) => {
                let change = health.checked(now, backend, success);
                seen[backend].last_check = success;
                match change {
                    Some(Change::Eject) => {
                        prop_assert!(seen[backend].used && !success);
                        seen[backend].used = false;
                    }
                    Some(Change::Revive) => {
                        prop_assert!(!seen[backend].used && success);
                        seen[backend].used = true;
                    }
                    _ => {}
                }
            }
            Event::Pass(millis) => now += Duration::from_millis(millis),
            Event::Retire(backend) => {
                health.retire(backend);
                seen[backend].retired = true;
                seen[backend].used = false;
            }
            Event::Restore(backend) if seen[backend].retired => {
                health.restore(backend);
                seen[backend] = Seen {
                    used: false,
                    last_check: false,
                    retired: false,
                };
            }
            Event::Restore(_) => {}
        }
        while let Some(backend) = health.needed() {
            prop_assert!(seen.iter().all(|one| !one.used));
            seen[backend].used = true;
        }
        let fit = seen.iter().filter(|one| !one.retired);
        let used = fit.clone().filter(|one| one.used).count();
        // Passive signs alone leave half.
        if ejected_by.is_some() {
            prop_assert!(used * 2 >= fit.clone().count());
        }
        // What a check took out comes back by a check alone, and whoever is fit is used if nobody else is.
        prop_assert!(seen.iter().all(|one| !one.used || one.last_check));
        prop_assert!(used > 0 || fit.clone().all(|one| !one.last_check));
    }
    // Everything comes back in time, if checks succeed.
    now += Duration::from_secs(100);
    for (backend, seen) in seen.iter_mut().enumerate() {
        let wants = health.wants_check(now, backend);
        prop_assert_eq!(wants, !seen.used && !seen.retired);
        if wants {
            prop_assert_eq!(health.checked(now, backend, true), Some(Change::Revive));
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn a_backend_is_used_as_requests_and_checks_allow(
        events in prop::collection::vec(event(), 1..120)
    ) {
        play(&events)?;
    }
}

/// A failed check in the middle of an ejection does not shorten it.
#[test]
fn a_backend_that_is_down_and_ejected_stays_out_for_both() {
    let hasher = ClientHasher::default();
    let clients = [hasher.key(b"a"), hasher.key(b"b")];
    let mut health = Health::new(2);
    let now = Duration::from_secs(100);
    for client in clients {
        health.report(now, 1, client, Sign::Good);
    }
    let ejected = (0..2 * RUN as usize)
        .filter_map(|n| health.report(now, 0, clients[n % 2], Sign::Bad))
        .any(|change| change == Change::Eject);
    assert!(ejected);
    assert_eq!(health.checked(now, 0, false), None);
    assert!(health.wants_check(now, 0));
    assert_eq!(health.checked(now, 0, true), None);
    assert!(!health.wants_check(now, 0));
    let later = now + Duration::from_secs(2);
    assert_eq!(health.checked(later, 0, false), None);
    assert_eq!(health.checked(later, 0, true), Some(Change::Revive));
}
