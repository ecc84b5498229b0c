//! The command line.

use std::net::Ipv4Addr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use uuid::Uuid;

use crate::doctor::ClusterPlace;

/// Ringdown, a contact centre as an appliance: the operator's tool.
#[derive(Debug, Parser)]
#[command(name = "ringdown", version, arg_required_else_help = true)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) place: Place,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Which installation.
#[derive(Args, Clone, Debug)]
pub(crate) struct Place {
    /// The installation's folder [default: /var/lib/ringdown as root, else ./.ringdown]
    #[arg(long, env = "RINGDOWN_DATA_DIR", global = true, value_name = "FOLDER")]
    pub(crate) data: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the whole installation on this host: servers and daemons, until Ctrl-C
    Up(Box<Up>),
    /// Stop what `up` runs
    Down(Down),
    /// Say the addresses of the API, for phones and for trunks
    Announce,
    /// Get this host's operator a token of its own, by the first administrator's log-in (first boot does it)
    Enrol,
    /// Say how every part is
    Status(Status),
    /// Look for what is wrong with this host and its installation, and say what to do
    Doctor(Doctor),
    /// Pack what somebody who helps has to see: versions, units, journals, configuration; no secret, no caller
    SupportBundle(SupportBundle),
    /// Simulate load; ends with a table, and with an error when anything was lost
    Sim(Sim),
    /// Tell what happened to an interaction, and why
    Explain(Explain),
    /// Take this host out of work, to another version, or away from its data
    Host(Host),
}

#[derive(Args, Debug)]
pub(crate) struct Up {
    /// Go to the background once everything is healthy
    #[arg(long)]
    pub(crate) detach: bool,
    /// The folder of the daemons' programs [default: the one of this program]
    #[arg(long, env = "RINGDOWN_BIN_DIR", value_name = "FOLDER")]
    pub(crate) bin_dir: Option<PathBuf>,
    /// The root folder Asterisk runs from [default: / when it is installed, else the one first boot makes]
    #[arg(long, env = "RINGDOWN_ASTERISK_ROOT", value_name = "FOLDER")]
    pub(crate) asterisk_root: Option<PathBuf>,
    /// This host's address for phones and trunks, of a new installation [default: the one the world is reached from]
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) address: Option<Ipv4Addr>,
    /// Ports of a new installation: its usual ones where they are free, or any free ones
    #[arg(long, value_enum, default_value_t = PortChoice::Usual)]
    pub(crate) ports: PortChoice,
    /// A port of a new installation, e.g. --port web-api=8080
    #[arg(long = "port", value_name = "NAME=NUMBER")]
    pub(crate) chosen_ports: Vec<String>,
    /// Do not run this part (it runs elsewhere, or is not needed)
    #[arg(long, value_name = "NAME")]
    pub(crate) without: Vec<String>,
    /// How long everything may take to become healthy, in seconds
    #[arg(long, default_value_t = 120, value_name = "SECONDS")]
    pub(crate) wait_s: u64,
    /// Internal: this process is the supervisor in the background
    #[arg(long, hide = true)]
    pub(crate) supervisor: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum PortChoice {
    /// The ports of the documentation, another where one is taken
    Usual,
    /// Any free ports
    Free,
}

#[derive(Args, Debug)]
pub(crate) struct Down {
    /// How long the supervisor may take, in seconds
    #[arg(long, default_value_t = 60, value_name = "SECONDS")]
    pub(crate) wait_s: u64,
}

#[derive(Args, Debug)]
pub(crate) struct Status {
    /// For programs
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args, Debug)]
pub(crate) struct Doctor {
    /// Look at the other hosts of the installation too, over the network
    #[arg(long)]
    pub(crate) cluster: bool,
    /// Hosts besides those this one was told of (then --cluster need not be said), with what has to be there: 10.0.0.5=acd+web-api,10.0.0.6
    #[arg(long, value_name = "HOST,...", value_delimiter = ',')]
    pub(crate) hosts: Vec<ClusterPlace>,
    /// For programs
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args, Debug)]
pub(crate) struct SupportBundle {
    /// The archive [default: ringdown-support-HOST-TIME.tar.gz here]
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    /// How many hours of journals
    #[arg(long, default_value_t = 24, value_name = "HOURS", value_parser = clap::value_parser!(u32).range(1..=168))]
    pub(crate) hours: u32,
}

#[derive(Args, Debug)]
pub(crate) struct Host {
    #[command(subcommand)]
    pub(crate) what: HostCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum HostCommand {
    /// Say which version is here, which one can be gone back to, and how the last replacement went
    Status,
    /// Take no new work: balancers send no requests, routers are handed over, new calls hear 503; wait for calls to end
    Drain(HostDrain),
    /// Replace this version by another one, and come back to this one by itself when the other does not work
    Replace(HostReplace),
    /// Go back to the version that was replaced
    Rollback(HostRollback),
    /// Stop everything and let go of the data volume, so that another machine can take this one's place
    Release(HostRelease),
    /// Go on with a replacement that was cut off (done at boot)
    Resume,
}

#[derive(Args, Debug)]
pub(crate) struct HostDrain {
    /// Take new work again
    #[arg(long)]
    pub(crate) undo: bool,
    /// How long to wait for calls to end, in seconds
    #[arg(long, default_value_t = 600, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(0..=86_400))]
    pub(crate) wait_s: u64,
}

#[derive(Args, Debug)]
pub(crate) struct HostReplace {
    /// The other version's bundle, a folder or a .tar
    #[arg(long, value_name = "PLACE")]
    pub(crate) bundle: PathBuf,
    /// The bundle of the version that runs, when it is not kept on the data volume
    #[arg(long, value_name = "PLACE")]
    pub(crate) previous: Option<PathBuf>,
    /// Only let the other version look at this host
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// How long to wait for calls to end where they would be cut off (another Asterisk), in seconds
    #[arg(long, default_value_t = 600, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(0..=86_400))]
    pub(crate) wait_s: u64,
    /// Cut off calls that last longer than that, instead of leaving everything as it is
    #[arg(long)]
    pub(crate) cut_calls: bool,
}

#[derive(Args, Debug)]
pub(crate) struct HostRollback {
    /// How long to wait for calls to end where they would be cut off (another Asterisk), in seconds
    #[arg(long, default_value_t = 600, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(0..=86_400))]
    pub(crate) wait_s: u64,
    /// Cut off calls that last longer than that, instead of leaving everything as it is
    #[arg(long)]
    pub(crate) cut_calls: bool,
}

#[derive(Args, Debug)]
pub(crate) struct HostRelease {
    /// Work again, if no other machine has the data volume
    #[arg(long)]
    pub(crate) undo: bool,
    /// How long to wait for calls to end, in seconds
    #[arg(long, default_value_t = 600, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(0..=86_400))]
    pub(crate) wait_s: u64,
    /// Cut off calls that last longer than that, instead of leaving everything as it is
    #[arg(long)]
    pub(crate) cut_calls: bool,
}

#[derive(Args, Debug)]
pub(crate) struct Explain {
    /// The interaction
    pub(crate) interaction: Uuid,
    /// Its tenant [default: looked for in all]
    #[arg(long)]
    pub(crate) tenant: Option<Uuid>,
    /// For programs
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args, Debug)]
pub(crate) struct Sim {
    #[command(subcommand)]
    pub(crate) what: SimCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum SimCommand {
    /// Agents and interactions of one language and one department each, over the API
    Interactions(SimInteractions),
    /// Real SIP calls over a trunk to real SIP phones (needs sipp)
    Calls(SimCalls),
}

#[derive(Args, Clone, Debug)]
pub(crate) struct SimCommon {
    /// Use this tenant, which keeps what is made in it [default: a tenant of its own, removed at the end]
    #[arg(long)]
    pub(crate) tenant: Option<Uuid>,
    /// Keep the tenant that was made
    #[arg(long)]
    pub(crate) keep: bool,
    /// The random numbers' seed: the same seed, the same load [default: a new one, which is printed]
    #[arg(long)]
    pub(crate) seed: Option<u64>,
    /// The promised time to answer, in seconds: the service level is the share answered within it
    #[arg(long, default_value_t = 20, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=3_600))]
    pub(crate) service_level_s: u64,
    /// For programs
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args, Clone, Debug)]
pub(crate) struct SimInteractions {
    /// How many agents
    #[arg(long, default_value_t = 40, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) agents: u32,
    /// How many interactions
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) interactions: u32,
    /// How many interactions arrive per second, on average
    #[arg(long, default_value_t = 10.0, value_parser = parse_rate)]
    pub(crate) rate: f64,
    /// How long one is handled, in milliseconds, on average
    #[arg(long, default_value_t = 2_000, value_parser = clap::value_parser!(u64).range(1..=3_600_000))]
    pub(crate) handling_ms: u64,
    /// How long one waits before it is abandoned, in milliseconds, on average; 0: for ever
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u64).range(0..=3_600_000))]
    pub(crate) patience_ms: u64,
    #[command(flatten)]
    pub(crate) common: SimCommon,
}

#[derive(Args, Clone, Debug)]
pub(crate) struct SimCalls {
    /// How many phones
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub(crate) agents: u32,
    /// How many calls
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) calls: u32,
    /// How many calls begin per second
    #[arg(long, default_value_t = 1.0, value_parser = parse_rate)]
    pub(crate) rate: f64,
    /// How long a phone rings before it is answered, in milliseconds
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u64).range(0..=60_000))]
    pub(crate) ring_ms: u64,
    /// How long they talk, in milliseconds; then the agent hangs up
    #[arg(long, default_value_t = 2_000, value_parser = clap::value_parser!(u64).range(100..=3_600_000))]
    pub(crate) talk_ms: u64,
    /// How long a caller waits for an agent before hanging up, in milliseconds
    #[arg(long, default_value_t = 60_000, value_parser = clap::value_parser!(u64).range(1_000..=3_600_000))]
    pub(crate) patience_ms: u64,
    /// Where Asterisk takes the trunk's calls [default: the installation's]
    #[arg(long, env = "RINGDOWN_SIM_TRUNK", value_name = "HOST:PORT")]
    pub(crate) trunk: Option<String>,
    /// Where phones register [default: the installation's registrar]
    #[arg(long, env = "RINGDOWN_SIM_REGISTRAR", value_name = "HOST:PORT")]
    pub(crate) registrar: Option<String>,
    /// Tell the story of each call
    #[arg(long)]
    pub(crate) tell: bool,
    /// This host's address as the servers see it [default: one of 127.0.0.0/8, drawn by the seed]
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) address: Option<Ipv4Addr>,
    #[command(flatten)]
    pub(crate) common: SimCommon,
}

fn parse_rate(text: &str) -> Result<f64, String> {
    let rate: f64 = text.parse().map_err(|_| "is no number".to_owned())?;
    if (0.001..=10_000.0).contains(&rate) { Ok(rate) } else { Err("must be 0.001 to 10000 per second".to_owned()) }
}
