//! Several hosts, one after the other: nothing is lost, since versions next to each other work side by side.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use ringdown_appliance::bundle;
use ringdown_appliance::fleet::{Fleet, Host, checkout, wait_for};

use super::host::{assert_version, installed, told};
use super::load::{Beside, Calls, assert_conserved, interactions, interactions_end};
use super::releases::{self, NEXT, NOW};
use super::roots::{replaced_by_a_root, root};

/// What keeps two application hosts behind one address, as the product's HAProxy role does.
const BALANCER: &str = "
global
  maxconn 1000
defaults
  mode http
  timeout connect 1s
  timeout client 60s
  timeout server 60s
  retries 3
  option redispatch 1
  retry-on conn-failure empty-response
  option idle-close-on-response
  default-server check inter 500ms fall 2 rise 1
listen api
  bind 10.77.0.1:8000
  balance roundrobin
  option httpchk GET /readyz
  server app1 10.77.0.42:8000
  server app2 10.77.0.43:8000
";
const PEERS: &str = "10.77.0.0/24";
const DATA: (&str, u8, &str) = ("data", 41, "10.77.0.41");
const APPLICATIONS: [(&str, u8); 2] = [("app1", 42), ("app2", 43)];
const VOICE: (&str, u8) = ("voice", 44);

/// Secrets that the hosts share, made once before the first of them.
fn shared_secrets(fleet: &Fleet) -> anyhow::Result<()> {
    let make = checkout().join("provisioning/ansible/roles/base/files/make_secrets");
    let names = ["REDIS_PASSWORD", "POSTGRES_PASSWORD", "ADMIN_PASSWORD"];
    let made = Command::new(make).arg(fleet.folder("secrets")?).arg("-").args(names).stdout(Stdio::null()).status()?;
    ensure!(made.success(), "making the shared secrets");
    Ok(())
}

#[test]
fn two_application_hosts_get_new_roots_one_by_one_and_no_interaction_is_lost() -> anyhow::Result<()> {
    let (now, next) = releases::now_and_next()?;
    let fleet = Fleet::new()?;
    shared_secrets(&fleet)?;
    let data = root(&fleet, DATA.0, DATA.1, &now)?;
    let shared = [("RINGDOWN_PEERS", PEERS), ("INSTALL_RINGDOWN_SECRETS", "/srv/secrets")];
    installed(&data, &[&shared[..], &[("RINGDOWN_COMPONENTS", "redis,postgresql")]].concat())?;
    let redis = format!("redis://{}:6379/0", DATA.2);
    let postgres = format!("postgres://ringdown@{}:5432/ringdown", DATA.2);
    let of_applications = [
        ("RINGDOWN_COMPONENTS", "web-api,provisioner,acd,notifier"),
        ("RINGDOWN_ACD_DUTIES", "router"),
        ("RINGDOWN_REDIS_URL", redis.as_str()),
        ("RINGDOWN_POSTGRES_URL", postgres.as_str()),
        ("RINGDOWN_WEB_API_LISTEN", "0.0.0.0:8000"),
    ];
    let mut applications = Vec::new();
    for (name, number) in APPLICATIONS {
        let host = root(&fleet, name, number, &now)?;
        installed(&host, &[&shared[..], &of_applications[..]].concat())?;
        applications.push(host);
    }
    let _balancer = balancer(&fleet)?;
    let token = fleet.folder("token")?.join("token");
    std::fs::write(&token, applications[0].get("/etc/ringdown/secrets/OPERATOR_TOKEN")?)?;

    for (round, bundle, version, back) in [("next", &next, NEXT, false), ("back", &now, NOW, true)] {
        let out = fleet.folder("load")?.join(round);
        let count = 900;
        let mut load = interactions(&fleet, "http://10.77.0.1:8000", &token, &out, count)?;
        wait_for(Duration::from_secs(60), "interactions are in progress", || {
            std::fs::read_to_string(out.with_extension("err")).ok().filter(|said| said.contains("begun"))
        })?;
        for (place, (name, number)) in APPLICATIONS.into_iter().enumerate() {
            ensure!(load.0.try_wait()?.is_none(), "the load is over before {name} is replaced");
            let old = applications.remove(place);
            let (new, away) = replaced_by_a_root(&fleet, old, number, bundle, back)?;
            println!("appliance_upgrade_root_{round}_{name} {:.1} s", away.as_secs_f64());
            assert_version(&new, version)?;
            applications.insert(place, new);
        }
        ensure!(load.0.try_wait()?.is_none(), "the load was over before the last host was replaced");
        interactions_end(load, &out, count, &format!("appliance_upgrade_roots_{round}"))?;
    }
    assert_conserved(&data)?;
    fleet.passed();
    Ok(())
}

fn balancer(fleet: &Fleet) -> anyhow::Result<Beside> {
    let file = fleet.folder("balancer")?.join("haproxy.cfg");
    std::fs::write(&file, BALANCER)?;
    let mut haproxy = fleet.outside("haproxy");
    haproxy.arg("-f").arg(&file).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    Ok(Beside(haproxy.spawn().context("starting the load balancer")?))
}

/// The layout of the inventory `two-hosts`, without its load balancers.
#[test]
fn a_data_host_and_a_voice_host_are_replaced_one_after_the_other_under_calls() -> anyhow::Result<()> {
    let (now, next) = releases::now_and_next()?;
    let fleet = Fleet::new()?;
    shared_secrets(&fleet)?;
    let bundles = releases::bundles(&fleet, &next)?;
    let shared = [("RINGDOWN_PEERS", PEERS), ("INSTALL_RINGDOWN_SECRETS", "/srv/secrets")];
    let made = |name: &str, number: u8, variables: &[(&str, &str)]| -> anyhow::Result<Host> {
        let host = fleet.host(name).number(number).bind_read_only(&now, bundle::INSIDE);
        let host = host.bind_read_only(fleet.folder("secrets")?, "/srv/secrets");
        let host = host.bind_read_only(PathBuf::from(&bundles), "/srv/bundles").boot()?;
        installed(&host, &[&shared[..], variables].concat())?;
        Ok(host)
    };
    let of_data = [
        ("RINGDOWN_COMPONENTS", "redis,postgresql,web-api,provisioner,acd,notifier"),
        ("RINGDOWN_ACD_DUTIES", "router"),
        ("RINGDOWN_WEB_API_LISTEN", "0.0.0.0:8000"),
    ];
    let data = made(DATA.0, DATA.1, &of_data)?;
    let (redis, api) = (format!("redis://{}:6379/0", DATA.2), format!("http://{}:8000", DATA.2));
    let postgres = format!("postgres://ringdown@{}:5432/ringdown", DATA.2);
    let of_voice = [
        ("RINGDOWN_COMPONENTS", "asterisk,provisioner,acd,registrar"),
        ("RINGDOWN_REDIS_URL", redis.as_str()),
        ("RINGDOWN_POSTGRES_URL", postgres.as_str()),
        ("RINGDOWN_API_URL", api.as_str()),
    ];
    let voice = made(VOICE.0, VOICE.1, &of_voice)?;

    let load = ["--agents", "12", "--rate", "1", "--talk-ms", "5000"];
    let folder = fleet.folder("load")?;
    let mut calls = Calls::begin(&voice, &folder, 220, &load)?;
    for (host, name) in [(&data, DATA.0), (&voice, VOICE.0)] {
        ensure!(calls.go_on()?, "the calls are over before {name} is replaced");
        let began = Instant::now();
        let ran = told(host, &["replace", "--bundle", "/srv/bundles/next"])?;
        assert_eq!(ran.code(), 0, "{name}: {}", ran.said());
        println!("appliance_upgrade_two_hosts_{name} {:.1} s", began.elapsed().as_secs_f64());
        assert_version(host, NEXT)?;
    }
    ensure!(calls.go_on()?, "the calls were over before the last host was replaced");
    calls.end(&voice, "appliance_upgrade_two_hosts")?;
    assert_conserved(&data)?;
    fleet.passed();
    Ok(())
}
