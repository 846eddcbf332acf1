//! Schedules written by hand, in the words in which they are printed: what [`Schedule::lines`] writes is read
//! back. Blank lines, comments (`#`) and the digest at the end mean nothing.

use super::{
    schedule::{Act, Schedule, What},
    settings::Monkey,
};
use crate::network::{LinkState, NodeId, Pair, pairs};

/// The latest time of a clock, in seconds: a century, which kernels can count.
const MOST_CLOCK_S: u64 = 100 * 366 * 24 * 3600;

/// The most acts of a schedule.
const MOST_ACTS: usize = 1_000_000;

/// A line of a schedule that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {why}")]
pub struct BadSchedule {
    /// Its number, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub why: String,
}

impl Schedule {
    /// Reads a schedule for so many nodes, and so many places that links join. Links of which it says nothing begin without any delay; acts may be in
    /// any order.
    ///
    /// # Errors
    /// The first line that says nothing known, or something about nodes that are not there.
    pub fn parse(text: &str, nodes: usize, places: usize) -> Result<Self, BadSchedule> {
        let mut schedule = Self {
            links: vec![LinkState::default(); pairs(places).len()],
            acts: Vec::new(),
        };
        for (number, line) in text.lines().enumerate() {
            let line = line.split('#').next().unwrap_or_default();
            let words: Vec<&str> = line.split_whitespace().collect();
            read(&words, (nodes, places), &mut schedule).map_err(|why| BadSchedule {
                line: number + 1,
                why,
            })?;
        }
        schedule.acts.sort_by_key(|act| (act.at_us, act.monkey));
        Ok(schedule)
    }
}

fn read(
    words: &[&str],
    (nodes, places): (usize, usize),
    schedule: &mut Schedule,
) -> Result<(), String> {
    match words {
        [] | ["sha256", _] => Ok(()),
        [
            "start",
            "link",
            pair,
            "latency",
            latency,
            "ms",
            "jitter",
            jitter,
            "ms",
        ] => {
            let pair = a_pair(pair, places)?;
            schedule.links[pair.index(places)] = LinkState::new(number(latency)?, number(jitter)?);
            Ok(())
        }
        [at, unit @ ("s" | "ms"), monkey, what @ ..] => {
            let monkey =
                Monkey::by_name(monkey).ok_or_else(|| format!("no monkey is called {monkey}"))?;
            if schedule.acts.len() == MOST_ACTS {
                return Err(format!("more than {MOST_ACTS} acts"));
            }
            schedule.acts.push(Act {
                at_us: time(at, unit)?,
                monkey,
                what: act(what, nodes, places)?,
            });
            Ok(())
        }
        _ => Err("neither an act (TIME s MONKEY ACT) nor the start of a link".to_owned()),
    }
}

fn act(words: &[&str], nodes: usize, places: usize) -> Result<What, String> {
    let of_links = act_on_links(words, places)?;
    let act = of_links.map_or_else(|| act_on_nodes(words, nodes), |act| Ok(Some(act)))?;
    act.ok_or_else(|| format!("no act is written \"{}\"", words.join(" ")))
}

fn act_on_links(words: &[&str], places: usize) -> Result<Option<What>, String> {
    let link = |word: &str| a_pair(word, places);
    let links = |words: &[&str]| {
        words
            .iter()
            .map(|word| a_pair(word, places))
            .collect::<Result<Vec<_>, _>>()
    };
    Ok(Some(match words {
        ["latency", "of", "link", pair, "becomes", ms, "ms"] => What::Latency {
            link: link(pair)?,
            ms: number(ms)?,
        },
        ["jitter", "of", "link", pair, "becomes", ms, "ms"] => What::Jitter {
            link: link(pair)?,
            ms: number(ms)?,
        },
        [
            ms,
            "ms",
            "more",
            "on",
            "link" | "links",
            pairs @ ..,
            "for",
            length,
            unit,
        ] => What::Spike {
            links: links(pairs)?,
            ms: number(ms)?,
            for_us: time(length, unit)?,
        },
        [
            "link",
            pair,
            "loses",
            "what",
            "comes",
            "from",
            "node",
            from,
            "for",
            length,
            unit,
        ] => {
            let (link, from) = (link(pair)?, a_node(from, places)?);
            if !link.touches(from) {
                return Err(format!("link {link} does not end at node {from}"));
            }
            What::Loss {
                link,
                from,
                for_us: time(length, unit)?,
            }
        }
        [
            "link",
            pair,
            "carries",
            rate,
            "bytes/s",
            "for",
            length,
            unit,
        ] => What::Bandwidth {
            link: link(pair)?,
            bytes_per_s: number(rate)?.max(1),
            for_us: time(length, unit)?,
        },
        ["link" | "links", pairs @ .., "down", "for", length, unit] => What::Down {
            links: links(pairs)?,
            for_us: time(length, unit)?,
        },
        ["connections", "of", "link" | "links", pairs @ .., "break"] => What::DropConnections {
            links: links(pairs)?,
        },
        _ => return Ok(None),
    }))
}

fn act_on_nodes(words: &[&str], nodes: usize) -> Result<Option<What>, String> {
    let all = |words: &[&str]| {
        words
            .iter()
            .map(|word| a_node(word, nodes))
            .collect::<Result<Vec<_>, _>>()
    };
    let node = |word: &str| a_node(word, nodes);
    Ok(Some(match words {
        ["node", one, "stopped", "for", length, unit] => What::Freeze {
            node: node(one)?,
            for_us: time(length, unit)?,
        },
        [
            "node" | "nodes",
            killed @ ..,
            "killed,",
            "restart",
            "after",
            length,
            unit,
        ] => What::Kill {
            nodes: all(killed)?,
            for_us: time(length, unit)?,
        },
        [
            "node" | "nodes",
            rest @ ..,
            "until",
            "the",
            "others",
            "make",
            "progress",
        ] => {
            let [
                order @ ..,
                "stopped",
                "and",
                "cut",
                "off,",
                "one",
                "after",
                "the",
                "other,",
            ] = rest
            else {
                return Ok(None);
            };
            What::Spof { order: all(order)? }
        }
        ["disk", "of", "node", one, "full", "for", length, unit] => What::FullDisk {
            node: node(one)?,
            for_us: time(length, unit)?,
        },
        [
            "node",
            one,
            "asked",
            "to",
            "end,",
            "restart",
            "after",
            length,
            unit,
        ] => What::Restart {
            node: node(one)?,
            for_us: time(length, unit)?,
        },
        [
            "node",
            one,
            "killed",
            "and",
            "wiped,",
            "restart",
            "after",
            length,
            unit,
        ] => What::Wipe {
            node: node(one)?,
            for_us: time(length, unit)?,
        },
        _ => return act_beyond_links_and_lives(words, nodes),
    }))
}

/// Clocks, ends for good, and scripts.
fn act_beyond_links_and_lives(words: &[&str], nodes: usize) -> Result<Option<What>, String> {
    let node = |word: &str| a_node(word, nodes);
    Ok(Some(match words {
        [
            "node",
            one,
            "killed,",
            "clock",
            "at",
            at_s,
            "s,",
            "restart",
            "after",
            length,
            unit,
        ] => What::Clock {
            node: node(one)?,
            at_s: number(at_s)?.min(MOST_CLOCK_S),
            for_us: time(length, unit)?,
        },
        ["node", one, "killed", "for", "good"] => What::Crash { node: node(one)? },
        ["script", name, "runs"] => What::Script {
            name: (*name).to_owned(),
            draw: 0,
        },
        ["script", name, "runs", "with", draw] => What::Script {
            name: (*name).to_owned(),
            draw: draw.parse().map_err(|_| format!("{draw} is no number"))?,
        },
        _ => return Ok(None),
    }))
}

fn a_pair(word: &str, nodes: usize) -> Result<Pair, String> {
    let (one, other) = word
        .split_once('-')
        .ok_or_else(|| format!("{word} is no link: write 0-1"))?;
    let (one, other) = (a_node(one, nodes)?, a_node(other, nodes)?);
    if one == other {
        return Err(format!("{word} joins a node to itself"));
    }
    Ok(Pair::new(one, other))
}

fn a_node(word: &str, nodes: usize) -> Result<NodeId, String> {
    let node = word.parse::<NodeId>().ok().filter(|&node| node < nodes);
    node.ok_or_else(|| format!("{word} is none of the {nodes} nodes"))
}

fn number(word: &str) -> Result<u64, String> {
    word.parse().map_err(|_| format!("{word} is no number"))
}

/// Microseconds.
fn time(word: &str, unit: &str) -> Result<u64, String> {
    let scale = match unit {
        "s" => 1e6,
        "ms" => 1e3,
        _ => return Err(format!("{unit} is no unit: write s or ms")),
    };
    let time = word.parse::<f64>().ok().map(|time| (time * scale).round());
    // A year, which no run lasts.
    let time = time.filter(|time| (0.0..3.2e13).contains(time));
    time.map(|time| time as u64)
        .ok_or_else(|| format!("{word} is no time"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::monkeys::{Intensity, MonkeySettings};

    #[test]
    fn what_is_printed_is_read_back() {
        let settings = MonkeySettings {
            enabled: Monkey::ALL.into(),
            intensity: Intensity::Fixed(1.0),
            offset_scale: 0.0,
            gap_scale: 0.2,
            scripts: vec!["grow".to_owned(), "shrink".to_owned()],
            flaky_clients: false,
        };
        let schedule = Schedule::new(5, 4, 20_000_000, &settings);
        let kinds: std::collections::BTreeSet<Monkey> =
            schedule.acts.iter().map(|act| act.monkey).collect();
        assert_eq!(kinds.len(), Monkey::ALL.len());
        let text: Vec<String> = schedule.lines(4).collect();
        assert_eq!(Schedule::parse(&text.join("\n"), 4, 4).unwrap(), schedule);
    }

    #[test]
    fn schedules_are_written_by_hand() {
        let text = "# cut node 0 off\n\n2 s netsplit links 0-1 2-0 down for 5 s\n1.5 s freeze node 2 stopped for 10 ms\n";
        let schedule = Schedule::parse(text, 3, 3).unwrap();
        let lines: Vec<String> = schedule.acts.iter().map(ToString::to_string).collect();
        assert_eq!(
            lines,
            [
                "   1.500000 s freeze       node 2 stopped for 10.000 ms",
                "   2.000000 s netsplit     links 0-1 0-2 down for 5000.000 ms"
            ]
        );
        let refused = |text: &str| Schedule::parse(text, 3, 3).unwrap_err().to_string();
        assert_eq!(
            refused("\n1 s link link 0-3 down for 1 s"),
            "line 2: 3 is none of the 3 nodes"
        );
        assert!(refused("1 s gorilla x").contains("gorilla"));
        assert!(refused("1 s link link 0-1 up").contains("no act is written"));
        assert!(refused("x s link link 0-1 down for 1 s").contains("no time"));
        assert!(
            refused("1 s oneway link 0-1 loses what comes from node 2 for 1 s")
                .contains("does not end")
        );
        // The place of the clients' machine is behind the nodes.
        let cut = "1 s netsplit link 0-3 down for 1 s";
        assert_eq!(Schedule::parse(cut, 3, 4).unwrap().links.len(), 6);
        assert!(refused(cut).contains("3 is none of"));
        let kill = Schedule::parse("1 s freeze node 3 stopped for 1 s", 3, 4);
        assert!(kill.unwrap_err().to_string().contains("3 is none of the 3"));
    }
}
