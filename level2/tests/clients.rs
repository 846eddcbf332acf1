//! How clients are told apart and what they are told: prefixes, limits by class, `RateLimit` fields, the
//! log of those turned away. On the real binary, and the sums behind the fields as values.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

mod common;

use std::io::{Read, Write};
use std::process::{Command, Stdio};

use common::{Backend, Proxy, field, split, status};
use level2::policy::{
    ClientClass, ClientHasher, Decision, FixedLimit, Naming, Outcome, Policy, Settings,
};
use proptest::prelude::*;

/// A proxy with this file; its log can be read.
fn start(file: &str, flags: &[&str], backend: &Backend) -> Proxy {
    let mut config = tempfile::NamedTempFile::new().unwrap();
    config.write_all(file.as_bytes()).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_level2"));
    command.args(["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
    command.args(["--access-log", "json", "--backend", &backend.name()]);
    command.arg("--config").arg(config.path()).args(flags);
    Proxy::run(command.stdout(Stdio::piped()))
}

/// A request of the client with this name. The head of the answer.
fn ask(proxy: &Proxy, name: &str) -> String {
    let request = format!(
        "GET / HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: {name}\r\nConnection: close\r\n\r\n"
    );
    split(&proxy.talk(request.as_bytes())).0
}

fn code(head: &str) -> u16 {
    status(head.as_bytes())
}

/// One request for each name, in the longest time that any test takes.
const ONE_EACH: &str = "[[class]]\nmatch = \"*\"\nrate = 0.001\nburst = 1\n";

/// Flags, and what the requests of these names get one after the other.
type Case = (&'static [&'static str], &'static [(&'static str, u16)]);

#[test]
fn an_address_is_one_client_by_its_prefix() {
    let backend = Backend::echo();
    let cases: [Case; 4] = [
        // A /64 is one client, an IPv4 address is one, however it is written.
        (
            &[],
            &[
                ("2001:db8::1", 200),
                ("2001:db8::ffff:2", 429),
                ("2001:db8:0:1::1", 200),
                ("192.0.2.1", 200),
                ("192.0.2.2", 200),
                ("::ffff:192.0.2.1", 429),
            ],
        ),
        (
            &["--ipv6-prefix", "128"],
            &[("2001:db8::1", 200), ("2001:db8::2", 200)],
        ),
        (
            &["--ipv6-prefix", "48"],
            &[
                ("2001:db8::1", 200),
                ("2001:db8:0:1::1", 429),
                ("2001:db8:1::1", 200),
            ],
        ),
        (
            &["--ipv4-prefix", "24"],
            &[("192.0.2.1", 200), ("192.0.2.2", 429), ("192.0.3.1", 200)],
        ),
    ];
    for (flags, names) in cases {
        let proxy = start(ONE_EACH, flags, &backend);
        for (name, wanted) in names {
            assert_eq!(code(&ask(&proxy, name)), *wanted, "{flags:?} {name}");
        }
    }
}

#[test]
fn a_class_has_its_limit_is_told_of_it_and_its_refusals_are_logged() {
    let backend = Backend::echo();
    let file = "rate-limit-fields = true\n[[class]]\nmatch = \"bulk-*\"\nrate = 0.01\nburst = 2\n";
    let mut proxy = start(file, &[], &backend);
    for (wanted, left) in [(200, 1), (200, 0), (429, 0)] {
        let head = ask(&proxy, "bulk-1");
        assert_eq!(code(&head), wanted);
        let policy = field(&head, "ratelimit-policy").unwrap();
        assert_eq!(policy, "\"fixed\";q=2;w=200");
        let now = field(&head, "ratelimit").unwrap();
        let reset = now.strip_prefix(&format!("\"fixed\";r={left};t=")).unwrap();
        assert!((1..=200).contains(&reset.parse::<u64>().unwrap()), "{now}");
        let wait = field(&head, "retry-after").map(|text| text.parse::<u64>().unwrap());
        assert_eq!(wait.is_some(), wanted == 429);
        assert!(wait.is_none_or(|wait| (1..=60).contains(&wait)));
    }
    // Another of the class has a limit of its own, and others the fair level.
    assert_eq!(code(&ask(&proxy, "bulk-2")), 200);
    let head = ask(&proxy, "somebody");
    assert_eq!(code(&head), 200);
    assert!(
        field(&head, "ratelimit")
            .unwrap()
            .starts_with("\"fair\";r=")
    );
    assert!(field(&head, "ratelimit-policy").unwrap().ends_with(";w=10"));

    let mut out = proxy.child.stdout.take().unwrap();
    proxy.terminate();
    let mut text = String::new();
    out.read_to_string(&mut text).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
    let refused: Vec<serde_json::Value> = lines
        .filter(|line: &serde_json::Value| line["status"] == 429)
        .collect();
    assert_eq!(refused.len(), 1, "{text}");
    assert_eq!(refused[0]["class"], "heavy");
}

#[test]
fn without_being_asked_to_the_proxy_tells_nobody() {
    let backend = Backend::echo();
    let proxy = Proxy::start(&[&backend.name()], &[]);
    assert!(field(&ask(&proxy, "somebody"), "ratelimit").is_none());
}

proptest! {
    /// A client of a fixed limit is rejected exactly when it was told that nothing is left.
    #[test]
    fn what_is_left_of_a_fixed_limit_is_what_is_let_through(
        rate in 0.01..100.0_f64,
        burst in 1.0..20.0_f64,
        gaps in prop::collection::vec(0.0..2.0_f64, 1..60),
    ) {
        let limit = Some(FixedLimit { rate, burst });
        let class = ClientClass { pattern: "*".parse().unwrap(), weight: 1.0, limit };
        let naming = Naming { classes: vec![class], ..Naming::default() };
        let settings = Settings {
            max_in_flight: Some(1000),
            naming: naming.clone(),
            ..Settings::default()
        };
        let mut policy = Policy::new(settings);
        let key = ClientHasher::default().key_in(&naming, b"a");
        let mut now = 1.0;
        for gap in gaps {
            now += gap / rate;
            let told = policy.allowance(now, key);
            prop_assert!(told.fixed && told.remaining <= told.quota && told.reset >= 0.0);
            let mut effects = Vec::new();
            let decision = policy.arrive(now, key, || (), &mut effects);
            // Where it is a matter of rounding, either is right.
            if (told.remaining - 1.0).abs() > 1e-6 {
                prop_assert_eq!(told.remaining >= 1.0, matches!(decision, Decision::Admit(_)));
            }
            if let Decision::Admit(flight) = decision {
                policy.finish(now, flight, Outcome::Answered, &mut effects);
            }
        }
    }

    /// What others are told makes sense at any moment.
    #[test]
    fn what_is_left_of_the_fair_level_is_within_its_bounds(
        events in prop::collection::vec((0..4_u8, 0.0..0.3_f64), 1..200),
    ) {
        let mut policy = Policy::new(Settings::default());
        let hasher = ClientHasher::default();
        let mut now = 0.0;
        let mut flights = Vec::new();
        for (client, gap) in events {
            now += gap;
            let mut effects = Vec::new();
            let key = hasher.key(&[client]);
            if let Decision::Admit(flight) = policy.arrive(now, key, || (), &mut effects) {
                flights.push(flight);
            }
            if flights.len() > 3 {
                policy.finish(now, flights.remove(0), Outcome::Answered, &mut effects);
            }
            let told = policy.allowance(now, key);
            prop_assert!(!told.fixed && told.quota >= 1.0 && told.window > 0.0);
            prop_assert!((0.0..=told.quota).contains(&told.remaining), "{told:?}");
            prop_assert!(told.reset.is_finite() && told.reset >= 0.0, "{told:?}");
            for effect in effects {
                if let level2::policy::Effect::Admit((), flight) = effect {
                    flights.push(flight);
                }
            }
        }
    }
}
