//! Phones and callers by sipp, a SIP stack nobody here wrote: many at once, silent (Asterisk sends them music) or singing, or
//! one caller whose media is a [`Voice`].

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, ensure};
use ringdown_test_support::{Folder, Process, Spec, free_port, wait_until};

use crate::call_centre::{CARRIER, CallCentre, PATIENCE, PHONE_PASSWORD};
use crate::voice::{Voice, tone};

/// What the callers of a crowd sing.
const CROWD_HZ: f64 = 1_100.0;

/// What a crowd of callers does.
#[derive(Clone, Copy, Debug)]
pub struct Crowd {
    /// How many calls in all.
    pub calls: u32,
    /// Calls per second.
    pub rate: u32,
    /// How long each lasts from its answer until the caller hangs up.
    pub lasts: Duration,
    /// The callers sing, and the phones give it back. Otherwise Asterisk sends all the sound there is.
    pub sound: bool,
}

/// How the calls of a crowd ended, as the callers saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    pub good: u64,
    pub failed: u64,
}

/// sipp with a folder for its files.
pub struct Sipp {
    folder: Folder,
}

impl Sipp {
    /// Nothing runs yet.
    pub fn new() -> anyhow::Result<Self> {
        Ok(Self { folder: Folder::new("sipp")? })
    }

    /// Registers a phone for each user at one address and lets them all answer there, and give back what they hear, until
    /// dropped.
    pub async fn answer(&self, centre: &CallCentre, users: &[String]) -> anyhow::Result<Process> {
        let port = free_port();
        let line = |user: &String| {
            format!("{user};[authentication username={user} password={PHONE_PASSWORD}];{}\n", centre.realm)
        };
        let file = self.folder.join("users.csv");
        let lines: String = users.iter().map(line).collect();
        std::fs::write(&file, format!("SEQUENTIAL\n{lines}")).context("writing the users")?;
        // From the address where they answer: the registrar reaches a phone where it registered from.
        let registering = self.spec("register", port).arg("-inf").arg(&file).args(["-m", &users.len().to_string()]);
        registering.args(["-r", "50"]).arg(centre.registrar.to_string()).run(PATIENCE).await?;
        let answering = self.spec("answer", port).arg("-rtp_echo").start()?;
        let mark = format!(":{port:04X} ");
        wait_until(PATIENCE, "the phones listen", async || {
            std::fs::read_to_string("/proc/net/udp").ok()?.contains(&mark).then_some(())
        })
        .await;
        Ok(answering)
    }

    /// One caller, who talks with this voice for so long.
    pub fn call_with(&self, number: &str, to: SocketAddr, voice: &Voice, lasts: Duration) -> anyhow::Result<Process> {
        let spec = self.spec("call", free_port()).args(["-key", "voice_port", &voice.address().port().to_string()]);
        let spec = spec.args(["-s", number, "-m", "1", "-d", &lasts.as_millis().to_string()]);
        spec.arg(to.to_string()).start()
    }

    /// Places calls until all are over.
    pub async fn call(&self, number: &str, to: SocketAddr, crowd: Crowd) -> anyhow::Result<Ended> {
        let figures = self.folder.join(format!("calls-{number}-{}.csv", crowd.sound));
        let expected = Duration::from_secs(u64::from(crowd.calls / crowd.rate.max(1))) + crowd.lasts;
        let scenario = if crowd.sound { self.singing()? } else { scenario("call") };
        let spec = self.run("call", scenario, free_port()).args(["-key", "voice_port", &free_port().to_string()]);
        let spec = spec.args(["-s", number, "-trace_stat", "-stf"]).arg(&figures);
        let spec = spec.args(["-m", &crowd.calls.to_string(), "-r", &crowd.rate.to_string()]);
        let spec = spec.args(["-l", &crowd.calls.to_string(), "-d", &crowd.lasts.as_millis().to_string()]);
        // Its exit code says only that some call failed; the figures say how many.
        spec.arg(to.to_string()).start()?.wait_exit(expected + PATIENCE * 2).await?;
        let text = std::fs::read_to_string(figures).context("sipp wrote no figures")?;
        let count = |name| last(&text, name).with_context(|| format!("sipp's figures lack {name}"));
        Ok(Ended { good: count("SuccessfulCall(C)")?, failed: count("FailedCall(C)")? })
    }

    /// The scenario of a caller, who sings: a second of a tone, again and again.
    fn singing(&self) -> anyhow::Result<PathBuf> {
        let sound = self.folder.join("tone.ulaw");
        std::fs::write(&sound, tone(CROWD_HZ, 0, 8_000).collect::<Vec<u8>>()).context("writing the tone")?;
        let silent = std::fs::read_to_string(scenario("call")).context("reading the scenario")?;
        ensure!(silent.contains("[voice_port]") && silent.contains("<pause/>"), "the scenario has another shape");
        let sing = format!("<nop><action><exec rtp_stream=\"{},-1,0\"/></action></nop>\n  <pause/>", sound.display());
        let text = silent.replace("[voice_port]", "[rtpstream_audio_port]").replace("<pause/>", &sing);
        let file = self.folder.join("call_and_sing.xml");
        std::fs::write(&file, text).context("writing the scenario")?;
        Ok(file)
    }

    /// What went wrong in the calls, as sipp saw it.
    #[must_use]
    pub fn complaints(&self) -> String {
        let text = std::fs::read_to_string(self.folder.join("call.err")).unwrap_or_default();
        text.lines().take(40).collect::<Vec<_>>().join("\n")
    }

    fn spec(&self, name: &str, port: u16) -> Spec {
        self.run(name, scenario(name), port)
    }

    fn run(&self, name: &str, scenario: PathBuf, port: u16) -> Spec {
        Spec::new("sipp", "sipp", self.folder.join(format!("{name}.log")))
            .env("TERM", "dumb")
            .folder(self.folder.path())
            .arg("-sf")
            .arg(scenario)
            .args(["-i", CARRIER, "-p", &port.to_string(), "-mp", &free_port().to_string(), "-nostdin"])
            .args(["-trace_err", "-error_file"])
            .arg(self.folder.join(format!("{name}.err")))
    }
}

fn scenario(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("scenarios/{name}.xml"))
}

/// A figure of the last line of sipp's statistics.
fn last(text: &str, name: &str) -> Option<u64> {
    let mut lines = text.lines();
    let column = lines.next()?.split(';').position(|found| found == name)?;
    lines.next_back()?.split(';').nth(column)?.parse().ok()
}
