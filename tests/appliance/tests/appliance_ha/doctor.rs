//! `ringdown doctor --hosts`: of stores with several members, of load balancers and their virtual address it says from another host
//! what is wrong, and what to do.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::Context;
use ringdown_appliance::fleet::{Fleet, Host, wait_for};
use serde_json::Value;

use crate::cluster::{APP, Cluster, DATA, LB, VIP, address, addresses, assert_healthy, wait_installed};
use crate::stores::copies;

/// From a fault until it is told, and from its mending until nothing bad is found.
const LIMIT: Duration = Duration::from_secs(60);

/// What was found of something, and what is advised.
type Said = BTreeMap<String, (String, String)>;

/// A cluster with one of each kind besides the stores, which are complete.
struct Patients {
    data: [Host; 3],
    application: Host,
    balancer: Host,
    /// Who is asked, and what has to be there.
    hosts: String,
}

impl Patients {
    /// All hosts at the same time, from nothing.
    fn make(fleet: &Fleet) -> anyhow::Result<Self> {
        let cluster = Cluster::new(fleet)?;
        let started = Instant::now();
        let (three, two) = (addresses(&DATA), addresses(&DATA[..2]));
        let stores = [
            ("RINGDOWN_COMPONENTS", "redis,postgresql"),
            ("RINGDOWN_REDIS_MEMBERS", three.as_str()),
            ("RINGDOWN_POSTGRES_MEMBERS", &two),
        ];
        let third = [("RINGDOWN_COMPONENTS", "redis"), stores[1]];
        let redis = format!("redis+sentinel://{}:26379/ringdown/0", three.replace(',', ":26379,"));
        let postgres =
            format!("postgres://ringdown@{}:5432/ringdown?target_session_attrs=read-write", two.replace(',', ":5432,"));
        let applications = [
            ("RINGDOWN_COMPONENTS", "web-api,notifier,provisioner,acd"),
            ("RINGDOWN_REDIS_URL", redis.as_str()),
            ("RINGDOWN_POSTGRES_URL", &postgres),
        ];
        let (app, other) = (address(APP[0]), address(LB[1]));
        let front = [
            ("RINGDOWN_COMPONENTS", "haproxy,keepalived"),
            ("RINGDOWN_VIP", VIP),
            ("RINGDOWN_VIP_PEERS", &other),
            ("RINGDOWN_HAPROXY_API", &app),
            ("RINGDOWN_HAPROXY_NOTIFIER", &app),
        ];
        let patients = Self {
            data: [
                cluster.start("data1", DATA[0], &stores)?,
                cluster.start("data2", DATA[1], &stores)?,
                cluster.start("data3", DATA[2], &third)?,
            ],
            application: cluster.start("app1", APP[0], &applications)?,
            balancer: cluster.start("lb1", LB[0], &front)?,
            hosts: format!("{app}=web-api+notifier+provisioner+acd,{}=haproxy,{three}", address(LB[0])),
        };
        for host in patients.data.iter().chain([&patients.application, &patients.balancer]) {
            wait_installed(host)?;
            wait_for(LIMIT, &format!("{} is healthy", host.name()), || assert_healthy(host).ok())
                .or_else(|_| assert_healthy(host))?;
        }
        println!("appliance_ha_doctors_hosts {:.0} s", started.elapsed().as_secs_f64());
        Ok(patients)
    }

    /// What a host says of all, of one verdict.
    fn said(&self, host: &Host, verdict: &str) -> anyhow::Result<Said> {
        let ran = host.run(&["ringdown", "doctor", "--json", "--hosts", &self.hosts])?;
        let findings: Vec<Value> = serde_json::from_str(&ran.stdout).with_context(|| ran.said())?;
        let text = |finding: &Value, field: &str| finding[field].as_str().unwrap_or_default().to_owned();
        let chosen = findings.iter().filter(|finding| finding["verdict"] == verdict);
        Ok(chosen.map(|finding| (text(finding, "what"), (text(finding, "found"), text(finding, "do")))).collect())
    }

    /// Waits until `host` says all `words` of `what`, with that verdict.
    fn wait_said(&self, host: &Host, verdict: &str, what: &str, words: &[&str]) -> anyhow::Result<()> {
        let mut last = String::new();
        wait_for(LIMIT, &format!("{what} is {verdict}: {words:?}"), || {
            let findings = self.said(host, verdict).ok()?;
            last = format!("{findings:#?}");
            let (found, advice) = findings.get(what)?;
            words.iter().all(|word| format!("{found} {advice}").contains(word)).then_some(())
        })
        .with_context(|| last.clone())
    }

    /// Waits until nothing bad is found.
    fn wait_well(&self) -> anyhow::Result<()> {
        let mut last = String::new();
        wait_for(LIMIT, "nothing bad is found", || {
            let bad = self.said(&self.application, "bad").ok()?;
            last = format!("{bad:#?}");
            bad.is_empty().then_some(())
        })
        .with_context(|| last.clone())
    }

    fn what_is_well_is_told(&self) -> anyhow::Result<()> {
        self.wait_well()?;
        let [one, second, _] = DATA.map(address);
        for (what, words) in [
            (format!("redis {one}"), "is master; 2 follow"),
            ("redis: Sentinels".to_owned(), "3 take"),
            (format!("postgresql {one}"), "takes writes; 1 copies follow and confirm them"),
            (format!("postgresql {second}"), "is a copy"),
            (format!("load balancer {}", address(LB[0])), "reaches 2 servers"),
            ("versions".to_owned(), env!("CARGO_PKG_VERSION")),
            ("clocks".to_owned(), "hosts go with this one's"),
        ] {
            self.wait_said(&self.application, "good", &what, &[words])?;
        }
        let place = format!("at {}", address(LB[0]));
        self.wait_said(&self.balancer, "good", &format!("virtual address {VIP}"), &[&place])
    }

    fn a_redis_is_away(&self) -> anyhow::Result<()> {
        let third = address(DATA[2]);
        self.data[2].sh("systemctl stop ringdown-redis ringdown-redis-sentinel")?;
        let start = "systemctl start ringdown-redis";
        self.wait_said(&self.application, "bad", &format!("redis {third}"), &[start])?;
        self.wait_said(&self.application, "warning", "redis: Sentinels", &["2 take", &third])?;
        self.data[2].sh("systemctl start ringdown-redis ringdown-redis-sentinel")?;
        self.wait_well()
    }

    fn a_copy_is_away(&self) -> anyhow::Result<()> {
        self.data[1].sh("systemctl stop ringdown-postgresql")?;
        let primary = format!("postgresql {}", address(DATA[0]));
        self.wait_said(&self.application, "bad", &primary, &["they wait", "postgresql_copies alone"])?;
        self.data[1].sh("systemctl start ringdown-postgresql")?;
        self.wait_well()
    }

    fn a_daemon_is_away(&self) -> anyhow::Result<()> {
        let (app, balancer) = (format!("host {}", address(APP[0])), format!("load balancer {}", address(LB[0])));
        self.application.sh("systemctl stop ringdown-notifier")?;
        self.wait_said(&self.balancer, "bad", &app, &["notifier cannot be reached"])?;
        self.wait_said(&self.balancer, "bad", &balancer, &["does not reach notifier-"])?;
        self.application.sh("systemctl start ringdown-notifier")?;
        self.wait_well()
    }

    /// With it the master of Redis, which the Sentinels see to, and the primary of PostgreSQL, which an operator does.
    fn a_host_loses_power(&mut self) -> anyhow::Result<()> {
        let second = format!("postgresql {}", address(DATA[1]));
        self.data[0].power_cut()?;
        // Its card would go on refusing connections.
        self.data[0].cut_network()?;
        let words = ["no member that answers takes writes", "promote"];
        self.wait_said(&self.application, "bad", "postgresql: primary", &words)?;
        let gone = format!("host {}", address(DATA[0]));
        self.wait_said(&self.application, "bad", &gone, &["does not answer on any port"])?;
        let asked = Instant::now();
        self.said(&self.application, "bad")?;
        println!("appliance_ha_doctor_with_a_host_away {:.1} s", asked.elapsed().as_secs_f64());
        copies(&self.data[1], "promote")?;
        self.wait_said(&self.application, "warning", &second, &["takes writes alone"])?;
        let (answers, away) = (format!("{}:5432 answers", address(DATA[1])), format!("{}:5432", address(DATA[0])));
        self.wait_said(&self.application, "warning", "peer: postgresql", &[&answers, &away])?;
        self.data[0].restore_network()?;
        self.data[0].boot()?;
        self.wait_well()?;
        self.wait_said(&self.application, "good", &second, &["takes writes; 1 copies follow and confirm them"])
    }

    fn nobody_has_the_virtual_address(&self) -> anyhow::Result<()> {
        self.balancer.sh("systemctl stop keepalived")?;
        let what = format!("virtual address {VIP}");
        self.wait_said(
            &self.balancer,
            "bad",
            &what,
            &["no load balancer has it", "systemctl status haproxy keepalived"],
        )
    }
}

#[test]
fn the_doctor_sees_stores_and_the_front() -> anyhow::Result<()> {
    let fleet = Fleet::new()?;
    let mut patients = Patients::make(&fleet)?;
    patients.what_is_well_is_told()?;
    patients.a_redis_is_away()?;
    patients.a_copy_is_away()?;
    patients.a_daemon_is_away()?;
    patients.a_host_loses_power()?;
    patients.nobody_has_the_virtual_address()?;
    fleet.passed();
    Ok(())
}
