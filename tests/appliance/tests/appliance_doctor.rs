//! `appliance-doctor`: on hosts that first boot made, `ringdown doctor` finds what is wrong, there and on the other host, and says
//! what mends it; `ringdown support-bundle` tells neither a secret nor a caller.

#![expect(clippy::print_stdout, reason = "figures are what a suite is run for")]

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, ensure};
use ringdown_appliance::bundle::{self, bundle};
use ringdown_appliance::fleet::{Fleet, Host, checkout, wait_for};
use ringdown_appliance::packages::here;
use serde_json::Value;

const BOOT_LIMIT: Duration = Duration::from_secs(60);
const INSTALL_LIMIT: Duration = Duration::from_secs(400);
const MEND_LIMIT: Duration = Duration::from_secs(60);
/// What a host without voice needs, which is quick to install.
const COMPONENTS: &str = "redis,postgresql,web-api,registrar,notifier,backup";
/// The host that is looked at, and the one that looks at it from outside.
const PATIENT: (&str, u8) = ("patient", 11);
const NEIGHBOUR: (&str, u8) = ("neighbour", 12);
/// Where copies go: a volume, by fstab.
const COPIES: &str = "mkdir -p /srv/volume /mnt/copies
    printf '%s\\n' 'tmpfs /srv/volume tmpfs size=200m 0 0' '/srv/volume /mnt/copies none bind,x-systemd.requires-mounts-for=/srv/volume 0 0' >>/etc/fstab
    systemctl daemon-reload
    systemctl start mnt-copies.mount";
const BUNDLE: &str = "/root/support.tar.gz";
/// Bytes of an archive of a host that was just made.
const BUNDLE_MAX: u64 = 8 * 1_024 * 1_024;

/// Secrets that hosts share, and the public key for copies.
fn shared(fleet: &Fleet) -> anyhow::Result<(std::path::PathBuf, String)> {
    let folder = fleet.folder("secrets")?;
    let make = checkout().join("provisioning/ansible/roles/base/files/make_secrets");
    let words = [
        make.to_string_lossy(),
        folder.to_string_lossy(),
        "-".into(),
        "REDIS_PASSWORD".into(),
        "POSTGRES_PASSWORD".into(),
    ];
    here(&words.each_ref().map(AsRef::as_ref))?.success().context("making the secrets that hosts share")?;
    let identity = fleet.folder("keys")?.join("identity");
    let identity = identity.to_string_lossy();
    here(&["age-keygen", "-o", &identity])?.success().context("making an identity")?;
    Ok((folder, here(&["age-keygen", "-y", &identity])?.success()?.trim().to_owned()))
}

fn install(host: &Host, variables: &[String]) -> anyhow::Result<()> {
    host.wait_running(BOOT_LIMIT)?;
    let mut words = vec!["env", "INSTALL_RINGDOWN_SECRETS=/srv/secrets"];
    words.extend(variables.iter().map(String::as_str));
    words.push("/srv/bundle/first_boot_installer");
    host.run_for(INSTALL_LIMIT, &words)?.success().context("first boot").map(drop)
}

fn hosts(fleet: &Fleet) -> anyhow::Result<(Host, Host)> {
    let (secrets, recipient) = shared(fleet)?;
    let make = |(name, number): (&str, u8)| {
        let host = fleet.host(name).number(number).bind_read_only(bundle()?, bundle::INSIDE);
        host.bind_read_only(&secrets, "/srv/secrets").boot()
    };
    let (patient, neighbour) = (make(PATIENT)?, make(NEIGHBOUR)?);
    patient.wait_running(BOOT_LIMIT)?;
    patient.sh(COPIES)?;
    install(
        &patient,
        &[
            format!("RINGDOWN_COMPONENTS={COMPONENTS}"),
            format!("RINGDOWN_PEERS={}", neighbour.address()),
            format!("RINGDOWN_BACKUP_RECIPIENT={recipient}"),
            "RINGDOWN_BACKUP_DIR=/mnt/copies".to_owned(),
        ],
    )?;
    patient.run_for(INSTALL_LIMIT, &["ringdown-backup", "run"])?.success().context("the first copy")?;
    install(
        &neighbour,
        &[
            "RINGDOWN_COMPONENTS=notifier".to_owned(),
            format!("RINGDOWN_PEERS={}", patient.address()),
            format!("RINGDOWN_REDIS_URL=redis://{}:6379/0", patient.address()),
        ],
    )?;
    Ok((patient, neighbour))
}

/// Findings that are not good: what is wrong, and what to do about it.
fn wrong(host: &Host, verdict: &str) -> anyhow::Result<BTreeMap<String, (String, String)>> {
    found(host, &[], verdict)
}

/// The same, with more arguments.
fn found(host: &Host, arguments: &[&str], verdict: &str) -> anyhow::Result<BTreeMap<String, (String, String)>> {
    let ran = host.run(&[&["ringdown", "doctor", "--json"], arguments].concat())?;
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

const TROUBLES: [Trouble; 9] = [
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
        how: "umount /mnt/copies",
        verdict: "bad",
        what: "backup",
        found: "/mnt/copies should be a mounted volume and is not",
        advice: "ringdown-backup",
        mend: "mount /mnt/copies",
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

/// What the neighbour sees, over the network alone.
fn assert_seen_from_outside(patient: &Host, neighbour: &Host) -> anyhow::Result<()> {
    let what = format!("host {}", patient.address());
    let named = format!("{}={}", patient.address(), COMPONENTS.replace(',', "+"));
    let of_patient = |verdict: &str| -> anyhow::Result<Option<(String, String)>> {
        Ok(found(neighbour, &["--hosts", &named], verdict)?.remove(&what))
    };
    assert_eq!(found(neighbour, &["--cluster"], "bad")?, BTreeMap::new());
    let good = found(neighbour, &["--hosts", &named], "good")?;
    assert!(good[&what].0.contains("notifier, postgresql, redis, registrar, web-api ready"), "{good:?}");
    for (what, said) in [("clocks", "2 hosts"), ("versions", env!("CARGO_PKG_VERSION"))] {
        assert!(good[what].0.contains(said), "{what}: {good:?}");
    }
    assert!(!wrong(neighbour, "good")?.contains_key(&what), "without being asked it looks at its own host only");
    patient.sh("systemctl stop ringdown-registrar")?;
    let (said, advice) = of_patient("bad")?.context("a part that is missed is found")?;
    assert!(said == "registrar cannot be reached" && advice == "on that host: ringdown doctor", "{said}: {advice}");
    patient.sh("systemctl start ringdown-registrar; systemctl stop ringdown-redis")?;
    wait_for(MEND_LIMIT, "the API waits for Redis, and the neighbour sees it", || {
        let (said, _) = of_patient("bad").ok()??;
        (said.contains("web-api waits for redis") && said.contains("redis cannot be reached")).then_some(())
    })?;
    patient.sh("systemctl start ringdown-redis")?;
    wait_for(MEND_LIMIT, "all is well again", || of_patient("good").ok()?)?;
    // Not its power: the network of a host that is off would still refuse in its place.
    patient.cut_network()?;
    let (said, advice) = of_patient("bad")?.context("a host that is gone is found")?;
    assert!(said.contains("does not answer") && advice.contains("RINGDOWN_PEERS"), "{said}: {advice}");
    Ok(())
}

#[test]
fn doctor_finds_what_is_wrong_and_the_bundle_tells_no_secret() -> anyhow::Result<()> {
    bundle()?;
    let fleet = Fleet::new()?;
    let (host, neighbour) = hosts(&fleet)?;
    assert_well(&host)?;
    assert_bundle_tells_nothing(&host)?;
    host.sh("cp -p /var/lib/dpkg/status /var/lib/dpkg/status-kept")?;
    for trouble in &TROUBLES {
        assert_found(&host, trouble)?;
    }
    assert_seen_from_outside(&host, &neighbour)?;
    fleet.passed();
    Ok(())
}
