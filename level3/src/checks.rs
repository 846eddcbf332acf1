//! What must hold of any bytes that are read as ours: for the fuzz targets in `fuzz/`, and for
//! property tests that exercise the same functions.
//!
//! Each check panics where something is wrong. None of this is meant for other programs.

use std::fs;

use regex_automata::meta;

use crate::byte_pool::BytePool;
use crate::index::format::{HEADER_BYTES, Header, Section};
use crate::index::manifest::Manifest;
use crate::index::segment::{index_path, text_path};
use crate::index::{Gram, Segment, posting};
use crate::search::Budget;
use crate::search::pattern::Pattern;
use crate::search::plan::Plan;

/// A posting list is a set of the segment's chunks, or none at all.
pub fn posting_list(bytes: &[u8], chunks: usize) {
    if let Some(set) = posting::decode(bytes, chunks) {
        assert!(set.iter().all(|chunk| chunk < chunks));
        assert_eq!(set.iter().count(), set.len());
    }
}

/// A manifest is refused or understood.
pub fn manifest(bytes: &[u8]) {
    // Whatever the checksum says, the JSON behind it is looked at.
    drop(Manifest::decode(bytes));
    drop(Manifest::decode(&Manifest::sealed(bytes)));
}

/// An index file is refused or can be read to its end, though all its checksums are right.
pub fn segment(bytes: &[u8]) {
    let Some((index, text_bytes)) = sealed(bytes) else {
        return;
    };
    let Ok(dir) = tempfile::tempdir() else { return };
    let written = fs::write(index_path(dir.path(), 1), index)
        .and_then(|()| fs::write(text_path(dir.path(), 1), vec![b'a'; text_bytes]));
    if written.is_err() {
        return;
    }
    let Ok(segment) = Segment::open(dir.path(), 1) else {
        return;
    };
    let mut text = Vec::new();
    for file in 0..segment.files().len() {
        drop(segment.read_file(file, &mut text));
    }
    for chunk in 0..segment.chunks() {
        assert!(segment.file_of(chunk) < segment.files().len());
        assert!(segment.chunk_bytes(chunk) <= text_bytes);
    }
    for gram in bytes.windows(3).take(100).filter_map(Gram::of) {
        if let Ok(chunks) = segment.postings(gram) {
            assert!(chunks.iter().all(|chunk| chunk < segment.chunks()));
        }
    }
}

/// The same index file with checksums that are right, and how much text it wants.
fn sealed(bytes: &[u8]) -> Option<(Vec<u8>, usize)> {
    let (head, body) = bytes.split_at_checked(HEADER_BYTES)?;
    let mut header = Header::unchecked(head)?;
    let mut rest = body;
    let mut seal = |section: &mut Section| {
        let bytes = rest.len().min(section.bytes as usize);
        let (part, behind) = rest.split_at(bytes);
        rest = behind;
        section.crc = crc32c::crc32c(part);
    };
    seal(&mut header.file_table);
    seal(&mut header.chunk_table);
    seal(&mut header.dictionary);
    seal(&mut header.postings);
    // Gigabytes of text would only make the check slow.
    let text_bytes = usize::try_from(header.text_bytes).ok()?;
    (text_bytes <= 1 << 20).then(|| ([&header.encode(), body].concat(), text_bytes))
}

/// An expression finds the lines that it matches by themselves, and each of them fulfils the
/// condition by which chunks are picked.
pub fn pattern(expression: &str, text: &str) {
    let Ok(pattern) = Pattern::new(expression, true, false) else {
        return;
    };
    let Ok(regex) = meta::Regex::new(expression) else {
        return;
    };
    let lines = text.split_inclusive('\n');
    let lines = lines.map(|line| line.strip_suffix('\n').unwrap_or(line));
    let matching: Vec<&str> = lines.filter(|line| regex.is_match(line)).collect();
    for line in &matching {
        assert!(
            holds(pattern.plan(), line.as_bytes()),
            "{expression:?} in {line:?}"
        );
    }
    let pool = BytePool::new(0);
    let budget = Budget::new(None, &|| false, &pool);
    let mut found = Vec::new();
    let outcome = pattern.lines(text.as_bytes(), &budget, |line| {
        found.push(&text[line]);
        true
    });
    assert!(outcome.is_ok());
    assert_eq!(found, matching, "{expression:?} in {text:?}");
}

/// Whether a line fulfils a plan, looking at the line itself.
pub(crate) fn holds(plan: &Plan, line: &[u8]) -> bool {
    match plan {
        Plan::All => true,
        Plan::Nothing => false,
        Plan::Gram(gram) => (1..=Gram::MAX_BYTES)
            .flat_map(|bytes| line.windows(bytes))
            .any(|window| Gram::of(window) == Some(*gram)),
        Plan::And(plans) => plans.iter().all(|plan| holds(plan, line)),
        Plan::Or(plans) => plans.iter().any(|plan| holds(plan, line)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::corpus::Stamp;
    use crate::index::builder::SegmentBuilder;

    /// The index file of a small segment.
    fn index() -> Vec<u8> {
        let dir = tempfile::tempdir().unwrap();
        let mut builder = SegmentBuilder::new(dir.path(), 1).unwrap();
        for (path, text) in [("a", "one\ntwo\n"), ("b/c", "three"), ("d", "")] {
            builder
                .add(path, Stamp::default(), text.as_bytes())
                .unwrap();
        }
        builder.finish().unwrap();
        fs::read(index_path(dir.path(), 1)).unwrap()
    }

    #[test]
    fn a_sealed_index_is_the_same_index() {
        let index = index();
        assert_eq!(sealed(&index).unwrap().0, index);
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

        #[test]
        fn damaged_segments_are_refused_or_read(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..5)) {
            let mut bytes = index();
            for (at, byte) in changes {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            segment(&bytes);
        }

        #[test]
        fn any_bytes_are_a_segment_or_none(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            segment(&bytes);
            manifest(&bytes);
            posting_list(&bytes, bytes.len() * 7);
        }

        #[test]
        fn any_json_is_a_manifest_or_none(json in r#"\{("root": ?"x"|"job": ?[0-9]{1,30}|"dead": \[[0-9,]{0,9}\]|,){0,6}\}"#) {
            manifest(json.as_bytes());
        }

        #[test]
        fn any_expression_is_planned_truly(expression in r"[ab.*+?|()\[\]^$\\nswdb{}1-3,\-]{0,16}", text in "[ab1 \n]{0,24}") {
            pattern(&expression, &text);
        }
    }
}
