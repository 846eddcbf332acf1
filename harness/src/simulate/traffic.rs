//! What the links have carried, as a table.

use comfy_table::{Table, presets::UTF8_HORIZONTAL_ONLY};
use octopus::{Traffic, pairs};

use crate::console;

/// Up to so many nodes, directions that carried nothing are shown as well.
const FEW_NODES: usize = 5;

/// Prints the table.
pub(super) fn print(traffic: &Traffic, nodes: usize, seconds: f64, acts: usize) {
    let name = |place: usize| {
        if place < nodes {
            place.to_string()
        } else {
            "client".to_owned()
        }
    };
    let mut table = Table::new();
    table.load_preset(UTF8_HORIZONTAL_ONLY).set_header([
        "from → to",
        "bytes read",
        "bytes delivered",
        "chunks",
        "connections",
        "refused",
    ]);
    let mut idle = 0;
    for pair in pairs(traffic.nodes) {
        for (from, to) in [(pair.low(), pair.high()), (pair.high(), pair.low())] {
            let direction = traffic.between(from, to);
            let is_idle = direction.connections + direction.refused == 0;
            if is_idle && traffic.nodes > FEW_NODES {
                idle += 1;
                continue;
            }
            table.add_row([
                format!("{} → {}", name(from), name(to)),
                direction.bytes_read.to_string(),
                direction.bytes_written.to_string(),
                direction.chunks.to_string(),
                direction.connections.to_string(),
                direction.refused.to_string(),
            ]);
        }
    }
    let total = traffic.total();
    table.add_row([
        "all".to_owned(),
        total.bytes_read.to_string(),
        total.bytes_written.to_string(),
        total.chunks.to_string(),
        total.connections.to_string(),
        total.refused.to_string(),
    ]);
    console::print(&table.to_string());
    if idle > 0 {
        console::print(&format!("{idle} directions carried nothing"));
    }
    console::print(&format!(
        "{nodes} nodes for {seconds:.1} s; {acts} beginnings and ends of acts"
    ));
}
