//! Concurrent pushes: of two that race, exactly one lands.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    thread,
};

use harness::level1::{
    bots::{Miner, Step},
    journal::{Event, Reader},
};

use crate::support::Chain;

const PUSHERS: usize = 8;
const COINS: u64 = 100;

#[test]
fn eight_pushers_race_for_a_hundred_coins() {
    let chain = Chain::new();
    let landed = AtomicU64::new(0);
    let too_late = AtomicU64::new(0);
    thread::scope(|scope| {
        for pusher in 0..PUSHERS {
            let (landed, too_late, chain) = (&landed, &too_late, &chain);
            scope.spawn(move || {
                let name = format!("pusher {pusher}");
                let mut miner = Miner::new(&name, &chain.server);
                while landed.load(Ordering::SeqCst) < COINS {
                    match miner.step(1 << 20).unwrap() {
                        Step::Landed => landed.fetch_add(1, Ordering::SeqCst),
                        Step::TooLate => too_late.fetch_add(1, Ordering::SeqCst),
                        Step::Searching => 0,
                    };
                }
            });
        }
    });
    let landed = landed.into_inner();
    assert!(landed >= COINS);
    // Eight that push all the time cannot all be in time.
    assert!(too_late.into_inner() > 0);
    let head = chain.head();
    let commits = chain
        .server
        .git()
        .run(&["rev-list", "--count", "master"])
        .unwrap();
    assert_eq!(
        commits.trim().parse(),
        Ok(landed + 1),
        "the genesis commit and one a coin"
    );
    assert_eq!(chain.server.ledger(head).unwrap().total(), landed);
    assert_eq!(chain.server.audit(head).unwrap(), landed);
    let lines = Reader::new(chain.server.dir()).read().unwrap();
    let noted = lines
        .iter()
        .filter(|line| matches!(line.event, Event::Landed { .. }));
    assert_eq!(noted.count() as u64, landed);
}
