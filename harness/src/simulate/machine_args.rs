//! The flags of machines, and of what their links do to packets.

use octopus::{Down, LEAST_MTU, MOST_MTU, MachineSettings, NodeLimits, PacketRules};

/// Flags about machines.
#[derive(Clone, Copy, Debug, clap::Args)]
#[command(
    next_help_heading = "Machines",
    // Systems and programs that ask have machines without being told.
    group = clap::ArgGroup::new("on_machines").args(["machines", "system", "workload_command"]).multiple(true)
)]
pub(super) struct MachineArgs {
    /// Give each node a whole machine with a network of its own (Linux; as root, or in user namespaces)
    ///
    /// Node I is at 10.77.0.(10+I) and fd77::(10+I), by name nodeI. Programs use any ports and protocols over IP;
    /// links, monkeys and their schedule are the same, and do to packets what they do to connections otherwise.
    #[arg(long)]
    pub machines: bool,

    /// What a link that is down does with packets: drop them silently, or reject them
    #[arg(
        long,
        value_name = "HOW",
        value_enum,
        default_value = "drop",
        requires = "on_machines"
    )]
    down: DownArg,

    /// Share of packets that are lost, 0 to 1
    #[arg(long, value_name = "P", default_value_t = 0.0, value_parser = share, requires = "on_machines")]
    loss: f64,

    /// Share of packets that arrive twice, 0 to 1
    #[arg(long, value_name = "P", default_value_t = 0.0, value_parser = share, requires = "on_machines")]
    duplicate: f64,

    /// Share of packets that overtake what is under way, 0 to 1
    #[arg(long, value_name = "P", default_value_t = 0.0, value_parser = share, requires = "on_machines")]
    reorder: f64,

    /// KiB that may wait where bandwidth is limited; what is more is lost
    #[arg(long, value_name = "KIB", default_value_t = 32, requires = "on_machines",
        value_parser = clap::value_parser!(u32).range(1..=1_048_576))]
    queue_kib: u32,

    /// The largest packet, in bytes
    #[arg(long, value_name = "BYTES", default_value_t = 1500, requires = "on_machines",
        value_parser = clap::value_parser!(u32).range(i64::from(LEAST_MTU)..=i64::from(MOST_MTU)))]
    mtu: u32,

    /// What becomes of the clients' links: nothing, or what becomes of all others
    #[arg(
        long,
        value_name = "HOW",
        value_enum,
        default_value = "calm",
        requires = "on_machines"
    )]
    client_links: ClientLinks,

    /// Memory that each node may have, in MiB: all its processes (cgroup v2), or each of them where that is not to be had
    #[arg(long, value_name = "MIB", value_parser = clap::value_parser!(u64).range(1..1_000_000))]
    memory_mb: Option<u64>,

    /// Processors that each node may have, such as 0.5 (needs the cpu controller of cgroup v2)
    #[arg(long, value_name = "N", value_parser = processors)]
    cpus: Option<f64>,

    /// Let packets of up to 64 KiB through: fast, but what is lost and delayed are whole ones
    #[arg(long, requires = "on_machines")]
    offload: bool,
}

/// What a link that is down does.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum DownArg {
    /// Senders hear nothing and try again, as after a cut
    Drop,
    /// Senders are told: a reset of TCP, "unreachable" of ICMP
    Reject,
}

/// What becomes of the clients' links.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum ClientLinks {
    /// They carry everything at once
    Calm,
    /// They lag and break like those between nodes
    Flaky,
}

impl MachineArgs {
    /// Whether the links of the clients' machine are in trouble as well.
    pub fn has_flaky_clients(&self) -> bool {
        self.client_links == ClientLinks::Flaky
    }

    /// How much each node may use.
    pub fn limits(&self) -> NodeLimits {
        NodeLimits {
            memory_bytes: self.memory_mb.map(|mb| mb << 20),
            processors: self.cpus,
        }
    }

    /// What the flags say.
    pub fn settings(&self) -> MachineSettings {
        MachineSettings {
            rules: PacketRules {
                down: match self.down {
                    DownArg::Drop => Down::Drop,
                    DownArg::Reject => Down::Reject,
                },
                loss: self.loss,
                duplication: self.duplicate,
                reorder: self.reorder,
                queue_bytes: u64::from(self.queue_kib) * 1024,
            },
            mtu: self.mtu,
            offload: self.offload,
        }
    }
}

fn share(text: &str) -> Result<f64, String> {
    let share = text.parse::<f64>().ok();
    let share = share.filter(|share| (0.0..=1.0).contains(share));
    share.ok_or_else(|| "a share is a number from 0 to 1".to_owned())
}

fn processors(text: &str) -> Result<f64, String> {
    let processors = text.parse::<f64>().ok();
    let processors = processors.filter(|processors| (0.01..=1024.0).contains(processors));
    processors.ok_or_else(|| "a number from 0.01 to 1024 is needed".to_owned())
}
