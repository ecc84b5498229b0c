//! `appliance-doctor`: on a host that first boot made, `ringdown doctor` finds what is wrong and says what mends it, and
//! `ringdown support-bundle` tells neither a secret nor a caller.

#![expect(clippy::print_stdout, reason = "figures are what a suite is run for")]

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, ensure};
use ringdown_appliance::bundle::{self, bundle};
use ringdown_appliance::fleet::{Fleet, Host, wait_for};
use serde_json::Value;

const BOOT_LIMIT: Duration = Duration::from_secs(60);
const INSTALL_LIMIT: Duration = Duration::from_secs(400);
const MEND_LIMIT: Duration = Duration::from_secs(60);
/// What a host without voice needs, which is quick to install.
const COMPONENTS: &str = "RINGDOWN_COMPONENTS=redis,postgresql,web-api,registrar,notifier";
const BUNDLE: &str = "/root/support.tar.gz";
/// Bytes of an archive of a host that was just made.
const BUNDLE_MAX: u64 = 8 * 1_024 * 1_024;

fn installed(fleet: &Fleet) -> anyhow::Result<Host> {
    let host = fleet.host("patient").bind_read_only(bundle()?, bundle::INSIDE).boot()?;
    host.wait_running(BOOT_LIMIT)?;
    let words = ["env", COMPONENTS, "/srv/bundle/first_boot_installer"];
    host.run_for(INSTALL_LIMIT, &words)?.success().context("first boot")?;
    Ok(host)
}

/// Findings that are not good: what is wrong, and what to do about it.
fn wrong(host: &Host, verdict: &str) -> anyhow::Result<BTreeMap<String, (String, String)>> {
    let ran = host.run(&["ringdown", "doctor", "--json"])?;
    let findings: Vec<Value> = serde_json::from_str(&ran.stdout).with_context(|| ran.said())?;
    let bad = findings.iter().any(|finding| finding["verdict"] == "bad");
    ensure!(bad == (ran.code() == 1), "the exit code says whether something is bad: {}", ran.said());
    let text = |finding: &Value, field: &str| finding[field].as_str().unwrap_or_default().to_owned();
    let chosen = findings.iter().filter(|finding| finding["verdict"] == verdict);
    Ok(chosen.map(|finding| (text(finding, "what"), (text(finding, "found"), text(finding, "do")))).collect())
}

/// A healthy host, apart from what a machine in a container has to say of memory and clock.
fn assert_well(host: &Host) -> anyhow::Result<()> {
    let mut last = String::new();
    wait_for(MEND_LIMIT, "doctor finds nothing bad", || {
        let bad = wrong(host, "bad").ok()?;
        last = format!("{bad:?}");
        bad.is_empty().then_some(())
    })
    .with_context(|| last.clone())?;
    let mut looks = wrong(host, "warning")?;
    looks.retain(|what, _| what != "clock: time service" && what != "memory");
    assert!(looks.is_empty(), "{looks:?}");
    Ok(())
}

struct Trouble {
    /// What is broken, by a line of shell.
    how: &'static str,
    verdict: &'static str,
    /// The finding, and words of what it found and of its advice.
    what: &'static str,
    found: &'static str,
    advice: &'static str,
    /// How it is mended, as the advice says.
    mend: &'static str,
}

const TROUBLES: [Trouble; 8] = [
    Trouble {
        how: "systemctl stop ringdown-notifier",
        verdict: "bad",
        what: "notifier",
        found: "is inactive",
        advice: "systemctl start ringdown-notifier",
        mend: "systemctl start ringdown-notifier",
    },
    Trouble {
        how: "systemctl disable --quiet ringdown-notifier",
        verdict: "warning",
        what: "notifier: unit",
        found: "does not start at boot",
        advice: "systemctl enable ringdown-notifier",
        mend: "systemctl enable --quiet ringdown-notifier",
    },
    Trouble {
        how: "cp -p /usr/bin/ringdown-registrar /usr/bin/new && mv /usr/bin/new /usr/bin/ringdown-registrar",
        verdict: "warning",
        what: "registrar: version",
        found: "runs a program that was replaced since",
        advice: "systemctl restart ringdown-registrar",
        mend: "systemctl restart ringdown-registrar",
    },
    Trouble {
        how: "systemctl stop ringdown-redis",
        verdict: "bad",
        what: "redis",
        found: "",
        advice: "",
        mend: "systemctl start ringdown-redis",
    },
    Trouble {
        how: "chmod 644 /etc/ringdown/secrets/REDIS_PASSWORD",
        verdict: "bad",
        what: "secrets",
        found: "REDIS_PASSWORD can be read by others",
        advice: "chmod 600 /etc/ringdown/secrets/REDIS_PASSWORD",
        mend: "chmod 600 /etc/ringdown/secrets/REDIS_PASSWORD",
    },
    Trouble {
        how: "cd /etc/ringdown/credentials/registrar; cp -p REDIS_PASSWORD /root/kept; echo another >REDIS_PASSWORD",
        verdict: "bad",
        what: "secrets",
        found: "registrar/REDIS_PASSWORD is another than the host's",
        advice: "first_boot_installer",
        mend: "cp -p /root/kept /etc/ringdown/credentials/registrar/REDIS_PASSWORD",
    },
    Trouble {
        how: "nft delete table inet ringdown",
        verdict: "bad",
        what: "packet filter",
        found: "every port is open",
        advice: "systemctl restart ringdown-firewall",
        mend: "systemctl restart ringdown-firewall",
    },
    Trouble {
        how: "sed -i '/^Package: ringdown-notifier$/,/^$/s/^Version: .*/Version: 0.0.1-1/' /var/lib/dpkg/status",
        verdict: "bad",
        what: "packages",
        found: "ringdown-notifier 0.0.1-1",
        advice: "finish the upgrade",
        mend: "cp -p /var/lib/dpkg/status-kept /var/lib/dpkg/status",
    },
];

fn assert_found(host: &Host, trouble: &Trouble) -> anyhow::Result<()> {
    host.sh(trouble.how)?;
    let findings = wrong(host, trouble.verdict)?;
    let (found, advice) = findings.get(trouble.what).with_context(|| format!("{}: {findings:?}", trouble.how))?;
    assert!(found.contains(trouble.found), "{}: {found}", trouble.how);
    assert!(advice.contains(trouble.advice), "{}: {advice}", trouble.how);
    host.sh(trouble.mend)?;
    assert_well(host).with_context(|| format!("after {}", trouble.mend))
}

/// A unit of ours that says in its journal what it should not.
fn leak(host: &Host) -> anyhow::Result<()> {
    let line = "systemd-run --quiet --wait --unit ringdown-leak sh -c \
                'echo the password is $(cat /etc/ringdown/secrets/REDIS_PASSWORD); echo call from sip:anna@10.0.0.1, +4930123456789'";
    host.sh(line)?;
    let password = host.get("/etc/ringdown/secrets/REDIS_PASSWORD")?;
    assert!(host.sh("journalctl -o cat -u ringdown-leak")?.contains(password.trim()), "the journal tells it");
    host.sh("echo 'RINGDOWN_SOME_TOKEN=only-in-this-file' >>/etc/ringdown/notifier.env")?;
    Ok(())
}

fn assert_bundle_tells_nothing(host: &Host) -> anyhow::Result<()> {
    leak(host)?;
    let said = host.run(&["ringdown", "support-bundle", "--out", BUNDLE])?.success().context("support-bundle")?;
    assert!(said.contains(BUNDLE), "{said}");
    let again = host.run(&["ringdown", "support-bundle", "--out", BUNDLE])?;
    assert!(again.code() == 1 && again.said().contains("is there already"), "{}", again.said());
    assert_eq!(host.sh(&format!("stat -c '%a %U' {BUNDLE}"))?.trim(), "600 root");
    let size: u64 = host.sh(&format!("stat -c %s {BUNDLE}"))?.trim().parse()?;
    println!("appliance_doctor_support_bundle {} bytes", size);
    assert!(size < BUNDLE_MAX, "{size}");
    host.sh(&format!("mkdir /root/seen && tar -xzf {BUNDLE} --strip-components 1 -C /root/seen"))?;
    let secrets =
        host.sh("cd /etc/ringdown; for file in secrets/* credentials/*/*; do cat $file; echo; done | sort -u")?;
    let secrets = secrets.lines().map(str::trim).filter(|secret| !secret.is_empty());
    let secrets: Vec<_> = secrets.chain(["only-in-this-file", "4930123456789", "anna"]).collect();
    assert!(secrets.len() > 6, "Redis, PostgreSQL, administrator, operator at least: {}", secrets.len());
    for secret in secrets {
        let found = host.run(&["grep", "-rlF", "--", secret, "/root/seen"])?;
        assert_eq!(found.stdout, "", "a secret is in there");
    }
    assert_holds(host)
}

/// What somebody who helps looks for is there.
fn assert_holds(host: &Host) -> anyhow::Result<()> {
    for (file, word) in [
        ("README", "Not in here: secrets"),
        ("versions/packages", "ringdown-registrar"),
        ("versions/systemd", "systemd 252"),
        ("units/state", "Id=ringdown-registrar.service"),
        ("journal/ringdown-registrar.service", "ringdown-registrar starts"),
        ("journal/ringdown-leak.service", "the password is ***REDIS_PASSWORD***"),
        ("configuration/etc/ringdown/ringdown.env", "RINGDOWN_"),
        ("configuration/etc/ringdown/redis.conf", "requirepass ***"),
        ("configuration/etc/ringdown/notifier.env", "RINGDOWN_SOME_TOKEN=***"),
        ("doctor.json", "\"verdict\""),
        ("status.json", "\"registrar\""),
        ("redis", "aof_enabled:1"),
        ("postgresql", "refinery_schema_history"),
        ("host/sockets", "ringdown"),
        ("first-boot.log", "health"),
    ] {
        let text = host.get(&format!("/root/seen/{file}")).with_context(|| file.to_owned())?;
        assert!(text.contains(word), "{file} has no {word:?}: {}", &text[..text.len().min(2_000)]);
    }
    let readme = host.get("/root/seen/README")?;
    assert!(!readme.contains("could not be had"), "{readme}");
    Ok(())
}

#[test]
fn doctor_finds_what_is_wrong_and_the_bundle_tells_no_secret() -> anyhow::Result<()> {
    bundle()?;
    let fleet = Fleet::new()?;
    let host = installed(&fleet)?;
    assert_well(&host)?;
    assert_bundle_tells_nothing(&host)?;
    host.sh("cp -p /var/lib/dpkg/status /var/lib/dpkg/status-kept")?;
    for trouble in &TROUBLES {
        assert_found(&host, trouble)?;
    }
    fleet.passed();
    Ok(())
}
