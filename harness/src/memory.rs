//! How much memory a program had resident at most, as Linux counts it. Elsewhere nothing tells.

use std::fs;

/// The most bytes that a process ever had resident; `None` if it is gone or the system does not
/// tell.
pub fn peak_bytes(process: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

/// The peaks of all processes of a group, added up, in bytes; `None` if there are none to be seen.
pub fn group_peak_bytes(group: u32) -> Option<u64> {
    let entries = fs::read_dir("/proc").ok()?.flatten();
    let processes = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let peaks = processes.filter(|&process| group_of(process) == Some(group));
    let peaks: Vec<u64> = peaks.filter_map(peak_bytes).collect();
    (!peaks.is_empty()).then(|| peaks.iter().sum())
}

/// The process group that a process belongs to.
fn group_of(process: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // After the name, which may hold anything: state, parent, group.
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_whitespace().nth(2)?.parse().ok()
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn our_own_peak_is_seen_alone_and_in_the_group() {
        let own = std::process::id();
        let alone = peak_bytes(own).unwrap();
        assert!(alone > 1 << 20, "{alone}");
        assert!(group_peak_bytes(group_of(own).unwrap()).unwrap() >= alone);
        assert_eq!(peak_bytes(u32::MAX), None);
    }
}
