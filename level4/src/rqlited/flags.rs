//! The flags of rqlite 10's `rqlited`, and what becomes of each here.
//!
//! They are written as Go's `flag` package has it: `-name value`, `-name=value`, with one dash or two, and
//! end at the first argument that is none.

use std::collections::HashMap;

use super::RefusedFlag;

/// What a flag does here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// What it does there.
    Same,
    /// Nothing, and that hurts nobody.
    Nothing,
    /// Nothing, so only this value is accepted (and none at all); the reason.
    Only(&'static str, &'static str),
    /// It is refused, for this reason.
    Refused(&'static str),
}

/// A flag: its name, whether it takes no value, what it does here.
type Flag = (&'static str, bool, Use);

use Use::{Nothing, Only, Refused, Same};

const SWITCH: bool = true;
const VALUE: bool = false;

const AUTHORITY_ALONE: &str =
    "whoever has a certificate of the authority is let in, whatever its name";
const PUSHED: &str = "metrics are not pushed: let Prometheus read /metrics";
const STAYS: &str =
    "members stay until DELETE /remove: one that is silent may come back, with acknowledged writes";

/// All flags that are documented.
#[rustfmt::skip]
pub const FLAGS: &[Flag] = &[
    ("http-addr", VALUE, Same),
    ("http-adv-addr", VALUE, Same),
    ("raft-addr", VALUE, Same),
    ("raft-adv-addr", VALUE, Same),
    ("node-id", VALUE, Same),
    ("auth", VALUE, Same),
    ("http-allow-origin", VALUE, Same),
    ("http-cert", VALUE, Same),
    ("http-key", VALUE, Same),
    ("http-ca-cert", VALUE, Same),
    ("http-verify-client", SWITCH, Same),
    ("http-verify-common-name", VALUE, Refused(AUTHORITY_ALONE)),
    ("node-cert", VALUE, Same),
    ("node-key", VALUE, Same),
    ("node-ca-cert", VALUE, Same),
    ("node-verify-client", SWITCH, Nothing),
    ("node-no-verify", SWITCH, Same),
    ("node-verify-server-name", VALUE,
        Refused("a node's certificate has to be for the host that the others dial")),
    ("node-verify-common-name", VALUE, Refused(AUTHORITY_ALONE)),
    ("join", VALUE, Same),
    ("join-as", VALUE, Nothing),
    ("join-attempts", VALUE, Nothing),
    ("join-interval", VALUE, Nothing),
    ("bootstrap-expect", VALUE, Same),
    ("bootstrap-expect-timeout", VALUE, Same),
    ("disco-mode", VALUE, Same),
    ("disco-key", VALUE, Nothing),
    ("disco-config", VALUE, Same),
    ("fk", SWITCH, Same),
    ("db-max-ro-conns", VALUE, Nothing),
    ("auto-vacuum-int", VALUE, Only("0", "VACUUM is for its users to ask for")),
    ("auto-optimize-int", VALUE, Nothing),
    ("extensions-path", VALUE,
        Refused("replicas would differ as soon as one has another version of an extension")),
    ("auto-backup", VALUE, Same),
    ("auto-restore", VALUE, Same),
    ("cdc-config", VALUE, Same),
    ("raft-non-voter", SWITCH, Same),
    ("raft-log-level", VALUE, Same),
    ("raft-snap", VALUE, Same),
    ("raft-snap-wal-size", VALUE, Nothing),
    ("raft-snap-int", VALUE, Same),
    ("raft-heartbeat-timeout", VALUE, Same),
    ("raft-election-timeout", VALUE, Same),
    ("raft-leader-lease-timeout", VALUE, Nothing),
    ("raft-commit-timeout", VALUE, Nothing),
    ("raft-apply-timeout", VALUE, Nothing),
    ("raft-remove-shutdown", SWITCH, Same),
    ("raft-cluster-remove-shutdown", SWITCH, Same),
    ("raft-shutdown-stepdown", SWITCH, Nothing),
    ("raft-reap-node-timeout", VALUE, Only("0", STAYS)),
    ("raft-reap-read-only-node-timeout", VALUE, Only("0", STAYS)),
    ("cluster-connect-timeout", VALUE, Nothing),
    ("compress-snap-transport", SWITCH, Nothing),
    ("write-queue-capacity", VALUE, Same),
    ("write-queue-batch-size", VALUE, Same),
    ("write-queue-timeout", VALUE, Same),
    ("write-queue-tx", SWITCH, Same),
    ("otlp-endpoint", VALUE, Refused(PUSHED)),
    ("otlp-interval", VALUE, Nothing),
    ("otlp-insecure", SWITCH, Nothing),
    ("otlp-no-verify", SWITCH, Nothing),
    ("otlp-ca-cert", VALUE, Nothing),
    ("otlp-cert", VALUE, Nothing),
    ("otlp-key", VALUE, Nothing),
    ("version", SWITCH, Same),
    ("help", SWITCH, Same),
    ("h", SWITCH, Same),
    ("cpu-profile", VALUE, Refused("use perf")),
    ("mem-profile", VALUE, Refused("use heaptrack")),
    ("trace-profile", VALUE, Refused("level4 --trace writes down what happens at a node")),
];

/// A command line, taken apart.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Given {
    values: HashMap<&'static str, String>,
    /// What is no flag.
    pub rest: Vec<String>,
}

impl Given {
    /// Takes `arguments` (without the program's name) apart.
    ///
    /// # Errors
    ///
    /// If one is no flag of rqlited's, lacks its value, or cannot be what it says.
    pub fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Self, RefusedFlag> {
        let mut given = Self::default();
        let mut arguments = arguments.into_iter();
        while let Some(argument) = arguments.next() {
            let name = argument.strip_prefix('-').filter(|name| !name.is_empty());
            let Some(name) = name else {
                given.rest.push(argument);
                break;
            };
            if name == "-" {
                break;
            }
            let name = name.strip_prefix('-').unwrap_or(name);
            let (name, value) = match name.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (name, None),
            };
            let Some(&(name, is_switch, is_used)) = FLAGS.iter().find(|flag| flag.0 == name) else {
                return Err(RefusedFlag::new(name, "rqlited has no such flag"));
            };
            let value = match value {
                Some(value) if is_switch => switch(name, &value)?.to_owned(),
                Some(value) => value,
                None if is_switch => "true".to_owned(),
                None => arguments
                    .next()
                    .ok_or_else(|| RefusedFlag::new(name, "needs a value"))?,
            };
            accept(name, &value, is_used)?;
            given.values.insert(name, value);
        }
        given.rest.extend(arguments);
        Ok(given)
    }

    /// The flag's value, if it was given one that is not empty.
    pub fn get(&self, name: &str) -> Option<&str> {
        let value = self.values.get(name).map(String::as_str);
        value.filter(|value| !value.is_empty())
    }

    /// Whether it is on.
    pub fn is_on(&self, name: &str) -> bool {
        self.get(name) == Some("true")
    }

    /// Whether a switch is on that is on without being given.
    pub fn is_on_or_unsaid(&self, name: &str) -> bool {
        self.get(name) != Some("false")
    }
}

fn switch(name: &str, value: &str) -> Result<&'static str, RefusedFlag> {
    match value {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok("true"),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok("false"),
        _ => Err(RefusedFlag::new(name, "is true or false")),
    }
}

fn accept(name: &'static str, value: &str, is_used: Use) -> Result<(), RefusedFlag> {
    match is_used {
        Same | Nothing => Ok(()),
        // Off.
        Refused(_) | Only(..) if value.is_empty() => Ok(()),
        Only(only, _) if value == only => Ok(()),
        // A duration of nothing may have any unit.
        Only("0", _) if value.trim_end_matches(char::is_alphabetic) == "0" => Ok(()),
        Refused(reason) | Only(_, reason) => Err(RefusedFlag::new(name, reason)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Given, String> {
        let words = line.split_whitespace().map(str::to_owned);
        Given::parse(words).map_err(|error| error.to_string())
    }

    #[test]
    fn flags_are_written_as_go_has_them() {
        let given =
            parse("-node-id 1 --http-addr=h:1 -fk -raft-non-voter=false -join= d x").unwrap();
        assert_eq!(given.get("node-id"), Some("1"));
        assert_eq!(given.get("http-addr"), Some("h:1"));
        assert!(given.is_on("fk") && !given.is_on("raft-non-voter"));
        assert_eq!(given.get("join"), None);
        assert_eq!(given.rest, ["d", "x"]);
        assert_eq!(parse("-fk -- -data").unwrap().rest, ["-data"]);
    }

    #[test]
    fn what_cannot_be_done_is_refused_with_the_reason() {
        for (line, told) in [
            ("-nonsense", "-nonsense: rqlited has no such flag"),
            ("-node-id", "-node-id: needs a value"),
            ("-fk=maybe", "-fk: is true or false"),
            ("-extensions-path x d", "replicas would differ"),
            ("-raft-reap-node-timeout 1h d", "members stay"),
        ] {
            let error = parse(line).unwrap_err();
            assert!(error.contains(told), "{line}: {error}");
        }
        for line in [
            "-raft-reap-node-timeout 0h d",
            "-auto-vacuum-int=0s d",
            "-cdc-config= d",
        ] {
            assert!(parse(line).is_ok(), "{line}");
        }
    }
}
