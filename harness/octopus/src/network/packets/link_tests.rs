use rand::SeedableRng;

use super::*;
use crate::network::packets::packet::{
    ACK, SYN, TCP, UDP,
    tests::{segment, v4},
};

const DOWN_THE_LINK: Direction = Direction::FromLow;

fn link(latency_ms: u64, jitter_ms: u64) -> PacketLink {
    let rng = ChaCha12Rng::seed_from_u64(3);
    PacketLink::new(Pair::new(0, 1), LinkState::new(latency_ms, jitter_ms), rng)
}

fn ms(ms: u64) -> Moment {
    Moment::from_millis(ms)
}

fn datagram(port: u16, bytes: usize) -> Vec<u8> {
    let mut payload = port.to_be_bytes().to_vec();
    payload.resize(bytes - 20, 0);
    v4(UDP, 10, 11, &payload)
}

fn send(link: &mut PacketLink, now: Moment, bytes: &[u8], rules: &PacketRules) -> Fate {
    link.send(now, DOWN_THE_LINK, &Packet::read(bytes).unwrap(), rules)
}

fn arrival(fate: Fate) -> Option<Moment> {
    match fate {
        Fate::Arrives { at, .. } => Some(at),
        _ => None,
    }
}

#[test]
fn a_flow_keeps_its_order_and_flows_overtake_each_other() {
    let mut link = link(5, 40);
    let rules = PacketRules::default();
    let mut last = [Moment::ZERO; 8];
    let mut overtaken = 0;
    let mut latest = Moment::ZERO;
    for step in 0..4000 {
        let flow = step % 8;
        let bytes = datagram(flow as u16 + 1, 100);
        let at = arrival(send(&mut link, ms(step as u64), &bytes, &rules)).unwrap();
        assert!(at >= last[flow] && at >= ms(step as u64 + 5));
        last[flow] = at;
        overtaken += usize::from(at < latest);
        latest = latest.max(at);
    }
    assert!(overtaken > 1000, "{overtaken}");
}

#[test]
fn reordering_lets_a_share_overtake_and_loss_and_duplication_hit_theirs() {
    let mut link = link(20, 0);
    let rules = PacketRules {
        loss: 0.1,
        duplication: 0.2,
        reorder: 0.3,
        ..PacketRules::default()
    };
    let (mut lost, mut twice, mut early) = (0.0, 0.0, 0.0);
    let bytes = datagram(1, 100);
    for _ in 0..20_000 {
        match send(&mut link, ms(1), &bytes, &rules) {
            Fate::Lost => lost += 1.0,
            Fate::Arrives { at, again } => {
                early += f64::from(u8::from(at == ms(1)));
                twice += f64::from(u8::from(again.is_some()));
            }
            other => panic!("{other:?}"),
        }
    }
    let kept = 20_000.0 - lost;
    assert!((lost / 20_000.0 - 0.1_f64).abs() < 0.01, "{lost}");
    assert!((twice / kept - 0.2_f64).abs() < 0.01, "{twice}");
    assert!((early / kept - 0.3_f64).abs() < 0.015, "{early}");
}

#[test]
fn a_limit_sends_one_after_the_other_and_a_full_queue_loses() {
    let mut link = link(10, 0);
    let rules = PacketRules {
        queue_bytes: 2500,
        ..PacketRules::default()
    };
    link.change(Change::Limit(1000));
    let bytes = datagram(1, 1000);
    let mut times = Vec::new();
    for _ in 0..4 {
        times.push(arrival(send(&mut link, ms(0), &bytes, &rules)));
    }
    assert_eq!(times, [Some(ms(1010)), Some(ms(2010)), None, None]);
    // A second later one of them has gone.
    assert_eq!(
        arrival(send(&mut link, ms(1000), &bytes, &rules)),
        Some(ms(3010))
    );
    link.change(Change::LiftLimit(1000));
    let other = datagram(2, 1000);
    assert_eq!(
        arrival(send(&mut link, ms(1000), &other, &rules)),
        Some(ms(1010))
    );
}

#[test]
fn down_drops_or_rejects_and_loses_what_is_under_way() {
    let mut link = link(10, 0);
    let bytes = datagram(1, 100);
    let rules = PacketRules::default();
    let era = link.era();
    link.change(Change::Down);
    assert_ne!(link.era(), era);
    assert_eq!(send(&mut link, ms(0), &bytes, &rules), Fate::Lost);
    let rejects = PacketRules {
        down: Down::Reject,
        ..rules
    };
    assert_eq!(
        send(&mut link, ms(0), &bytes, &rejects),
        Fate::Refused(ms(10))
    );
    // Taken down twice, and back once, it is down.
    link.change(Change::Down);
    link.change(Change::Up);
    assert_eq!(send(&mut link, ms(0), &bytes, &rules), Fate::Lost);
    link.change(Change::Up);
    assert_eq!(
        arrival(send(&mut link, ms(0), &bytes, &rules)),
        Some(ms(10))
    );
}

#[test]
fn one_way_loss_is_one_way() {
    let mut link = link(10, 0);
    link.change(Change::Loss(0));
    let bytes = datagram(1, 100);
    let rules = PacketRules::default();
    assert_eq!(send(&mut link, ms(0), &bytes, &rules), Fate::Lost);
    let packet = Packet::read(&bytes).unwrap();
    let back = link.send(ms(0), Direction::FromHigh, &packet, &rules);
    assert_eq!(arrival(back), Some(ms(10)));
}

#[test]
fn broken_connections_are_reset_and_new_ones_are_not() {
    let mut link = link(10, 0);
    let rules = PacketRules::default();
    let opens = v4(TCP, 10, 11, &segment((4000, 80), SYN, 0));
    let says = v4(TCP, 10, 11, &segment((4000, 80), ACK, 9));
    let opens_other = v4(TCP, 10, 11, &segment((4001, 80), SYN, 0));
    assert!(arrival(send(&mut link, ms(0), &opens, &rules)).is_some());
    assert!(arrival(send(&mut link, ms(0), &says, &rules)).is_some());
    link.change(Change::DropConnections);
    assert_eq!(send(&mut link, ms(1), &says, &rules), Fate::Reset(ms(11)));
    assert!(arrival(send(&mut link, ms(1), &opens_other, &rules)).is_some());
    // A new connection between the same ports.
    assert!(arrival(send(&mut link, ms(2), &opens, &rules)).is_some());
    assert!(arrival(send(&mut link, ms(2), &says, &rules)).is_some());
    assert!(arrival(send(&mut link, ms(2), &datagram(1, 60), &rules)).is_some());
}

#[test]
fn what_is_under_way_is_bounded() {
    let mut link = link(1000, 0);
    let rules = PacketRules::default();
    let bytes = datagram(1, 60_000);
    let most = MOST_UNDER_DELAY / 60_000;
    for _ in 0..most {
        assert!(arrival(send(&mut link, ms(0), &bytes, &rules)).is_some());
    }
    assert_eq!(send(&mut link, ms(0), &bytes, &rules), Fate::Lost);
    link.arrived(DOWN_THE_LINK, 60_000);
    assert!(arrival(send(&mut link, ms(0), &bytes, &rules)).is_some());
}
