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
    /// Show the addresses of the API, for phones and for trunks, and the administrator's password the first time
    Announce,
    /// Create this host's operator token by logging in as the first administrator (first boot does this)
    Enrol,
    /// Show the state of every part
    Status(Status),
    /// Check this host and its installation, and explain how to fix what is wrong
    Doctor(Doctor),
    /// Create a support archive: versions, units, journals, configuration; contains no secrets and no caller data
    SupportBundle(SupportBundle),
    /// Simulate load; prints a table and fails when anything was lost
    Sim(Sim),
    /// Explain what happened to an interaction, and why
    Explain(Explain),
    /// Drain this host, replace its version, or release its data volume
    Host(Host),
    /// Look at the SIP messages of this host's registrar
    Sip(Sip),
}

#[derive(Args, Debug)]
pub(crate) struct Up {
    /// Return once everything is healthy and keep running in the background
    #[arg(long)]
    pub(crate) detach: bool,
    /// Folder of the daemons' programs [default: this program's]
    #[arg(long, env = "RINGDOWN_BIN_DIR", value_name = "FOLDER")]
    pub(crate) bin_dir: Option<PathBuf>,
    /// Root folder Asterisk runs from [default: / when it is installed, else the one first boot makes]
    #[arg(long, env = "RINGDOWN_ASTERISK_ROOT", value_name = "FOLDER")]
    pub(crate) asterisk_root: Option<PathBuf>,
    /// Address of this host for phones and trunks, for a new installation [default: the one of the default route]
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) address: Option<Ipv4Addr>,
    /// Ports of a new installation: the usual ones where they are free, or any free ones
    #[arg(long, value_enum, default_value_t = PortChoice::Usual)]
    pub(crate) ports: PortChoice,
    /// A port of a new installation, e.g. --port web-api=8080
    #[arg(long = "port", value_name = "NAME=NUMBER")]
    pub(crate) chosen_ports: Vec<String>,
    /// Do not run this part (it runs elsewhere or is not needed)
    #[arg(long, value_name = "NAME")]
    pub(crate) without: Vec<String>,
    /// How long to wait for everything to become healthy, in seconds
    #[arg(long, default_value_t = 120, value_name = "SECONDS")]
    pub(crate) wait_s: u64,
    /// Internal: this process is the supervisor in the background
    #[arg(long, hide = true)]
    pub(crate) supervisor: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum PortChoice {
    /// The documented ports; a free one where a port is taken
    Usual,
    /// Any free ports
    Free,
}

#[derive(Args, Debug)]
pub(crate) struct Down {
    /// How long to wait for the supervisor to stop, in seconds
    #[arg(long, default_value_t = 60, value_name = "SECONDS")]
    pub(crate) wait_s: u64,
}

#[derive(Args, Debug)]
pub(crate) struct Status {
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args, Debug)]
pub(crate) struct Doctor {
    /// Check the installation's other hosts too, over the network
    #[arg(long)]
    pub(crate) cluster: bool,
    /// More hosts to check and what should run there (implies --cluster): 10.0.0.5=acd+web-api,10.0.0.6
    #[arg(long, value_name = "HOST,...", value_delimiter = ',')]
    pub(crate) hosts: Vec<ClusterPlace>,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args, Debug)]
pub(crate) struct SupportBundle {
    /// Name of the archive [default: ringdown-support-HOST-TIME.tar.gz in this folder]
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    /// Hours of journals to include
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
    /// Show the current version, the one to roll back to, and how the last replacement went
    Status,
    /// Stop taking new work: load balancers send no requests, routers hand over, new calls get 503; wait for calls to end
    Drain(HostDrain),
    /// Replace this version with another one; roll back automatically if the new one does not work
    Replace(HostReplace),
    /// Roll back to the version before
    Rollback(HostRollback),
    /// Stop everything and release the data volume, so that another machine can take over
    Release(HostRelease),
    /// Resume an interrupted replacement (runs at boot)
    Resume,
}

#[derive(Args, Debug)]
pub(crate) struct Sip {
    #[command(subcommand)]
    pub(crate) what: SipCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum SipCommand {
    /// Draw the messages of a call, of a phone, or all, as a ladder: those of the last hour, or live
    Trace(SipTrace),
}

#[derive(Args, Debug)]
pub(crate) struct SipTrace {
    /// A Call-ID, an address of record (ada@acme.example, or ada), or all
    #[arg(default_value = "all", value_name = "CALL-ID|AOR|all")]
    pub(crate) what: String,
    /// Go on with what comes, until Ctrl-C
    #[arg(long)]
    pub(crate) live: bool,
    /// Print the messages whole
    #[arg(long)]
    pub(crate) full: bool,
    /// Write the messages into this file for Wireshark, instead of drawing them
    #[arg(long, value_name = "FILE", conflicts_with_all = ["live", "json"])]
    pub(crate) pcap: Option<PathBuf>,
    /// Print JSON, a line each
    #[arg(long)]
    pub(crate) json: bool,
    /// The registrar's socket [default: the one of this host's installation]
    #[arg(long, value_name = "FILE")]
    pub(crate) socket: Option<PathBuf>,
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
    /// Bundle of the other version, a folder or a .tar
    #[arg(long, value_name = "PLACE")]
    pub(crate) bundle: PathBuf,
    /// Bundle of the running version, when it is not on the data volume
    #[arg(long, value_name = "PLACE")]
    pub(crate) previous: Option<PathBuf>,
    /// Only run the other version's checks on this host
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// How long to wait for calls to end if the replacement would cut them off (a different Asterisk), in seconds
    #[arg(long, default_value_t = 600, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(0..=86_400))]
    pub(crate) wait_s: u64,
    /// End calls still active at the deadline; otherwise abort
    #[arg(long)]
    pub(crate) cut_calls: bool,
}

#[derive(Args, Debug)]
pub(crate) struct HostRollback {
    /// How long to wait for calls to end if the replacement would cut them off (a different Asterisk), in seconds
    #[arg(long, default_value_t = 600, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(0..=86_400))]
    pub(crate) wait_s: u64,
    /// End calls still active at the deadline; otherwise abort
    #[arg(long)]
    pub(crate) cut_calls: bool,
}

#[derive(Args, Debug)]
pub(crate) struct HostRelease {
    /// Take the data volume back and start again, unless another machine has it
    #[arg(long)]
    pub(crate) undo: bool,
    /// How long to wait for calls to end, in seconds
    #[arg(long, default_value_t = 600, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(0..=86_400))]
    pub(crate) wait_s: u64,
    /// End calls still active at the deadline; otherwise abort
    #[arg(long)]
    pub(crate) cut_calls: bool,
}

#[derive(Args, Debug)]
pub(crate) struct Explain {
    /// ID of the interaction
    pub(crate) interaction: Uuid,
    /// Its tenant [default: search all]
    #[arg(long)]
    pub(crate) tenant: Option<Uuid>,
    /// Print JSON
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
    /// Agents and interactions with one language and one department each, through the API
    Interactions(SimInteractions),
    /// Real SIP calls on a trunk to real SIP phones (needs sipp)
    Calls(SimCalls),
}

#[derive(Args, Clone, Debug)]
pub(crate) struct SimCommon {
    /// Use this tenant and leave what was created in it [default: a new tenant, removed at the end]
    #[arg(long)]
    pub(crate) tenant: Option<Uuid>,
    /// Keep the new tenant
    #[arg(long)]
    pub(crate) keep: bool,
    /// Seed of the random numbers: the same seed gives the same load [default: a new one, printed]
    #[arg(long)]
    pub(crate) seed: Option<u64>,
    /// Target time to answer, in seconds: the service level is the share answered within it
    #[arg(long, default_value_t = 20, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=3_600))]
    pub(crate) service_level_s: u64,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args, Clone, Debug)]
pub(crate) struct SimInteractions {
    /// Number of agents
    #[arg(long, default_value_t = 40, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) agents: u32,
    /// Number of interactions
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) interactions: u32,
    /// Interactions per second, on average
    #[arg(long, default_value_t = 10.0, value_parser = parse_rate)]
    pub(crate) rate: f64,
    /// Handling time in milliseconds, on average
    #[arg(long, default_value_t = 2_000, value_parser = clap::value_parser!(u64).range(1..=3_600_000))]
    pub(crate) handling_ms: u64,
    /// Patience in milliseconds, on average: waiting longer abandons; 0 means for ever
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u64).range(0..=3_600_000))]
    pub(crate) patience_ms: u64,
    #[command(flatten)]
    pub(crate) common: SimCommon,
}

#[derive(Args, Clone, Debug)]
pub(crate) struct SimCalls {
    /// Number of phones
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub(crate) agents: u32,
    /// Number of calls
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) calls: u32,
    /// Calls started per second
    #[arg(long, default_value_t = 1.0, value_parser = parse_rate)]
    pub(crate) rate: f64,
    /// Ring time before a phone is answered, in milliseconds
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u64).range(0..=60_000))]
    pub(crate) ring_ms: u64,
    /// Talk time in milliseconds; then the agent hangs up
    #[arg(long, default_value_t = 2_000, value_parser = clap::value_parser!(u64).range(100..=3_600_000))]
    pub(crate) talk_ms: u64,
    /// How long a caller waits for an agent before hanging up, in milliseconds
    #[arg(long, default_value_t = 60_000, value_parser = clap::value_parser!(u64).range(1_000..=3_600_000))]
    pub(crate) patience_ms: u64,
    /// Where Asterisk takes calls from the trunk [default: the installation's]
    #[arg(long, env = "RINGDOWN_SIM_TRUNK", value_name = "HOST:PORT")]
    pub(crate) trunk: Option<String>,
    /// Where phones register [default: the installation's registrar]
    #[arg(long, env = "RINGDOWN_SIM_REGISTRAR", value_name = "HOST:PORT")]
    pub(crate) registrar: Option<String>,
    /// Describe each call
    #[arg(long)]
    pub(crate) tell: bool,
    /// Address of this host as the servers see it [default: one of 127.0.0.0/8, drawn from the seed]
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) address: Option<Ipv4Addr>,
    #[command(flatten)]
    pub(crate) common: SimCommon,
}

fn parse_rate(text: &str) -> Result<f64, String> {
    let rate: f64 = text.parse().map_err(|_| "is no number".to_owned())?;
    if (0.001..=10_000.0).contains(&rate) { Ok(rate) } else { Err("must be 0.001 to 10000 per second".to_owned()) }
}
