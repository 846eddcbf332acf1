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
