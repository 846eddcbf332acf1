//! The shader's text: the rounds 13 … 79, written out.
//!
//! Unrolled code with every variable in a scalar of its own is what shader compilers turn into
//! registers; a loop over an array of words is several times slower. The text is generated, since
//! nobody should have to read 64 equal lines.

use super::layout::{COLUMN_VECTORS, WINDOW_COLUMNS};
use crate::kernel::lanes::CHUNK_ROWS;
use std::fmt::Write;

/// The whole shader in WGSL; its entry point is `main`.
pub(super) fn source() -> String {
    // Writing to a string cannot fail, here and below.
    let mut text = format!(
        "struct Window {{
    // Columns in the window, the first one's number, rows, the filter's span.
    head: vec4<u32>,
    columns: array<array<vec4<u32>, {COLUMN_VECTORS}>, {WINDOW_COLUMNS}>,
}}
struct Hits {{
    count: atomic<u32>,
    places: array<vec2<u32>>,
}}
@group(0) @binding(0) var<uniform> window: Window;
@group(0) @binding(1) var<storage, read> rows: array<u32>;
@group(0) @binding(2) var<storage, read_write> hits: Hits;

@compute @workgroup_size({CHUNK_ROWS})
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {{
    let row = group.x * {CHUNK_ROWS}u + lane;
    let at = group.x * {fields}u + lane;
    let round_13 = rows[at];
    let round_14 = rows[at + {r14}u];
    let round_15 = rows[at + {r15}u];
    let c_15 = rows[at + {c15}u];
    let d_15 = rows[at + {d15}u];
    let filter_offset = rows[at + {offset}u];
    for (var i = 0u; i < window.head.x; i++) {{
        let a_14 = round_13 + window.columns[i][16].x;
        let a_15 = {rotated_14} + round_14;
        var a = {rotated_15} + (d_15 ^ (a_14 & (c_15 ^ d_15))) + round_15;
        var b = a_15;
        var c = {c_16};
        var d = c_15;
        var e = d_15;
",
        fields = 6 * CHUNK_ROWS,
        r14 = CHUNK_ROWS,
        r15 = 2 * CHUNK_ROWS,
        c15 = 3 * CHUNK_ROWS,
        d15 = 4 * CHUNK_ROWS,
        offset = 5 * CHUNK_ROWS,
        rotated_14 = rotated("a_14", 5),
        rotated_15 = rotated("a_15", 5),
        c_16 = rotated("a_14", 30),
    );
    // Every round the names move on by one, instead of the values.
    let mut names = ["a", "b", "c", "d", "e"];
    for round in 16..80 {
        push_round(&mut text, round, names);
        names.rotate_right(1);
    }
    let _ = writeln!(
        text,
        "        if ({} + filter_offset <= window.head.w && row < window.head.z) {{",
        names[0]
    );
    text.push_str(
        "            let place = atomicAdd(&hits.count, 1u);
            if (place < arrayLength(&hits.places)) {
                hits.places[place] = vec2(row, window.head.y + i);
            }
        }
    }
}
",
    );
    text
}

/// One round on the names that hold the standard's a … e; the new `a` replaces `e`.
fn push_round(text: &mut String, round: usize, [a, b, c, d, e]: [&str; 5]) {
    let f = match round / 20 {
        0 => format!("({d} ^ ({b} & ({c} ^ {d})))"),
        2 => format!("(({b} & {c}) | ({d} & ({b} | {c})))"),
        _ => format!("({b} ^ {c} ^ {d})"),
    };
    let (vector, component) = ((round - 16) / 4, ["x", "y", "z", "w"][(round - 16) % 4]);
    let rotated_a = rotated(a, 5);
    let rotated_b = rotated(b, 30);
    let _ = writeln!(
        text,
        "        {e} += {rotated_a} + {f} + window.columns[i][{vector}].{component}; \
         {b} = {rotated_b};"
    );
}

fn rotated(name: &str, bits: u32) -> String {
    format!("(({name} << {bits}u) | ({name} >> {}u))", 32 - bits)
}
