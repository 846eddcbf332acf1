//! Which monkeys there are, which are enabled, and how hard and how often they act.

use std::collections::BTreeSet;

use serde::{Serialize, Serializer};

/// A kind of mischief.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Monkey {
    /// One random link gets a new latency.
    Latency,
    /// One random link gets a new jitter.
    Jitter,
    /// The links across a random partition get slower for a while.
    Lagsplit,
    /// One link goes down.
    Link,
    /// The links across a random partition go down.
    Netsplit,
    /// A random set of links that touches every node goes down.
    Unneighborly,
    /// One node is stopped for a while.
    Freeze,
    /// One node is killed and started again.
    Murder,
    /// Each node once is stopped and cut off until the others have made progress without it.
    Spof,
    /// One direction of a link loses everything for a while.
    Oneway,
    /// One link carries only a few KB a second for a while.
    Bandwidth,
    /// All connections of one node break at once; the links stay up.
    Reconnect,
    /// The file system of one node's folder is full for a while.
    Fulldisk,
    /// All nodes are killed at once and started again.
    Blackout,
    /// One node is asked to end, and started again.
    Restart,
    /// One node is killed, its folder emptied, and it is started again.
    Wipe,
    /// One node is killed and stays dead, until a minority of them is.
    Crash,
    /// One of the user's scripts is run.
    Script,
    /// One node is killed, and finds another time on its monotonic clock when it is started again.
    Clock,
}

/// How often a monkey acts: seconds before the first gap begins, and the mean gap in seconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pace {
    /// Seconds from the start of the monkeys to the start of the first gap.
    pub offset_s: f64,
    /// Mean of the exponential gaps between acts, in seconds; `None` for spof, which acts once.
    pub mean_gap_s: Option<f64>,
}

impl Monkey {
    /// All of them. The place in this list is the number of the monkey's stream of random numbers:
    /// new ones go to the end.
    pub const ALL: [Self; 19] = [
        Self::Latency,
        Self::Jitter,
        Self::Lagsplit,
        Self::Link,
        Self::Netsplit,
        Self::Unneighborly,
        Self::Freeze,
        Self::Murder,
        Self::Spof,
        Self::Oneway,
        Self::Bandwidth,
        Self::Reconnect,
        Self::Fulldisk,
        Self::Blackout,
        Self::Restart,
        Self::Wipe,
        Self::Crash,
        Self::Script,
        Self::Clock,
    ];

    /// The name of its flag, as in 2014.
    pub fn flag(self) -> &'static str {
        match self {
            Self::Latency => "enable-latency-monkey",
            Self::Jitter => "enable-jitter-monkey",
            Self::Lagsplit => "enable-lagsplit-monkey",
            Self::Link => "enable-link-monkey",
            Self::Netsplit => "enable-netsplit-monkey",
            Self::Unneighborly => "enable-unneighborly-monkey",
            Self::Freeze => "enable-freeze-monkey",
            Self::Murder => "enable-murder-monkey",
            Self::Spof => "enable-spof-monkey",
            Self::Oneway => "enable-oneway-monkey",
            Self::Bandwidth => "enable-bandwidth-monkey",
            Self::Reconnect => "enable-reconnect-monkey",
            Self::Fulldisk => "enable-fulldisk-monkey",
            Self::Blackout => "enable-blackout-monkey",
            Self::Restart => "enable-restart-monkey",
            Self::Wipe => "enable-wipe-monkey",
            Self::Crash => "enable-crash-monkey",
            Self::Script => "enable-script-monkey",
            Self::Clock => "enable-clock-monkey",
        }
    }

    /// The name: its flag without what all flags have in common.
    pub fn name(self) -> &'static str {
        let flag = self.flag();
        &flag["enable-".len()..flag.len() - "-monkey".len()]
    }

    /// The monkey of this name.
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|monkey| monkey.name() == name)
    }

    /// Whether it acts unless it is switched off: those of 2014 but murder.
    pub fn on_by_default(self) -> bool {
        self <= Self::Freeze || self == Self::Spof
    }

    /// Whether it is one of those that take nothing away for good and need nothing that a run may lack: what
    /// `--monkeys all` means.
    pub fn is_for_everybody(self) -> bool {
        !matches!(
            self,
            Self::Fulldisk | Self::Wipe | Self::Crash | Self::Script | Self::Clock
        )
    }

    /// Its pace in 2014; for those that are ours, one of the same kind.
    pub fn pace(self) -> Pace {
        let (offset_s, mean_gap_s) = match self {
            Self::Latency => (0.0, Some(0.5)),
            Self::Jitter => (0.0, Some(1.0)),
            Self::Lagsplit => (3.0, Some(2.0)),
            Self::Link => (6.0, Some(3.0)),
            Self::Netsplit | Self::Reconnect => (9.0, Some(6.0)),
            Self::Unneighborly => (9.0, Some(9.0)),
            Self::Freeze | Self::Fulldisk => (12.0, Some(6.0)),
            Self::Murder | Self::Restart | Self::Clock => (20.0, Some(10.0)),
            Self::Wipe | Self::Crash => (20.0, Some(20.0)),
            Self::Spof => (1.0, None),
            Self::Oneway | Self::Bandwidth | Self::Script => (6.0, Some(4.0)),
            Self::Blackout => (15.0, Some(10.0)),
        };
        Pace {
            offset_s,
            mean_gap_s,
        }
    }

    /// Below intensity 0.1 the monkeys that break things rather than slow them do nothing.
    pub fn rests_when_calm(self) -> bool {
        !matches!(
            self,
            Self::Latency | Self::Jitter | Self::Lagsplit | Self::Spof
        )
    }
}

impl std::fmt::Display for Monkey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl Serialize for Monkey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// How hard the monkeys act, from 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Intensity {
    /// As in 2014: a wave of 30 s that begins calm.
    Wave,
    /// Always the same.
    Fixed(f64),
}

impl Intensity {
    /// The intensity so many seconds after the start of the monkeys.
    pub fn at(self, seconds: f64) -> f64 {
        match self {
            Self::Wave => (1.0 - libm::cos(2.0 * std::f64::consts::PI * seconds / 30.0)) / 2.0,
            Self::Fixed(intensity) => intensity,
        }
    }
}

/// Which monkeys act, how hard and how often.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MonkeySettings {
    /// Those that act.
    pub enabled: BTreeSet<Monkey>,
    /// How hard they act.
    pub intensity: Intensity,
    /// Scales the offsets before the first gaps.
    pub offset_scale: f64,
    /// Scales the mean gaps.
    pub gap_scale: f64,
    /// The names of the scripts of which the script monkey runs one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub scripts: Vec<String>,
    /// Whether what is done to links is done to those of the clients' machine as well, which is the place behind
    /// the last node.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub flaky_clients: bool,
}

impl MonkeySettings {
    /// How many places links join: the nodes, and the clients' machine if its links are among them.
    pub fn places(&self, nodes: usize) -> usize {
        nodes + usize::from(self.flaky_clients)
    }
}

impl Default for MonkeySettings {
    fn default() -> Self {
        Self {
            enabled: Monkey::ALL
                .into_iter()
                .filter(|monkey| monkey.on_by_default())
                .collect(),
            intensity: Intensity::Wave,
            offset_scale: 1.0,
            gap_scale: 1.0,
            scripts: Vec::new(),
            flaky_clients: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_back_and_the_order_is_the_order_of_streams() {
        for (place, monkey) in Monkey::ALL.into_iter().enumerate() {
            assert_eq!(Monkey::by_name(monkey.name()), Some(monkey));
            assert_eq!(monkey as usize, place);
        }
        assert_eq!(Monkey::by_name("gorilla"), None);
    }

    #[test]
    fn the_wave_begins_calm_and_peaks_after_fifteen_seconds() {
        assert!(Intensity::Wave.at(0.0).abs() < 1e-12);
        assert!((Intensity::Wave.at(15.0) - 1.0).abs() < 1e-12);
        assert!((Intensity::Wave.at(7.5) - 0.5).abs() < 1e-12);
        assert!(Intensity::Wave.at(30.0).abs() < 1e-12);
    }

    #[test]
    fn murder_is_off_by_default() {
        let enabled = MonkeySettings::default().enabled;
        assert_eq!(enabled.len(), 8);
        assert!(!enabled.contains(&Monkey::Murder) && enabled.contains(&Monkey::Spof));
    }
}
