//! How much memory the processes of a PID namespace use: what belongs to each alone, added up.

use std::fs;

/// Bytes that belong to each process alone, together; those of the first process are not counted.
/// What a file system or several processes share is not either: file systems have sizes.
pub(super) fn used() -> u64 {
    let page = rustix::param::page_size() as u64;
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let processes = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let pages: u64 = processes
        .filter(|&process| process != 1)
        .filter_map(|process| {
            let text = fs::read_to_string(format!("/proc/{process}/statm")).ok()?;
            alone(&text)
        })
        .sum();
    pages * page
}

/// Pages that are resident and not shared, of a line of `/proc/PID/statm`.
fn alone(line: &str) -> Option<u64> {
    let mut fields = line.split(' ').skip(1).map(str::parse::<u64>);
    let resident = fields.next()?.ok()?;
    let shared = fields.next()?.ok()?;
    Some(resident.saturating_sub(shared))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resident_pages_without_the_shared_ones_count() {
        assert_eq!(alone("3000 700 300 1 0 5 0\n"), Some(400));
        assert_eq!(alone("3000 700"), None);
        assert!(used() > 0);
    }
}
