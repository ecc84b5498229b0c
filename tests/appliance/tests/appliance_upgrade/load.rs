//! What comes in while something else happens: calls with sound both ways, or interactions by the API.

use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use anyhow::{Context, ensure};
use ringdown_appliance::fleet::{Fleet, Host, wait_for};

/// A child that ends with the test.
pub(crate) struct Beside(pub(crate) Child);

impl Drop for Beside {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// Calls that come in while something else happens.
pub(crate) struct Calls {
    child: Beside,
    out: PathBuf,
    count: u64,
}

impl Calls {
    /// `count` calls, a few each second; returns when some are in progress. `words` say more about them.
    pub(crate) fn begin(host: &Host, folder: &Path, count: u64, words: &[&str]) -> anyhow::Result<Self> {
        let out = folder.join(format!("calls-{count}.json"));
        let error = std::fs::File::create(out.with_extension("err"))?;
        let mut command = host.command()?;
        command.args(["ringdown", "sim", "calls", "--json", "--keep", "--calls", &count.to_string()]).args(words);
        command.stdin(Stdio::null()).stdout(std::fs::File::create(&out)?).stderr(error);
        let child = Beside(command.spawn().context("starting the calls")?);
        let least = count.min(3);
        wait_for(Duration::from_secs(120), "calls are in progress", || {
            calls_now(host).ok().filter(|calls| *calls >= least)
        })?;
        Ok(Self { child, out, count })
    }

    /// Whether they go on.
    pub(crate) fn go_on(&mut self) -> anyhow::Result<bool> {
        Ok(self.child.0.try_wait()?.is_none())
    }

    /// Waits for their end: every call was answered, by one agent, and both heard each other. `name` is the figure's.
    pub(crate) fn end(mut self, host: &Host, name: &str) -> anyhow::Result<()> {
        let status = wait_for(Duration::from_secs(400), "the calls end", || self.child.0.try_wait().transpose())??;
        let said = std::fs::read_to_string(&self.out)?;
        let complaint = std::fs::read_to_string(self.out.with_extension("err"))?;
        ensure!(status.success(), "the calls: {said}{complaint}");
        let figures = ["offered", "answered", "lost", "heard"].map(|name| figure(&said, name));
        let all = Some(self.count);
        assert_eq!(figures, [all, all, Some(0), all], "{said}{complaint}");
        println!("{name}_calls {} calls", self.count);
        println!("{name}_lost 0 calls");
        println!("{name}_longest_wait {} ms", figure(&said, "longest_wait_ms").unwrap_or(0));
        assert_eq!(calls_now(host)?, 0, "no call is stuck");
        Ok(())
    }
}

fn figure(said: &str, name: &str) -> Option<u64> {
    let rest = said.split_once(&format!("\"{name}\":"))?.1;
    rest.trim().split([',', '\n', '}']).next()?.trim().parse().ok()
}

/// Calls on the host's Asterisk, by its acd.
pub(crate) fn calls_now(host: &Host) -> anyhow::Result<u64> {
    let said = host.sh("curl -s -m 2 http://127.0.0.1:8002/metrics | sed -n 's/^[a-z_]*voice_calls //p'")?;
    said.trim().parse().with_context(|| format!("voice_calls is {said:?}"))
}

/// How often each interaction that the host's Redis has a history of was connected with an agent.
pub(crate) fn connections(host: &Host) -> anyhow::Result<Vec<u32>> {
    let line = "export REDISCLI_AUTH=$(cat /etc/ringdown/secrets/REDIS_PASSWORD)
        redis-cli --scan --pattern '{*}:history:*' | while read -r key; do
            redis-cli lrange \"$key\" 0 -1 | awk '/\"kind\":\"interaction_connected\"/ {times++} END {print times + 0}'
        done";
    host.sh(line)?.lines().map(|count| Ok(count.parse()?)).collect()
}

/// No interaction was given to two agents, none is left in a queue.
pub(crate) fn assert_conserved(host: &Host) -> anyhow::Result<()> {
    let counts = connections(host)?;
    let others: Vec<_> = counts.iter().filter(|count| **count != 1).collect();
    assert!(!counts.is_empty() && others.is_empty(), "{others:?} of {}", counts.len());
    println!("connected once: {} interactions", counts.len());
    let live = "export REDISCLI_AUTH=$(cat /etc/ringdown/secrets/REDIS_PASSWORD)
        for key in $(redis-cli --scan --pattern '{*}:live'; redis-cli --scan --pattern '{*}:queue'); do echo \"$key\"; done";
    assert_eq!(host.sh(live)?.trim(), "", "nothing is stuck");
    Ok(())
}

/// Interactions of no media, by the API at `url`, from outside.
pub(crate) fn interactions(fleet: &Fleet, url: &str, token: &Path, out: &Path, count: u32) -> anyhow::Result<Beside> {
    let programs = std::env::var("RINGDOWN_BIN_DIR").context("RINGDOWN_BIN_DIR names the programs")?;
    let mut command = fleet.outside(&format!("{programs}/ringdown"));
    command.args(["sim", "interactions", "--json", "--agents", "40", "--rate", "4", "--handling-ms", "3000", "--keep"]);
    command.args(["--interactions", &count.to_string()]).env("RINGDOWN_API_URL", url);
    command.env("RINGDOWN_API_TOKEN_FILE", token).env("RINGDOWN_DATA_DIR", out.with_extension("none"));
    command.stdin(Stdio::null()).stdout(std::fs::File::create(out)?);
    command.stderr(std::fs::File::create(out.with_extension("err"))?);
    Ok(Beside(command.spawn().context("starting the load")?))
}

/// Waits for their end: all were answered, none is lost.
pub(crate) fn interactions_end(mut load: Beside, out: &Path, count: u32, name: &str) -> anyhow::Result<()> {
    let status = wait_for(Duration::from_secs(400), "the load ends", || load.0.try_wait().transpose())??;
    let said = std::fs::read_to_string(out)? + &std::fs::read_to_string(out.with_extension("err"))?;
    let (answered, lost) = (figure(&said, "answered"), figure(&said, "lost"));
    ensure!(status.success() && answered == Some(u64::from(count)) && lost == Some(0), "{said}");
    println!("{name}_interactions {count} interactions");
    println!("{name}_lost 0 interactions");
    println!("{name}_longest_wait {} ms", figure(&said, "longest_wait_ms").unwrap_or(0));
    Ok(())
}
