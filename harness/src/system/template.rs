//! What stands in braces in the command lines and files of a node: its number, where it is, and where the
//! others are.
//!
//! `{id}`, `{dir}`, `{listen}`, `{join}` and `{peers}` are there for every node; on machines also `{ip}`,
//! `{ip6}`, `{host}`, and `{peers:FORMAT}` and `{all:FORMAT}`, which write FORMAT once for each of the others,
//! or for every node: `{all:{host}=http://{ip}:2380}`. Commas stand between them, or what follows the last
//! `|` of FORMAT. Braces that hold anything else stay as they are.

use octopus::{Endpoint, MachineAddress, NodeId, Place};

/// Fills the braces of a text for the node at a place, one of `nodes`. `None` for `{join}` on node 0, which has
/// nobody to join.
pub fn fill(text: &str, place: &Place, nodes: usize) -> Option<String> {
    let mut filled = String::new();
    let mut rest = text;
    while let Some(start) = rest.find('{') {
        filled.push_str(&rest[..start]);
        rest = &rest[start..];
        let length = braces(rest);
        let known = length.map(|length| (length, value(&rest[1..length - 1], place, nodes)));
        match known {
            Some((length, Value::Text(text))) => {
                filled.push_str(&text);
                rest = &rest[length..];
            }
            Some((_, Value::Nobody)) => return None,
            Some((_, Value::Unknown)) | None => {
                filled.push('{');
                rest = &rest[1..];
            }
        }
    }
    filled.push_str(rest);
    Some(filled)
}

/// Names in braces: of every node, and of the formats in `{peers:FORMAT}` and `{all:FORMAT}`.
pub(super) const NAMES: [&str; 8] = ["id", "dir", "listen", "join", "peers", "ip", "ip6", "host"];
const FORMATS: [&str; 2] = ["peers", "all"];
const IN_FORMATS: [&str; 4] = ["id", "ip", "ip6", "host"];

/// Looks for names in braces that are nearly one that would be filled in; what is nothing like one may be meant for
/// whoever reads the text. `more` are names besides ours.
///
/// # Errors
/// There is one, a format has no end, or one has a name that only stands outside of formats; the text says which.
pub fn check(text: &str, more: &[&str]) -> Result<(), String> {
    let known: Vec<&str> = NAMES.iter().chain(&["all"]).chain(more).copied().collect();
    check_names(text, &known)
}

fn check_names(text: &str, known: &[&str]) -> Result<(), String> {
    for (start, _) in text.match_indices('{') {
        // A variable of a shell's.
        if text[..start].ends_with('$') {
            continue;
        }
        let rest = &text[start..];
        let is_of_name = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
        let name = rest[1..].split(|letter| !is_of_name(letter)).next();
        let name = name.unwrap_or_default();
        let is_format = match rest.as_bytes().get(1 + name.len()) {
            Some(b'}') => false,
            Some(b':') => true,
            _ => continue,
        };
        if is_format && FORMATS.contains(&name) {
            let length = braces(rest).ok_or_else(|| format!("{{{name}: has no end"))?;
            let format = &rest[name.len() + 2..length - 1];
            let outside = NAMES
                .iter()
                .find(|name| !IN_FORMATS.contains(name) && format.contains(&format!("{{{name}}}")));
            if let Some(other) = outside {
                return Err(format!(
                    "{{{other}}} has no meaning in {{{name}:{format}}}: there are {{id}}, {{ip}}, {{ip6}}, {{host}}"
                ));
            }
        } else if !known.contains(&name)
            && let Some(meant) = known.iter().find(|known| is_nearly(name, known))
        {
            return Err(format!("{{{name}}} is not known: is {{{meant}}} meant?"));
        }
    }
    Ok(())
}

/// Whether a name was meant to be another one: but for case, or if that has three letters at least, for one letter or
/// two that changed places.
fn is_nearly(name: &str, other: &str) -> bool {
    name.eq_ignore_ascii_case(other) || other.len() >= 3 && strsim::osa_distance(name, other) == 1
}

enum Value {
    Text(String),
    /// There is nobody to join.
    Nobody,
    Unknown,
}

/// How long the text in braces at the beginning is, with its braces.
fn braces(text: &str) -> Option<usize> {
    let mut depth = 0;
    for (place, letter) in text.char_indices() {
        match letter {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some(place + 1);
        }
    }
    None
}

fn value(name: &str, place: &Place, nodes: usize) -> Value {
    let of_node = || MachineAddress::of_node(place.node);
    let others = || (0..nodes).filter(|&node| node != place.node);
    Value::Text(match name {
        "id" => place.node.to_string(),
        "dir" => place.folder.to_string_lossy().into_owned(),
        "listen" => shown(&place.listen),
        "join" => match place.peers.iter().find(|(peer, _)| *peer == 0) {
            Some((_, endpoint)) => shown(endpoint),
            None if place.node == 0 => return Value::Nobody,
            None => String::new(),
        },
        "peers" => {
            let peers = place.peers.iter();
            let peers: Vec<String> = peers
                .map(|(peer, endpoint)| format!("{peer}={}", shown(endpoint)))
                .collect();
            peers.join(",")
        }
        "ip" => of_node().v4.to_string(),
        "ip6" => of_node().v6.to_string(),
        "host" => of_node().name,
        _ => match name.split_once(':') {
            Some(("peers", format)) => each(format, others()),
            Some(("all", format)) => each(format, 0..nodes),
            _ => return Value::Unknown,
        },
    })
}

/// A format filled in for each of several nodes.
fn each(format: &str, nodes: impl Iterator<Item = NodeId>) -> String {
    let (format, separator) = format.rsplit_once('|').unwrap_or((format, ","));
    let one = |node| {
        let MachineAddress { name, v4, v6 } = MachineAddress::of_node(node);
        format
            .replace("{id}", &node.to_string())
            .replace("{ip}", &v4.to_string())
            .replace("{ip6}", &v6.to_string())
            .replace("{host}", &name)
    };
    nodes.map(one).collect::<Vec<_>>().join(separator)
}

/// An endpoint as a node in its own folder names it.
fn shown(endpoint: &Endpoint) -> String {
    match endpoint {
        Endpoint::Unix(path) => format!(
            "./{}",
            path.file_name().unwrap_or_default().to_string_lossy()
        ),
        Endpoint::Tcp(address) => address.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(node: usize, tcp: bool) -> Place {
        let endpoint = |name: usize| {
            if tcp {
                Endpoint::Tcp(([127, 0, 0, 1], 4000 + name as u16).into())
            } else {
                Endpoint::Unix(format!("/r/node{node}/node{name}.sock").into())
            }
        };
        Place {
            node,
            folder: format!("/r/node{node}").into(),
            listen: endpoint(node),
            peers: (0..3)
                .filter(|&p| p != node)
                .map(|peer| (peer, endpoint(peer)))
                .collect(),
        }
    }

    fn filled(text: &str, place: &Place) -> String {
        let words = text.split(' ').filter_map(|word| fill(word, place, 3));
        words.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn braces_are_filled_in() {
        let line = "-i{id} {dir}/data -l {listen} --join={join} {peers} {other}";
        assert_eq!(
            filled(line, &place(2, false)),
            "-i2 /r/node2/data -l ./node2.sock --join=./node0.sock 0=./node0.sock,1=./node1.sock {other}"
        );
        assert_eq!(
            filled(line, &place(0, true)),
            "-i0 /r/node0/data -l 127.0.0.1:4000 1=127.0.0.1:4001,2=127.0.0.1:4002 {other}"
        );
    }

    #[test]
    fn what_is_nearly_a_name_is_refused() {
        let fine = "{id} {peers} {peers:{host}=http://{ip}:1|;} {all:{id}} {mode} ${ids} {print} {} {a,b} { echo; } {x:1} {i}";
        assert_eq!(check(fine, &["mode"]), Ok(()));
        for (text, why) in [
            ("--with {peerz}", "{peerz} is not known: is {peers} meant?"),
            ("{IP}", "{IP} is not known: is {ip} meant?"),
            ("{hst}:1", "is {host} meant?"),
            ("{hots}", "is {host} meant?"),
            ("{modes}", "is {mode} meant?"),
            ("{all:{hosts}}", "is {host} meant?"),
            ("{peer:{host}}", "is {peers} meant?"),
            ("{peers:{host}=x", "{peers: has no end"),
            ("{all:{dir}}", "{dir} has no meaning in {all:{dir}}"),
        ] {
            let refused = check(text, &["mode"]).unwrap_err();
            assert!(refused.contains(why), "{text}: {refused}");
        }
    }

    #[test]
    fn machines_have_names_and_formats() {
        let line = "{host} {ip} {ip6} {peers:{id}@{ip}} {all:http://{host}:1|;} {";
        assert_eq!(
            filled(line, &place(1, true)),
            "node1 10.77.0.11 fd77::11 0@10.77.0.10,2@10.77.0.12 http://node0:1;http://node1:1;http://node2:1 {"
        );
        assert_eq!(
            fill("{{id}} {a:{id}}", &place(1, true), 3).unwrap(),
            "{1} {a:1}"
        );
    }
}
