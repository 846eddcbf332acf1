//! Taking over a configuration that was read again: what changed, and what can change while the proxy runs.

use std::fmt::Debug;

use super::Config;

impl Config {
    /// What this configuration becomes when `new` takes its place while the proxy runs: backends keep
    /// their numbers, and what is fixed at the start stays as it is. Returns it with a line for each
    /// difference.
    pub fn taken_over_by(&self, mut new: Self) -> (Self, Vec<String>) {
        let mut lines = Vec::new();
        for address in &new.backends {
            if !self.active().any(|known| known == address) {
                lines.push(format!("backend {address} added"));
            }
        }
        for address in self.active() {
            if !new.backends.contains(address) {
                lines.push(format!("backend {address} removed"));
            }
        }
        let mut backends = self.backends.clone();
        for address in &new.backends {
            if !backends.contains(address) {
                backends.push(address.clone());
            }
        }
        let gone = |index: &usize| !new.backends.contains(&backends[*index]);
        new.retired = (0..backends.len()).filter(gone).collect();
        new.policy.backends = backends.len();
        new.backends = backends;

        let mut fixed = |name: &str, changed: bool| {
            if changed {
                lines.push(format!("{name} changed: takes effect at the next start"));
            }
        };
        fixed("listen", self.listen != new.listen);
        fixed("admin", self.admin != new.admin);
        fixed("threads", self.threads != new.threads);
        fixed("access-log", self.access_log != new.access_log);
        fixed("buffer-total", self.buffer_total != new.buffer_total);
        fixed(
            "max-clients",
            self.policy.max_clients != new.policy.max_clients,
        );
        new.listen.clone_from(&self.listen);
        new.listen_if_possible.clone_from(&self.listen_if_possible);
        new.admin.clone_from(&self.admin);
        new.threads = self.threads;
        new.access_log = self.access_log;
        new.buffer_total = self.buffer_total;
        new.policy.max_clients = self.policy.max_clients;
        self.list_changes(&new, &mut lines);
        (new, lines)
    }

    /// The addresses of the backends that are used.
    pub fn active(&self) -> impl Iterator<Item = &crate::net::BackendAddress> {
        let used = |(index, _): &(usize, _)| !self.retired.contains(index);
        self.backends
            .iter()
            .enumerate()
            .filter(used)
            .map(|(_, address)| address)
    }

    /// Lines for everything that changes at once.
    fn list_changes(&self, new: &Self, lines: &mut Vec<String>) {
        fn compare<T: PartialEq + Debug>(name: &str, old: &T, new: &T, lines: &mut Vec<String>) {
            if old != new {
                lines.push(format!("{name}: {old:?} is now {new:?}"));
            }
        }
        macro_rules! compare {
            ($($name:literal $field:ident $(. $inner:ident)?),+ $(,)?) => {
                $(compare($name, &self.$field$(.$inner)?, &new.$field$(.$inner)?, lines);)+
            };
        }
        compare!(
            "head-fan-out" head_fan_out,
            "max-in-flight" policy.max_in_flight,
            "max-wait" policy.max_wait,
            "max-queue" policy.max_queue,
            "ipv4-prefix, ipv6-prefix or class" policy.naming,
            "dry-run" policy.dry_run,
            "cert, key or client-ca" tls,
            "client-naming" client_naming,
            "max-handshakes" max_handshakes,
            "proxy-protocol" proxy_protocol,
            "h2c" h2c,
            "max-streams" max_streams,
            "redirect-to-https" redirect_to_https,
            "acme-webroot" acme_webroot,
            "trust" trust,
            "rate-limit-fields" rate_limit_fields,
            "health" health,
            "cancel" cancel,
            "header-timeout" header_timeout,
            "idle-timeout" idle_timeout,
            "connect-timeout" connect_timeout,
            "response-timeout" response_timeout,
            "backend-idle-timeout" backend_idle_timeout,
            "drain-timeout" drain_timeout,
            "min-rate" min_rate,
            "grace" grace,
            "buffer-request" buffer_request,
            "buffer-response" buffer_response,
            "max-head" max_head,
            "max-connections" max_connections,
            "max-connections-per-peer" max_connections_per_peer,
        );
        let limit = |bytes: u64| match bytes {
            u64::MAX => "no limit".to_string(),
            _ => bytes.to_string(),
        };
        if self.max_body != new.max_body {
            let (old, new) = (limit(self.max_body), limit(new.max_body));
            lines.push(format!("max-body: {old} is now {new}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::super::Flags;
    use super::*;

    fn config(flags: &[&str]) -> Config {
        let flags = ["level2", "--listen", ":0"].iter().chain(flags);
        Flags::parse_from(flags)
            .resolve(super::super::Inherited::default())
            .unwrap()
    }

    #[test]
    fn backends_keep_their_numbers() {
        let old = config(&["--backend", "1.1.1.1:1", "--backend", "1.1.1.1:2"]);
        let new = config(&["--backend", "1.1.1.1:3", "--backend", "1.1.1.1:2"]);
        let (taken, lines) = old.taken_over_by(new);
        let names: Vec<String> = taken.backends.iter().map(ToString::to_string).collect();
        assert_eq!(names, ["1.1.1.1:1", "1.1.1.1:2", "1.1.1.1:3"]);
        assert_eq!(
            (taken.retired.as_slice(), taken.policy.backends),
            (&[0][..], 3)
        );
        assert_eq!(
            lines,
            ["backend 1.1.1.1:3 added", "backend 1.1.1.1:1 removed"]
        );
        let (back, lines) = taken.taken_over_by(old);
        assert_eq!(back.retired, [2]);
        assert_eq!(lines.len(), 2);
    }

    #[test]
    fn what_changes_is_listed_and_what_is_fixed_stays() {
        let old = config(&["--backend", "1.1.1.1:1"]);
        let new = config(&[
            "--backend",
            "1.1.1.1:1",
            "--threads",
            "7",
            "--max-wait",
            "2s",
        ]);
        let (taken, lines) = old.taken_over_by(new);
        assert_eq!(taken.threads, old.threads);
        assert!((taken.policy.max_wait - 2.0).abs() < 1e-9);
        assert!(lines.contains(&"threads changed: takes effect at the next start".into()));
        assert!(
            lines.contains(&"max-wait: 0.75 is now 2.0".into()),
            "{lines:?}"
        );
        assert_eq!(lines.len(), 2);
    }
}
