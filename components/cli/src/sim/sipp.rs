//! SIP phones and callers by sipp: scenarios, and processes that end with us.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::Context;
use tokio::process::{Child, Command};

use crate::supervise::find_program;

/// Where everything of a run is: scenarios, logs.
#[derive(Debug)]
pub(super) struct Sipp {
    program: PathBuf,
    folder: tempfile::TempDir,
    /// This host's address as the servers see it.
    pub(super) address: Ipv4Addr,
}

/// A phone.
#[derive(Clone, Debug)]
pub(super) struct Phone {
    pub(super) user: String,
    pub(super) password: String,
}

impl Sipp {
    pub(super) fn new(address: Ipv4Addr) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("ringdown-sim-").tempdir().context("making a folder")?;
        Ok(Self { program: find_program("sipp", "sip-tester")?, folder, address })
    }

    /// Phones at `port` that ring, answer, talk and hang up, until dropped.
    pub(super) fn answer(&self, port: u16, media_port: u16, ring_ms: u64, talk_ms: u64) -> anyhow::Result<Child> {
        let scenario = self.write("answer.xml", &answer_scenario(media_port, ring_ms, talk_ms))?;
        self.command(&scenario, Some(port)).spawn().context("starting the phones")
    }

    /// Calls `did`; ends when all calls are over.
    pub(super) fn call(&self, trunk: &str, did: &str, plan: &CallPlan) -> anyhow::Result<Child> {
        let scenario = self.write("call.xml", &call_scenario(did, plan))?;
        let mut command = self.command(&scenario, None);
        // sipp's rate is whole calls per period.
        let per_period = plan.rate.round().max(1.0);
        let period_ms = (per_period * 1_000.0 / plan.rate).round();
        command.args(["-m", &plan.calls.to_string(), "-l", &plan.calls.to_string()]);
        command.args(["-r", &per_period.to_string(), "-rp", &period_ms.to_string()]).arg(trunk);
        command.spawn().context("starting the callers")
    }

    /// What sipp said went wrong, the end of it.
    pub(super) fn errors(&self) -> String {
        let text = std::fs::read_to_string(self.folder.path().join("errors.log")).unwrap_or_default();
        let lines: Vec<_> = text.lines().filter(|line| !line.trim().is_empty()).collect();
        lines[lines.len().saturating_sub(12)..].join(" / ")
    }

    fn write(&self, name: &str, text: &str) -> anyhow::Result<PathBuf> {
        let path = self.folder.path().join(name);
        std::fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
        Ok(path)
    }

    fn command(&self, scenario: &Path, port: Option<u16>) -> Command {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--"]).arg(&self.program).arg("-sf").arg(scenario);
        command.args(["-i", &self.address.to_string(), "-nostdin", "-trace_err", "-error_file"]);
        command.arg(self.folder.path().join("errors.log"));
        if let Some(port) = port {
            command.args(["-p", &port.to_string()]);
        }
        command.env("TERM", "dumb").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
        command
    }
}

/// What the callers do.
#[derive(Clone, Copy, Debug)]
pub(super) struct CallPlan {
    pub(super) calls: u32,
    pub(super) rate: f64,
    pub(super) media_port: u16,
    pub(super) patience_ms: u64,
    /// The first digits of the callers' numbers; the call's own follow.
    pub(super) mark: u32,
}

fn scenario(body: &str) -> String {
    format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<scenario name=\"ringdown sim\">\n{body}</scenario>\n")
}

fn send(retransmit: bool, message: &str) -> String {
    let attribute = if retransmit { " retrans=\"500\"" } else { "" };
    format!("<send{attribute}><![CDATA[\n\n{message}\n]]></send>\n")
}

const VIA: &str = "Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]\nMax-Forwards: 70";

fn sdp(media_port: u16) -> String {
    format!(
        "Content-Type: application/sdp\nContent-Length: [len]\n\nv=0\no=sim 1 1 IN IP4 [local_ip]\ns=-\nc=IN IP4 [local_ip]\n\
         t=0 0\nm=audio {media_port} RTP/AVP 0\na=rtpmap:0 PCMU/8000\na=sendrecv\n"
    )
}

/// Rings, answers, talks, hangs up. The ACK's To and From have both tags: they are the BYE's From and To.
fn answer_scenario(media_port: u16, ring_ms: u64, talk_ms: u64) -> String {
    let answer = |line: &str, rest: &str| {
        format!(
            "SIP/2.0 {line}\n[last_Via:]\n[last_Record-Route:]\n[last_From:]\n[last_To:];tag=[pid]a[call_number]\n[last_Call-ID:]\n[last_CSeq:]\n\
             Contact: <sip:[local_ip]:[local_port]>\n{rest}"
        )
    };
    let ringing = send(false, &answer("180 Ringing", "Content-Length: 0\n"));
    let ok = send(true, &answer("200 OK", &sdp(media_port)));
    let bye = send(
        true,
        &format!(
            "BYE [next_url] SIP/2.0\n{VIA}\n[routes]\nFrom:[$local]\nTo:[$remote]\n[last_Call-ID:]\nCSeq: 1 BYE\nContent-Length: 0\n"
        ),
    );
    scenario(&format!(
        "<recv request=\"INVITE\" rrs=\"true\"/>\n{ringing}<pause milliseconds=\"{ring_ms}\"/>\n{ok}\
         <recv request=\"ACK\"><action>\n<ereg regexp=\".*\" search_in=\"hdr\" header=\"To:\" assign_to=\"local\"/>\n\
         <ereg regexp=\".*\" search_in=\"hdr\" header=\"From:\" assign_to=\"remote\"/>\n</action></recv>\n\
         <pause milliseconds=\"{talk_ms}\"/>\n{bye}<recv response=\"200\"/>\n"
    ))
}

/// Calls, waits for the agent's end to hang up; hangs up itself when its patience ends.
fn call_scenario(did: &str, plan: &CallPlan) -> String {
    let CallPlan { media_port, patience_ms, mark, .. } = *plan;
    let from = format!("From: <sip:{mark}[call_number]@[local_ip]>;tag=[pid]c[call_number]");
    let head = |method: &str, number: u32| {
        format!(
            "{VIA}\n{from}\nTo: <sip:{did}@[remote_ip]:[remote_port]>[peer_tag_param]\nCall-ID: [call_id]\nCSeq: {number} {method}"
        )
    };
    let contact = "Contact: <sip:[local_ip]:[local_port]>";
    let invite = send(
        true,
        &format!(
            "INVITE sip:{did}@[remote_ip]:[remote_port] SIP/2.0\n{}\n{contact}\n{}",
            head("INVITE", 1),
            sdp(media_port)
        ),
    );
    let ack = send(false, &format!("ACK [next_url] SIP/2.0\n{}\n[routes]\nContent-Length: 0\n", head("ACK", 1)));
    let bye = send(true, &format!("BYE [next_url] SIP/2.0\n{}\n[routes]\nContent-Length: 0\n", head("BYE", 2)));
    let ok = send(
        false,
        "SIP/2.0 200 OK\n[last_Via:]\n[last_From:]\n[last_To:]\n[last_Call-ID:]\n[last_CSeq:]\nContent-Length: 0\n",
    );
    scenario(&format!(
        "{invite}<recv response=\"100\" optional=\"true\"/>\n<recv response=\"180\" optional=\"true\"/>\n\
         <recv response=\"183\" optional=\"true\"/>\n<recv response=\"200\" rrs=\"true\"/>\n{ack}\
         <recv request=\"BYE\" timeout=\"{patience_ms}\" ontimeout=\"1\"/>\n{ok}<nop next=\"2\"/>\n\
         <label id=\"1\"/>\n{bye}<recv response=\"200\"/>\n<label id=\"2\"/>\n"
    ))
}
