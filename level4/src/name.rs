//! How members know each other: the text that stands for each in the membership.
//!
//! It begins with the address at which peers reach the node. What differs from the usual follows as words:
//! `id=` what its operator calls it, `api=URL` where clients reach it elsewhere, and `nonvoter` for one that is never to vote. Being part of
//! the membership, it is the same on all nodes, and known of one that is down.

use std::fmt;

use crate::ids::NodeId;
use crate::transport::is_path;

const API: &str = "api=";
const LABEL: &str = "id=";
const NONVOTER: &str = "nonvoter";

/// The parts of a member's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemberName<'a> {
    /// Where peers reach it: `host:port` or a socket's path.
    pub address: &'a str,
    /// Where clients reach it, as a URL, if not at the address by HTTP.
    pub api: Option<&'a str>,
    /// What its operator calls it.
    pub label: Option<&'a str>,
    /// It learns, and never votes.
    pub is_nonvoter: bool,
}

impl<'a> MemberName<'a> {
    /// The parts of a name. Whatever it holds is one.
    pub fn parse(text: &'a str) -> Self {
        let mut name = Self {
            address: text,
            api: None,
            label: None,
            is_nonvoter: false,
        };
        // From the end, for a socket's path may have anything in it.
        while let Some((before, word)) = name.address.rsplit_once(' ') {
            if let Some(url) = word.strip_prefix(API) {
                name.api = Some(url);
            } else if let Some(label) = word.strip_prefix(LABEL) {
                name.label = Some(label);
            } else if word == NONVOTER {
                name.is_nonvoter = true;
            } else {
                break;
            }
            name.address = before;
        }
        name
    }

    /// What it is called: by its operator, or else by its number.
    pub fn id(&self, node: NodeId) -> String {
        self.label.map_or_else(|| node.to_string(), str::to_owned)
    }

    /// The URL at which clients reach it; one at a socket's path has none.
    pub fn url(&self) -> Option<String> {
        match self.api {
            Some(url) => Some(url.to_owned()),
            None if is_path(self.address) => None,
            None => Some(format!("http://{}", self.address)),
        }
    }
}

impl fmt::Display for MemberName<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.write_str(self.address)?;
        if let Some(label) = self.label {
            write!(formatter, " {LABEL}{label}")?;
        }
        if let Some(url) = self.api {
            write!(formatter, " {API}{url}")?;
        }
        if self.is_nonvoter {
            write!(formatter, " {NONVOTER}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_are_addresses_and_what_differs_from_the_usual() {
        let plain = MemberName::parse("db1:4001");
        assert_eq!(plain.address, "db1:4001");
        assert_eq!(plain.url().unwrap(), "http://db1:4001");
        assert!(!plain.is_nonvoter);
        let other = MemberName::parse("db1:4002 api=https://db1:4001 nonvoter");
        assert_eq!(other.address, "db1:4002");
        assert_eq!(other.url().unwrap(), "https://db1:4001");
        assert!(other.is_nonvoter);
        assert_eq!(MemberName::parse("./a b.sock").address, "./a b.sock");
        assert_eq!(MemberName::parse("./a.sock").url(), None);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            address in "[a-z./:0-9]{1,12}",
            api in prop::option::of("https?://[a-z]{1,5}:[0-9]{1,4}"),
            label in prop::option::of("[a-z0-9:.]{1,5}"),
            is_nonvoter: bool,
            anything: String,
        ) {
            let name = MemberName { address: &address, api: api.as_deref(), label: label.as_deref(), is_nonvoter };
            let text = name.to_string();
            prop_assert_eq!(MemberName::parse(&text), name);
            // Whatever a peer sends has an address.
            MemberName::parse(&anything);
        }
    }
}
