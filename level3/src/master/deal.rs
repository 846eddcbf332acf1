//! Dealing files to shards by size.

use std::collections::HashMap;

use crate::corpus::Entry;

/// What a file costs beyond its text: its row, and its share of every posting list.
const FILE_COST: u64 = 64;

/// Shards may differ by this much, in bytes, before known files are dealt anew.
const SLACK_BYTES: u64 = 4 << 20;

/// Splits `entries` into `shards` parts of about equal size.
///
/// A file stays where it is `known` to be (counting from 1), so that indexing again touches what
/// has changed and nothing else, unless the parts have become very uneven. New files go to the
/// smallest part in turn, so that the files of one folder, which tend to match together, are
/// spread over all nodes.
pub(crate) fn deal(
    entries: Vec<Entry>,
    known: &HashMap<String, u32>,
    shards: u32,
) -> Vec<Vec<Entry>> {
    let sizes = |parts: &[Vec<Entry>]| -> Vec<u64> {
        parts
            .iter()
            .map(|part| part.iter().map(cost).sum())
            .collect()
    };
    let mut parts: Vec<Vec<Entry>> = (0..shards).map(|_| Vec::new()).collect();
    let (mut settled, mut fresh) = (0_u64, Vec::new());
    for entry in entries {
        match known.get(&entry.path) {
            Some(&shard) if (1..=shards).contains(&shard) => {
                settled += cost(&entry);
                parts[shard as usize - 1].push(entry);
            }
            _ => fresh.push(entry),
        }
    }
    let largest = sizes(&parts).into_iter().max().unwrap_or(0);
    let total = settled + fresh.iter().map(cost).sum::<u64>();
    if largest > total / u64::from(shards.max(1)) * 3 / 2 + SLACK_BYTES {
        fresh.extend(parts.iter_mut().flat_map(std::mem::take));
        fresh.sort_unstable_by(|a, b| a.path.cmp(&b.path));
    }
    let mut sizes = sizes(&parts);
    for entry in fresh {
        let Some(smallest) = (0..parts.len()).min_by_key(|&part| sizes[part]) else {
            break;
        };
        sizes[smallest] += cost(&entry);
        parts[smallest].push(entry);
    }
    parts
}

fn cost(entry: &Entry) -> u64 {
    entry.stamp.bytes.min(crate::corpus::MAX_FILE_BYTES) + FILE_COST
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::corpus::Stamp;

    fn entries(sizes: &[u64]) -> Vec<Entry> {
        let entry = |(at, &bytes): (usize, &u64)| Entry {
            path: format!("{at:04}"),
            stamp: Stamp {
                bytes,
                ..Stamp::default()
            },
        };
        sizes.iter().enumerate().map(entry).collect()
    }

    proptest! {
        #[test]
        fn every_file_is_dealt_once_and_evenly(sizes in prop::collection::vec(0..1_000_000_u64, 0..60), shards in 1..5_u32) {
            let parts = deal(entries(&sizes), &HashMap::new(), shards);
            prop_assert_eq!(parts.len(), shards as usize);
            let mut paths: Vec<_> = parts.iter().flatten().map(|entry| entry.path.clone()).collect();
            paths.sort();
            prop_assert_eq!(paths, entries(&sizes).into_iter().map(|entry| entry.path).collect::<Vec<_>>());
            let totals: Vec<u64> = parts.iter().map(|part| part.iter().map(cost).sum()).collect();
            let spread = totals.iter().max().unwrap() - totals.iter().min().unwrap();
            prop_assert!(spread <= sizes.iter().max().copied().unwrap_or(0) + FILE_COST);
        }
    }

    #[test]
    fn known_files_stay_until_the_parts_are_uneven() {
        let known: HashMap<String, u32> = [("0000".to_owned(), 2), ("0001".to_owned(), 2)].into();
        let parts = deal(entries(&[100, 100, 100]), &known, 2);
        assert_eq!((parts[0].len(), parts[1].len()), (1, 2));
        let uneven = entries(&[1 << 20; 24]);
        let known = uneven.iter().map(|entry| (entry.path.clone(), 1)).collect();
        let parts = deal(uneven, &known, 2);
        assert_eq!((parts[0].len(), parts[1].len()), (12, 12));
    }
}
