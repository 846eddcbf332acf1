//! The shader's text: the rounds 13 … 79, written out.
//!
//! Unrolled code with every variable in a scalar of its own is what shader compilers turn into
//! registers; a loop over an array of words is several times slower. The text is generated, since
//! nobody should have to read 64 equal lines, and because an invocation may take several rows at
//! a time ([`Tuning`]).

use super::layout::{COLUMN_VECTORS, SLICE_COLUMNS};
use crate::kernel::lanes::CHUNK_ROWS;
use crate::kernel::{Schedules, Tuning};
use std::fmt::Write;

/// Writing to a string cannot fail.
macro_rules! push {
    ($text:expr, $($format:tt)*) => {
        let _ = writeln!($text, $($format)*);
    };
}

/// The whole shader in WGSL; its entry point is `main`.
pub(super) fn source(tuning: &Tuning) -> String {
    let mut text = head(tuning);
    for r in 0..tuning.rows_per_invocation {
        push_row(&mut text, tuning, r);
    }
    push!(
        text,
        "    let first = group.y * {SLICE_COLUMNS}u;
    let end = min(window.head.x, first + {SLICE_COLUMNS}u);
    let one = window.more.x;
    for (var i = first; i < end; i++) {{
        let w_13 = window.columns[i][16].x;"
    );
    for r in 0..tuning.rows_per_invocation {
        push_first_rounds(&mut text, r);
    }
    // Every round the names move on by one, instead of the values.
    let mut names = ["a", "b", "c", "d", "e"];
    for round in 16..80 {
        let (vector, component) = ((round - 16) / 4, ["x", "y", "z", "w"][(round - 16) % 4]);
        if component == "x" {
            push!(text, "        let w{vector} = window.columns[i][{vector}];");
        }
        for r in 0..tuning.rows_per_invocation {
            let names = names.map(|name| format!("{name}_{r}"));
            let keyed = format!("w{vector}.{component}");
            push_round(&mut text, round, &names, &keyed, tuning.multiplied);
        }
        names.rotate_right(1);
    }
    for r in 0..tuning.rows_per_invocation {
        push!(
            text,
            "        if ({last}_{r} + filter_offset_{r} <= window.head.w && row_{r} < window.head.z) {{
            let place = atomicAdd(&hits.count, 1u);
            if (place < arrayLength(&hits.places)) {{
                hits.places[place] = vec2(row_{r}, window.head.y + i);
            }}
        }}",
            last = names[0]
        );
    }
    text.push_str("    }\n}\n");
    text
}

/// Declarations and the beginning of `main`.
fn head(tuning: &Tuning) -> String {
    let space = match tuning.schedules {
        Schedules::Uniform => "uniform",
        Schedules::Storage => "storage, read",
    };
    let (columns, workgroup) = (tuning.window_columns(), tuning.workgroup);
    format!(
        "struct Window {{
    // Columns in the window, the first one's number, rows, the filter's span.
    head: vec4<u32>,
    // One.
    more: vec4<u32>,
    columns: array<array<vec4<u32>, {COLUMN_VECTORS}>, {columns}>,
}}
struct Hits {{
    count: atomic<u32>,
    places: array<vec2<u32>>,
}}
@group(0) @binding(0) var<{space}> window: Window;
@group(0) @binding(1) var<storage, read> rows: array<u32>;
@group(0) @binding(2) var<storage, read_write> hits: Hits;

@compute @workgroup_size({workgroup})
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {{
"
    )
}

/// Loads the invocation's row number `r`.
fn push_row(text: &mut String, tuning: &Tuning, r: u32) {
    let (workgroup, group_rows) = (
        tuning.workgroup,
        tuning.workgroup * tuning.rows_per_invocation,
    );
    push!(
        text,
        "    let row_{r} = group.x * {group_rows}u + {}u + lane;
    let at_{r} = (row_{r} / {CHUNK_ROWS}u) * {}u + row_{r} % {CHUNK_ROWS}u;",
        r * workgroup,
        6 * CHUNK_ROWS,
    );
    let fields = [
        "round_13",
        "round_14",
        "round_15",
        "c_15",
        "d_15",
        "filter_offset",
    ];
    for (index, field) in fields.into_iter().enumerate() {
        let offset = index * CHUNK_ROWS;
        push!(text, "    let {field}_{r} = rows[at_{r} + {offset}u];");
    }
}

/// Rounds 13 … 15 by what was prepared, then the variables before round 16.
fn push_first_rounds(text: &mut String, r: u32) {
    let (a_14, a_15) = (format!("a14_{r}"), format!("a15_{r}"));
    push!(
        text,
        "        let {a_14} = round_13_{r} + w_13;
        let {a_15} = {} + round_14_{r};
        var a_{r} = {} + (d_15_{r} ^ ({a_14} & (c_15_{r} ^ d_15_{r}))) + round_15_{r};
        var b_{r} = {a_15};
        var c_{r} = {};
        var d_{r} = c_15_{r};
        var e_{r} = d_15_{r};",
        rotated(&a_14, 5),
        rotated(&a_15, 5),
        rotated(&a_14, 30),
    );
}

/// One round on the names that hold the standard's a … e; the new `a` replaces `e`.
fn push_round(
    text: &mut String,
    round: usize,
    [a, b, c, d, e]: &[String; 5],
    keyed: &str,
    multiplied: u32,
) {
    let f = match round / 20 {
        0 => format!("({d} ^ ({b} & ({c} ^ {d})))"),
        2 => format!("(({b} & {c}) | ({d} & ({b} | {c})))"),
        _ => format!("({b} ^ {c} ^ {d})"),
    };
    let (rotated_a, rotated_b) = (rotated(a, 5), rotated(b, 30));
    let sum = match multiplied {
        0 => format!("{e} + {rotated_a} + {f} + {keyed}"),
        1 => format!("({e} * one + {keyed}) + {f} + {rotated_a}"),
        2 => format!("({f} * one + ({e} * one + {keyed})) + {rotated_a}"),
        _ => format!("{rotated_a} * one + ({f} * one + ({e} * one + {keyed}))"),
    };
    push!(text, "        {e} = {sum}; {b} = {rotated_b};");
}

fn rotated(name: &str, bits: u32) -> String {
    format!("(({name} << {bits}u) | ({name} >> {}u))", 32 - bits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_has_a_line_for_each_round_of_each_row() {
        for rows_per_invocation in 1..=4 {
            let tuning = Tuning {
                rows_per_invocation,
                ..Tuning::for_kind("discrete")
            };
            let rounds = source(&tuning).matches("; b_0 = ").count()
                + source(&tuning).matches("; a_0 = ").count()
                + source(&tuning).matches("; c_0 = ").count()
                + source(&tuning).matches("; d_0 = ").count()
                + source(&tuning).matches("; e_0 = ").count();
            assert_eq!(rounds, 64, "{rows_per_invocation}");
        }
    }
}
