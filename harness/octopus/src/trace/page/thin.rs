//! What is left out of a page that would be too large: first what says least.

use crate::trace::Event;

/// The last step; beyond it nothing more is left out.
pub const STEPS: usize = 7;

/// What is left out in a step, in words.
pub fn words(step: usize) -> Option<&'static str> {
    Some(match step {
        0 => return None,
        1 => "ticks",
        2 => "ticks, and what events say in words and of queues",
        3 => "ticks, words, queues, and half of the messages about no request",
        4 => "ticks, words, queues, and three quarters of the messages about no request",
        5 => "ticks, words, queues, and the messages about no request",
        6 => "ticks, words, queues, and all messages but a quarter",
        _ => "ticks, words, queues, and all messages but a sixteenth",
    })
}

/// What a step keeps of these events.
pub fn keep(events: &[Event], step: usize) -> Vec<Kept<'_>> {
    let kept = events.iter().filter(|event| keeps(event, step));
    kept.map(|event| Kept {
        event,
        has_words: step < 2,
    })
    .collect()
}

/// An event in the page.
#[derive(Clone, Copy, Debug)]
pub struct Kept<'a> {
    /// The event.
    pub event: &'a Event,
    /// Whether its words and queues are kept as well.
    pub has_words: bool,
}

fn keeps(event: &Event, step: usize) -> bool {
    match event.kind.as_str() {
        "tick" => step < 1,
        "send" | "deliver" | "drop" => {
            let id = event.id.as_deref().unwrap_or_default();
            let about_none = event.requests.is_empty() && event.entries.is_empty();
            let share = match step {
                ..3 => 1,
                3..5 if !about_none => 1,
                3 => 2,
                4 => 4,
                _ if about_none => return false,
                5 => 1,
                6 => 4,
                _ => 16,
            };
            spread(id).is_multiple_of(share)
        }
        _ => true,
    }
}

/// The same for all events of a message (FNV-1a, and its high half mixed in).
fn spread(id: &str) -> u64 {
    let hash = id.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    hash ^ hash >> 32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_kept_with_all_its_events_or_not_at_all() {
        let events: Vec<Event> = (0..400)
            .map(|at| {
                let kind = ["send", "deliver"][at % 2];
                let is_asked = at % 8 < 4;
                Event {
                    id: Some((at / 2).to_string()),
                    requests: if is_asked {
                        vec!["q".to_owned()]
                    } else {
                        Vec::new()
                    },
                    ..Event::new(at as u64, kind)
                }
            })
            .collect();
        let mut before = events.len();
        for step in 1..=STEPS {
            let kept = keep(&events, step);
            assert!(kept.len() <= before && words(step).is_some());
            before = kept.len();
            let pairs = kept.chunks(2);
            assert!(
                pairs
                    .into_iter()
                    .all(|pair| pair[0].event.id == pair[1].event.id)
            );
        }
        // All that is about a request, and some of the rest.
        assert!((201..300).contains(&keep(&events, 4).len()));
        assert_eq!(keep(&events, 5).len(), 200);
        assert!((2..100).contains(&before));
    }
}
