//! Points, and the result file and summary of 2014.

use std::time::Duration;

use serde::Serialize;

use octopus::DirectionTraffic;

/// Points for each judged answer.
const QUERY_POINTS: u64 = 10;

/// The result of a run, with the names of the 2014 result file.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Score {
    /// Bytes that the network read from the nodes, such as `1.04MB`.
    pub bytes_read: String,
    /// Bytes that it delivered.
    pub bytes_written: String,
    /// Connects that were not refused.
    pub conns: u64,
    /// Answers judged right, in the common order.
    pub correct_queries: u64,
    /// Why the run was disqualified; empty if it was not.
    pub disqualifier: String,
    /// 10 for each correct query.
    pub query_points: u64,
    /// −0.5 × √(bytes read + written).
    pub byte_points: f64,
    /// The sum, or 0 after a disqualification.
    pub total: f64,
    /// Whole seconds, as in 2014.
    pub duration: u64,
    /// How many nodes there were.
    pub node_count: usize,
    /// The summary for people.
    pub pretty: String,
}

impl Score {
    /// Scores a run.
    pub fn new(
        traffic: DirectionTraffic,
        correct_queries: u64,
        disqualifier: Option<String>,
        duration: Duration,
        node_count: usize,
    ) -> Self {
        let query_points = QUERY_POINTS * correct_queries;
        let bytes = traffic.bytes_read + traffic.bytes_written;
        // Subtracted, so that no traffic gives 0 rather than -0.
        let byte_points = 0.0 - 0.5 * (bytes as f64).sqrt();
        let total = if disqualifier.is_some() {
            0.0
        } else {
            query_points as f64 + byte_points
        };
        let mut score = Self {
            bytes_read: size(traffic.bytes_read),
            bytes_written: size(traffic.bytes_written),
            conns: traffic.connections,
            correct_queries,
            disqualifier: disqualifier.unwrap_or_default(),
            query_points,
            byte_points,
            total,
            duration: duration.as_secs_f64().round() as u64,
            node_count,
            pretty: String::new(),
        };
        score.pretty = score.summary(duration);
        score
    }

    fn summary(&self, duration: Duration) -> String {
        let duration = humantime::format_duration(duration);
        let mut text = format!(
            "Final stats (running with {} nodes for {duration}):\n\
             Bytes read: {}\nBytes written: {}\nConnection attempts: {}\nCorrect queries: {}\n\n\
             Score breakdown:\n{} points from queries\n{:.0} points from network traffic\n\n\
             Total:\n{:.0} points\n",
            self.node_count,
            self.bytes_read,
            self.bytes_written,
            self.conns,
            self.correct_queries,
            self.query_points,
            self.byte_points,
            self.total,
        );
        if !self.disqualifier.is_empty() {
            let reason = self.disqualifier.trim_end();
            text.extend(["\nDisqualified: ", reason, "\n"]);
        }
        text
    }
}

/// A number of bytes in units of 1,024, with two decimals: `512.00B`, `1.04MB`.
fn size(bytes: u64) -> String {
    let mut amount = bytes as f64;
    for unit in ["B", "KB", "MB", "GB"] {
        if amount < 1024.0 {
            return format!("{amount:.2}{unit}");
        }
        amount /= 1024.0;
    }
    format!("{amount:.2}TB")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_is_that_of_2014() {
        // Original case level4-4aBG47QsMH: 1.04 MB read, 1.01 MB written, −732 points for them.
        let traffic = DirectionTraffic {
            bytes_read: 1_087_000,
            bytes_written: 1_058_961,
            connections: 619,
            ..Default::default()
        };
        let score = Score::new(traffic, 258, None, Duration::from_secs(30), 5);
        assert_eq!(
            score.pretty,
            "Final stats (running with 5 nodes for 30s):\nBytes read: 1.04MB\n\
             Bytes written: 1.01MB\nConnection attempts: 619\nCorrect queries: 258\n\n\
             Score breakdown:\n2580 points from queries\n-732 points from network traffic\n\n\
             Total:\n1848 points\n"
        );
        assert_eq!(
            serde_json::to_value(&score).unwrap()["Duration"].to_string(),
            "30"
        );
        assert!((score.total - 1847.545).abs() < 0.01, "{}", score.total);
        let json = serde_json::to_value(&score).unwrap();
        for key in [
            "BytesRead",
            "BytesWritten",
            "Conns",
            "CorrectQueries",
            "Disqualifier",
            "QueryPoints",
            "BytePoints",
            "Total",
            "Duration",
            "NodeCount",
            "Pretty",
        ] {
            assert!(json.get(key).is_some(), "{key}");
        }
    }

    #[test]
    fn a_disqualified_run_has_no_points() {
        let score = Score::new(
            DirectionTraffic::default(),
            7,
            Some("node 2 exited".to_owned()),
            Duration::from_millis(1500),
            3,
        );
        assert_eq!(score.total.to_bits(), 0.0_f64.to_bits());
        assert!(
            score.pretty.ends_with("\nDisqualified: node 2 exited\n"),
            "{}",
            score.pretty
        );
    }

    #[test]
    fn sizes_have_units_of_1024() {
        assert_eq!(size(512), "512.00B");
        assert_eq!(size(1536), "1.50KB");
        assert_eq!(size(5 << 30), "5.00GB");
    }
}
