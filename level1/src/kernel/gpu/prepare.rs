//! Preparing rows on the device: a row's midstate, carried through the rounds no column reaches.
//!
//! A fast device wants millions of rows a second, which is more than one thread of the host can
//! prepare and send. It is the same work as [`crate::kernel::rows`] does, in a small shader of its
//! own: a thousandth of what the search takes.

use super::layout::ROW_FIELDS;
use crate::kernel::Work;
use crate::kernel::lanes::CHUNK_ROWS;

/// Words of the uniform buffer: see `Tail` in the shader.
pub(super) const WORDS: usize = 8 + 16 + 16 + 4;

/// What the shader needs to know to prepare the rows from `first_row` on.
pub(super) fn uniform(work: &Work, first_row: u64) -> [u32; WORDS] {
    let mut words = [0; WORDS];
    let (before, row_block) = work.tail.before_row();
    words[..5].copy_from_slice(&before[..5]);
    words[8..24].copy_from_slice(&row_block);
    words[24..40].copy_from_slice(&work.tail.nonce_block(0));
    words[40..43].copy_from_slice(&[first_row as u32, (first_row >> 32) as u32, work.filter.base]);
    words
}

/// The shader in WGSL; its entry point is `main`.
pub(super) fn source() -> String {
    format!(
        "const CHUNK: u32 = {CHUNK_ROWS}u;
const FIELDS: u32 = {ROW_FIELDS}u;
{BODY}"
    )
}

/// The part of the shader that is the same for everybody.
const BODY: &str = "
struct Tail {
    // The state before the row's block, in five words.
    before: array<vec4<u32>, 2>,
    // The row's block with any digits.
    row_block: array<vec4<u32>, 4>,
    nonce_block: array<vec4<u32>, 4>,
    // The first row, low word and high word; the filter's base.
    first: vec4<u32>,
}
@group(0) @binding(0) var<uniform> tail: Tail;
@group(0) @binding(1) var<storage, read_write> rows: array<u32>;

fn left(x: u32, bits: u32) -> u32 {
    return (x << bits) | (x >> (32u - bits));
}

fn choose(b: u32, c: u32, d: u32) -> u32 {
    return d ^ (b & (c ^ d));
}

// The character of a digit of RFC 4648 base 32, in lower case.
fn digit(bits: u32) -> u32 {
    let value = bits & 31u;
    return select(value + 24u, value + 97u, value < 26u);
}

@compute @workgroup_size(CHUNK)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let index = group.x * CHUNK + lane;
    let low = tail.first.x + index;
    let high = tail.first.y + select(0u, 1u, low < index);
    var w: array<u32, 16>;
    for (var i = 0u; i < 16u; i++) {
        w[i] = tail.row_block[i / 4u][i % 4u];
    }
    // Ten digits end the block; the last is the lowest five bits.
    w[13] = (w[13] & 0xffff0000u) | (digit(high >> 13u) << 8u) | digit(high >> 8u);
    w[14] = (digit(high >> 3u) << 24u) | (digit((low >> 30u) | (high << 2u)) << 16u)
        | (digit(low >> 25u) << 8u) | digit(low >> 20u);
    w[15] = (digit(low >> 15u) << 24u) | (digit(low >> 10u) << 16u)
        | (digit(low >> 5u) << 8u) | digit(low);

    let h = array<u32, 5>(tail.before[0].x, tail.before[0].y, tail.before[0].z, tail.before[0].w,
        tail.before[1].x);
    var a = h[0];
    var b = h[1];
    var c = h[2];
    var d = h[3];
    var e = h[4];
    for (var t = 0u; t < 80u; t++) {
        if (t >= 16u) {
            w[t % 16u] = left(w[(t - 3u) % 16u] ^ w[(t - 8u) % 16u] ^ w[(t - 14u) % 16u]
                ^ w[t % 16u], 1u);
        }
        var f = (b ^ c ^ d) + 0xca62c1d6u;
        if (t < 20u) {
            f = choose(b, c, d) + 0x5a827999u;
        } else if (t < 40u) {
            f = (b ^ c ^ d) + 0x6ed9eba1u;
        } else if (t < 60u) {
            f = ((b & c) | (d & (b | c))) + 0x8f1bbcdcu;
        }
        let next = left(a, 5u) + f + e + w[t % 16u];
        e = d;
        d = c;
        c = left(b, 30u);
        b = a;
        a = next;
    }
    a += h[0];
    b += h[1];
    c += h[2];
    d += h[3];
    e += h[4];
    let filter_offset = a - tail.first.z;
    for (var t = 0u; t < 13u; t++) {
        let next = left(a, 5u) + choose(b, c, d) + e + 0x5a827999u + tail.nonce_block[t / 4u][t % 4u];
        e = d;
        d = c;
        c = left(b, 30u);
        b = a;
        a = next;
    }
    let at = group.x * FIELDS * CHUNK + lane;
    let b_14 = left(b, 30u);
    rows[at] = left(a, 5u) + choose(b, c, d) + e + 0x5a827999u;
    rows[at + CHUNK] = choose(a, b_14, c) + d + tail.nonce_block[3].z + 0x5a827999u;
    rows[at + 2u * CHUNK] = c + tail.nonce_block[3].w + 0x5a827999u;
    rows[at + 3u * CHUNK] = left(a, 30u);
    rows[at + 4u * CHUNK] = b_14;
    rows[at + 5u * CHUNK] = filter_offset;
}
";
