//! Two load balancers before two application hosts, and one host with their stores.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use ringdown_appliance::fleet::{Fleet, Host, checkout, wait_for};
use serde_json::Value;

use crate::cluster::{APP, Cluster, DATA, LB, VIP, address, addresses, assert_healthy, signal, wait_installed};
use crate::fronts::{every_front, redis_is_written};
use crate::http::{Client, WebSocket};
use crate::load::{LIMIT as CLIENT_LIMIT, Load, Tally, Watch, assert_flawless};

/// The front is back after: its host or its network is gone, HAProxy is killed, HAProxy hangs.
const HOST_BAR: Duration = Duration::from_secs(1);
const KILLED_BAR: Duration = Duration::from_secs(2);
const HUNG_BAR: Duration = Duration::from_secs(3);
/// The API is back after one of its daemons was killed, or hangs.
const API_BAR: Duration = Duration::from_secs(3);
/// The API is back after one of its hosts is gone (DESIGN.md section 6).
const API_HOST_BAR: Duration = Duration::from_secs(5);
/// How long the front is watched after a fault.
const OBSERVED: Duration = Duration::from_secs(4);
const LIMIT: Duration = Duration::from_secs(30);

struct Front<'a> {
    fleet: &'a Fleet,
    lb: Vec<Host>,
    app: Vec<Host>,
    data: Host,
    token: String,
    redis_password: String,
}

fn at(port: u16) -> SocketAddr {
    SocketAddr::new(VIP.parse().expect("an address"), port)
}

/// A name that no other load has.
fn unique(name: &str) -> String {
    static LOADS: AtomicUsize = AtomicUsize::new(0);
    format!("{}-{}-", name.to_lowercase(), LOADS.fetch_add(1, Ordering::Relaxed))
}

/// What runs in the network of callers and browsers.
fn outside<T: Send + 'static>(fleet: &Fleet, work: impl FnOnce() -> T + Send + 'static) -> anyhow::Result<T> {
    fleet.in_network(work)?.join().map_err(|_| anyhow::anyhow!("it panicked"))?
}

impl<'a> Front<'a> {
    /// All hosts, from nothing, at the same time: each waits for its peers.
    fn make(fleet: &'a Fleet, monitored: bool) -> anyhow::Result<Self> {
        let cluster = Cluster::new(fleet)?;
        let data = address(DATA[0]);
        let (redis, postgres) = (format!("redis://{data}:6379/0"), format!("postgres://ringdown@{data}:5432/ringdown"));
        let started = Instant::now();
        let figures = ("RINGDOWN_MONITORED", if monitored { "yes" } else { "no" });
        let store = [("RINGDOWN_COMPONENTS", "redis,postgresql"), figures];
        let asked = targets();
        let watched =
            [("RINGDOWN_COMPONENTS", "redis,postgresql,monitoring"), ("RINGDOWN_MONITORING_TARGETS", &asked), figures];
        let data = cluster.start("data1", DATA[0], if monitored { &watched } else { &store })?;
        let application = [
            ("RINGDOWN_COMPONENTS", "web-api,notifier"),
            ("RINGDOWN_REDIS_URL", &redis),
            ("RINGDOWN_POSTGRES_URL", &postgres),
            ("RINGDOWN_WEB_API_TRUSTED_PROXIES", &addresses(&LB)),
            // Nobody compiles the configuration in this cluster.
            ("RINGDOWN_WEB_API_APPLY_WAIT_MS", "0"),
            figures,
        ];
        let app = [("app1", APP[0]), ("app2", APP[1])].map(|(name, number)| cluster.start(name, number, &application));
        let balancer = |own: usize| {
            let variables = [
                ("RINGDOWN_COMPONENTS", "haproxy,keepalived"),
                ("RINGDOWN_HAPROXY_API", &addresses(&APP)),
                ("RINGDOWN_HAPROXY_NOTIFIER", &addresses(&APP)),
                ("RINGDOWN_HAPROXY_REDIS", &address(DATA[0])),
                ("RINGDOWN_VIP", VIP),
                ("RINGDOWN_VIP_PEERS", &address(LB[1 - own])),
                figures,
            ];
            cluster.start(&format!("lb{}", own + 1), LB[own], &variables)
        };
        let lb = [balancer(0), balancer(1)];
        let (app, lb) =
            (app.into_iter().collect::<Result<Vec<_>, _>>()?, lb.into_iter().collect::<Result<Vec<_>, _>>()?);
        for host in lb.iter().chain(&app).chain([&data]) {
            wait_installed(host)?;
        }
        println!("appliance_ha_five_hosts {:.0} s", started.elapsed().as_secs_f64());
        let token = log_in(fleet, cluster.secret("ADMIN_PASSWORD")?)?;
        let redis_password = cluster.secret("REDIS_PASSWORD")?;
        let front = Self { fleet, lb, app, data, token, redis_password };
        front.settled()?;
        Ok(front)
    }

    /// Everything is well again: all hosts healthy, all servers up in both load balancers, one holder of the address.
    fn settled(&self) -> anyhow::Result<()> {
        // First, since a second holder is ended by its watchdog, and is well again only then.
        wait_for(LIMIT, "one load balancer has the address", || (self.holders() == 1).then_some(()))?;
        for host in self.lb.iter().chain(&self.app).chain([&self.data]) {
            // What is wrong is told by asking once more.
            wait_for(LIMIT, "it is healthy", || assert_healthy(host).ok()).or_else(|_| assert_healthy(host))?;
        }
        for host in &self.lb {
            wait_for(LIMIT, &format!("{} sees all servers", host.name()), || {
                let said = host.sh("/usr/lib/ringdown/front servers").ok()?;
                (said.lines().count() == 6 && !said.contains("DOWN")).then_some(())
            })?;
            // A load balancer that failed must do well for 3 s before it may have the address again.
            wait_for(LIMIT, &format!("{} can have the address", host.name()), || {
                let line = "journalctl --boot --unit=keepalived --output=cat | grep -E 'Entering .* STATE|Starting Keepalived' | tail -n 1";
                host.sh(line).ok().filter(|said| said.contains("MASTER") || said.contains("BACKUP"))
            })?;
        }
        self.holder().map(drop)
    }

    fn has_address(host: &Host) -> bool {
        host.is_on() && host.sh("ip -4 -o address show").is_ok_and(|said| said.contains(&format!("inet {VIP}/")))
    }

    fn holders(&self) -> usize {
        self.lb.iter().filter(|host| Self::has_address(host)).count()
    }

    /// Which load balancer has the address.
    fn holder(&self) -> anyhow::Result<usize> {
        wait_for(LIMIT, "one load balancer has the address", || {
            let holders: Vec<_> = (0..2).filter(|number| Self::has_address(&self.lb[*number])).collect();
            <[usize; 1]>::try_from(holders).ok()
        })
        .map(|[only]| only)
    }

    fn watch(&self) -> anyhow::Result<Watch> {
        Watch::start(self.fleet, at(8000))
    }

    fn load(&self, name: &str) -> anyhow::Result<Load> {
        Load::start(self.fleet, at(8000), &self.token, name)
    }

    /// Ends a load that met a fault: clients went on within the bar, and nothing that was acknowledged is lost.
    fn survived(&self, what: &str, load: Load, bar: Duration) -> anyhow::Result<()> {
        let tally = load.stop()?;
        println!("{what}: {} requests, {} failed: {:?}", tally.requests, tally.failures.len(), tally.failures);
        report(what, tally.gap, bar)?;
        // A writer that is not answered gives up, and then is served within the bar too.
        report(&format!("{what}_writing"), tally.writing_gap, bar + CLIENT_LIMIT)?;
        self.settled()?;
        self.assert_kept(&tally)
    }

    /// Everything that was acknowledged is there.
    fn assert_kept(&self, tally: &Tally) -> anyhow::Result<()> {
        let token = self.token.clone();
        let there = outside(self.fleet, move || names(&mut Client::new(at(8000), &token, LIMIT)))??;
        let lost: Vec<_> = tally.written.iter().filter(|name| !there.contains(name)).collect();
        ensure!(lost.is_empty(), "of {} acknowledged writes are lost: {lost:?}", tally.written.len());
        Ok(())
    }
}

/// Everything that has figures.
fn targets() -> String {
    let of = |name: &str, numbers: &[u8]| -> Vec<String> {
        numbers.iter().map(|number| format!("{name}@{}", address(*number))).collect()
    };
    let hosts = [LB.as_slice(), &APP, &DATA[..1]].concat();
    [of("web-api", &APP), of("notifier", &APP), of("haproxy", &LB), of("host", &hosts)].concat().join(",")
}

fn log_in(fleet: &Fleet, password: String) -> anyhow::Result<String> {
    let answer = outside(fleet, move || {
        let body = format!("{{\"login\":\"admin\",\"password\":\"{password}\"}}");
        Client::new(at(8000), "", LIMIT).post("/api/v1/sessions", "log-in", &body)
    })??;
    ensure!(answer.status == 201, "{} {}", answer.status, answer.body);
    let said: Value = serde_json::from_str(&answer.body)?;
    Ok(said["token"].as_str().context("a token")?.to_owned())
}

/// The names of all tenants.
fn names(client: &mut Client) -> anyhow::Result<Vec<String>> {
    let (mut names, mut cursor) = (Vec::new(), String::new());
    loop {
        let answer = client.get(&format!("/api/v1/tenants?limit=100{cursor}"))?;
        ensure!(answer.status == 200, "{} {}", answer.status, answer.body);
        let page: Value = serde_json::from_str(&answer.body)?;
        let items = page["items"].as_array().context("items")?;
        names.extend(items.iter().filter_map(|item| item["name"].as_str().map(str::to_owned)));
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return Ok(names),
        }
    }
}

/// What the plain run has time for.
#[test]
fn the_front_holds_while_its_parts_fail() -> anyhow::Result<()> {
    let fleet = Fleet::new()?;
    let mut front = Front::make(&fleet, false)?;
    planned_work_fails_no_request(&front)?;
    haproxy_is_killed(&front)?;
    haproxy_hangs(&front)?;
    a_load_balancer_loses_power(&mut front)?;
    a_daemon_fails(&front, "STOP", "web-api")?;
    a_second_run_changes_nothing(&front)?;
    too_much_is_refused(&front)?;
    fleet.passed();
    Ok(())
}

/// Reloads, a drained host, a rolling restart: nobody notices.
fn planned_work_fails_no_request(front: &Front<'_>) -> anyhow::Result<()> {
    let holder = &front.lb[front.holder()?];
    for balancer in LB {
        redis_is_written(&front.app[0], balancer, &front.redis_password)?;
    }
    let token = front.token.clone();
    let mut socket = outside(front.fleet, move || {
        let opening = format!(
            "{{\"kind\":\"open\",\"token\":\"{token}\",\"topics\":[\"agents\"],\"tenant\":\"{}\"}}",
            first_tenant(&token)?
        );
        let mut socket = WebSocket::open(at(8000), LIMIT, &opening)?;
        socket.lives()?;
        anyhow::Ok(socket)
    })??;
    let load = front.load(&unique("reload"))?;
    for _ in 0..3 {
        holder.sh("systemctl reload haproxy")?;
        wait_for(LIMIT, "the new process answers", || {
            holder.sh("/usr/lib/ringdown/front servers").ok().filter(|said| !said.contains("DOWN"))
        })?;
    }
    assert_flawless("appliance_ha reloads of HAProxy", &load.stop()?)?;
    socket.lives().context("a WebSocket lives through reloads")?;
    drop(socket);

    let load = front.load(&unique("rolling"))?;
    for host in &front.app {
        for unit in ["web-api", "notifier"] {
            host.sh(&format!("systemctl restart ringdown-{unit}"))?;
            for balancer in &front.lb {
                wait_for(LIMIT, "it has work again", || {
                    let said = balancer.sh("/usr/lib/ringdown/front servers").ok()?;
                    (!said.contains("DOWN") && assert_healthy(host).is_ok()).then_some(())
                })?;
            }
        }
    }
    assert_flawless("appliance_ha rolling restart", &load.stop()?)?;

    // Drained, nothing of it is missed, however it goes.
    let load = front.load(&unique("drain"))?;
    for balancer in &front.lb {
        balancer.sh(&format!("/usr/lib/ringdown/front drain {}", front.app[0].address()))?;
        balancer.sh("systemctl reload haproxy")?;
        let said = wait_for(LIMIT, "the new process answers", || balancer.sh("/usr/lib/ringdown/front servers").ok())?;
        ensure!(said.matches("DRAIN").count() == 2, "drained after a reload too: {said}");
    }
    for unit in ["web-api", "notifier"] {
        signal(&front.app[0], "KILL", &format!("ringdown-{unit}"))?;
    }
    wait_for(LIMIT, "they run again", || assert_healthy(&front.app[0]).ok())?;
    for balancer in &front.lb {
        balancer.sh(&format!("/usr/lib/ringdown/front ready {}", front.app[0].address()))?;
    }
    assert_flawless("appliance_ha drained host", &load.stop()?)?;
    front.settled()
}

fn first_tenant(token: &str) -> anyhow::Result<String> {
    let mut client = Client::new(at(8000), token, LIMIT);
    let made = client.post("/api/v1/tenants", "first", "{\"name\":\"first\",\"realm\":\"first.example\"}")?;
    ensure!(made.status == 201, "{} {}", made.status, made.body);
    let tenant: Value = serde_json::from_str(&made.body)?;
    Ok(tenant["id"].as_str().context("an id")?.to_owned())
}

fn haproxy_is_killed(front: &Front<'_>) -> anyhow::Result<()> {
    let watch = front.watch()?;
    let holder = &front.lb[front.holder()?];
    let gap = watch.outage(OBSERVED, || signal(holder, "KILL", "haproxy"))?;
    report("haproxy_killed", gap, KILLED_BAR)?;
    front.settled()
}

/// It stays away: the address goes, and does not come back by itself.
fn haproxy_is_stopped(front: &Front<'_>) -> anyhow::Result<()> {
    let watch = front.watch()?;
    let number = front.holder()?;
    let gap = watch.outage(OBSERVED, || front.lb[number].sh("systemctl stop haproxy").map(drop))?;
    report("haproxy_stopped", gap, KILLED_BAR)?;
    ensure!(front.holder()? != number, "the address has moved");
    front.lb[number].sh("systemctl start haproxy")?;
    front.settled()?;
    ensure!(front.holder()? != number, "the address stays where it works");
    Ok(())
}

fn haproxy_hangs(front: &Front<'_>) -> anyhow::Result<()> {
    let watch = front.watch()?;
    let number = front.holder()?;
    let gap = watch.outage(OBSERVED, || signal(&front.lb[number], "STOP", "haproxy"))?;
    report("haproxy_hangs", gap, HUNG_BAR)?;
    ensure!(front.holder()? != number, "the address has moved");
    signal(&front.lb[number], "CONT", "haproxy")?;
    front.settled()
}

/// Its peer takes over; the address of one that hangs is taken away.
fn keepalived_fails(front: &Front<'_>, kind: &str) -> anyhow::Result<()> {
    let watch = front.watch()?;
    let holder = &front.lb[front.holder()?];
    let gap = watch.outage(OBSERVED, || signal(holder, kind, "keepalived"))?;
    report(&format!("keepalived_{}", kind.to_lowercase()), gap, HOST_BAR)?;
    front.settled()
}

fn a_load_balancer_loses_power(front: &mut Front<'_>) -> anyhow::Result<()> {
    let watch = front.watch()?;
    let number = front.holder()?;
    let gap = watch.outage(OBSERVED, || front.lb[number].power_cut())?;
    report("load_balancer_power_cut", gap, HOST_BAR)?;
    front.lb[number].boot()?;
    front.settled()?;
    ensure!(front.holder()? != number, "the address stays where it works");
    Ok(())
}

fn a_load_balancer_loses_its_network(front: &Front<'_>) -> anyhow::Result<()> {
    let watch = front.watch()?;
    let number = front.holder()?;
    let gap = watch.outage(OBSERVED, || front.lb[number].cut_network())?;
    report("load_balancer_network_cut", gap, HOST_BAR)?;
    // Both have the address now, and one of them gives it up.
    let gap = watch.outage(OBSERVED, || front.lb[number].restore_network())?;
    report("load_balancer_network_back", gap, HOST_BAR)?;
    front.settled()
}

/// One of two; a daemon that hangs is killed by its watchdog.
fn a_daemon_fails(front: &Front<'_>, kind: &str, unit: &str) -> anyhow::Result<()> {
    let load = front.load(&unique(&format!("{unit}-{kind}")))?;
    let watch = front.watch()?;
    watch.outage(OBSERVED, || signal(&front.app[0], kind, &format!("ringdown-{unit}")))?;
    front.survived(&format!("{}_{}", unit.replace('-', "_"), kind.to_lowercase()), load, API_BAR)
}

fn an_application_host_loses_power(front: &mut Front<'_>) -> anyhow::Result<()> {
    let load = front.load(&unique("power"))?;
    let watch = front.watch()?;
    watch.outage(OBSERVED, || front.app[1].power_cut())?;
    front.app[1].boot()?;
    front.survived("application_host_power_cut", load, API_HOST_BAR)
}

fn an_application_host_loses_its_network(front: &Front<'_>) -> anyhow::Result<()> {
    let load = front.load(&unique("network"))?;
    let watch = front.watch()?;
    watch.outage(OBSERVED, || front.app[0].cut_network())?;
    front.app[0].restore_network()?;
    front.survived("application_host_network_cut", load, API_HOST_BAR)
}

/// First boot again, on a load balancer.
fn a_second_run_changes_nothing(front: &Front<'_>) -> anyhow::Result<()> {
    for host in &front.lb {
        let before = (host.main_pid("haproxy")?, host.main_pid("keepalived")?);
        let again = host.run_for(Duration::from_secs(120), &["/srv/bundle/first_boot_installer"])?;
        ensure!(again.code() == 0 && again.stdout.contains("nothing was changed"), "{}", again.said());
        ensure!(before == (host.main_pid("haproxy")?, host.main_pid("keepalived")?), "no process was touched");
    }
    Ok(())
}

/// One source does not take everything; health and figures are not for the world.
fn too_much_is_refused(front: &Front<'_>) -> anyhow::Result<()> {
    let statuses = outside(front.fleet, || {
        let mut client = Client::new(at(8000), "", LIMIT);
        (0..8_000).map(|_| client.get("/metrics").map(|answer| answer.status)).collect::<Result<Vec<_>, _>>()
    })??;
    let refused = statuses.iter().filter(|status| **status == 429).count();
    ensure!(statuses[0] == 404 && refused > 0, "{refused} of {} were refused", statuses.len());
    for port in [8404, 12_000] {
        let open = outside(front.fleet, move || {
            std::net::TcpStream::connect_timeout(&at(port), Duration::from_millis(500)).is_ok()
        })?;
        ensure!(!open, "{port} is open to everybody");
    }
    Ok(())
}

fn report(what: &str, gap: Duration, bar: Duration) -> anyhow::Result<()> {
    println!("appliance_ha_{what} {:.2} s", gap.as_secs_f64());
    ensure!(gap <= bar, "{what}: {gap:?}, and the bar is {bar:?}");
    Ok(())
}

/// What the plain run leaves out.
mod long {
    use super::*;

    #[test]
    fn two_load_balancers_and_every_fault() -> anyhow::Result<()> {
        let fleet = Fleet::new()?;
        let mut front = Front::make(&fleet, true)?;
        everything_is_asked(&front)?;
        planned_work_fails_no_request(&front)?;
        haproxy_is_stopped(&front)?;
        let seed = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.subsec_nanos();
        println!("seed {seed}");
        let mut state = u64::from(seed) | 1;
        let mut left: Vec<u8> = (0..FAULTS).collect();
        for number in 1..=20 {
            // Xorshift: every fault once, then drawn again.
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            if left.is_empty() {
                left.extend(0..FAULTS);
            }
            let drawn = left.swap_remove(usize::try_from(state % u64::try_from(left.len())?)?);
            println!("fault {number} of 20");
            fault(&mut front, drawn)?;
        }
        nothing_flaps_under_load(&front)?;
        every_front(&fleet, &front.lb[1 - front.holder()?], &front.app)?;
        too_much_is_refused(&front)?;
        fleet.passed();
        Ok(())
    }

    const FAULTS: u8 = 11;

    fn fault(front: &mut Front<'_>, drawn: u8) -> anyhow::Result<()> {
        match drawn {
            0 => haproxy_is_killed(front),
            1 => haproxy_hangs(front),
            2 => keepalived_fails(front, "KILL"),
            3 => keepalived_fails(front, "STOP"),
            4 => a_load_balancer_loses_power(front),
            5 => a_load_balancer_loses_its_network(front),
            6 => a_daemon_fails(front, "KILL", "web-api"),
            7 => a_daemon_fails(front, "STOP", "web-api"),
            8 => a_daemon_fails(front, "KILL", "notifier"),
            9 => an_application_host_loses_power(front),
            _ => an_application_host_loses_its_network(front),
        }
    }

    /// Prometheus reaches every part, and its rules do what they say.
    fn everything_is_asked(front: &Front<'_>) -> anyhow::Result<()> {
        let monitor = &front.data;
        let asked = wait_for(Duration::from_secs(60), "Prometheus has asked all", || {
            let said = monitor.sh("curl -sf 127.0.0.1:9090/api/v1/targets").ok()?;
            let said: Value = serde_json::from_str(&said).ok()?;
            let targets = said["data"]["activeTargets"].as_array()?.clone();
            let asked = !targets.is_empty() && targets.iter().all(|target| target["health"] != "unknown");
            asked.then_some(targets)
        })?;
        let away: Vec<_> = asked.iter().filter(|target| target["health"] != "up").collect();
        ensure!(asked.len() == 12 && away.is_empty(), "{} are asked; away: {away:?}", asked.len());
        let tests = checkout().join("tests/appliance/monitoring/rules_test.yml");
        monitor.put("/srv/rules_test.yml", &std::fs::read(tests)?, 0o644)?;
        println!("{}", monitor.sh("promtool test rules /srv/rules_test.yml")?.trim());
        Ok(())
    }

    /// With every processor busy the address stays where it is.
    fn nothing_flaps_under_load(front: &Front<'_>) -> anyhow::Result<()> {
        let watch = front.watch()?;
        let number = front.holder()?;
        let moves = "journalctl --boot --unit=keepalived --output=cat | grep -c 'Entering .* STATE'";
        let before = (front.lb[0].sh(moves)?, front.lb[1].sh(moves)?);
        let busy = "systemd-run --quiet --unit=busy --property=RuntimeMaxSec=60 sh -c 'yes >/dev/null & yes >/dev/null & wait'";
        for host in &front.lb {
            host.sh(busy)?;
        }
        let gap = watch.outage(Duration::from_secs(60), || Ok(()))?;
        for host in &front.lb {
            host.sh("systemctl stop busy; systemctl reset-failed busy || true")?;
        }
        let after = (front.lb[0].sh(moves)?, front.lb[1].sh(moves)?);
        ensure!(front.holder()? == number && before == after, "it flapped: {before:?}, {after:?}");
        report("busy_processors", gap, HOST_BAR)
    }
}
