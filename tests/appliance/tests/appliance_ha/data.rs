//! Three hosts with Redis, two of them with PostgreSQL, under acknowledged writes while they fail.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use ringdown_appliance::fleet::{Fleet, Host, wait_for};

use crate::cluster::{Cluster, DATA, address, addresses, assert_healthy, wait_installed};
use crate::stores::{copies, postgres_signal, primary, redis_master, redis_signal};
use crate::writes::{Tally, Writer, all_kept, in_postgres, in_redis, prepare_postgres};

/// Redis is writable again after whatever became of its master.
const REDIS_BAR: Duration = Duration::from_secs(4);
/// PostgreSQL is writable after an operator promoted a copy.
const PROMOTED_BAR: Duration = Duration::from_secs(3);
/// Everything is twofold again.
const LIMIT: Duration = Duration::from_secs(60);
const WRITE_LIMIT: Duration = Duration::from_secs(30);

struct Data<'a> {
    fleet: &'a Fleet,
    hosts: Vec<Host>,
    redis: String,
    postgres: String,
    /// The next number to write.
    next: i64,
    redis_has: HashSet<i64>,
    postgres_has: HashSet<i64>,
}

impl<'a> Data<'a> {
    /// All hosts at the same time, from nothing; each waits for the others.
    fn make(fleet: &'a Fleet) -> anyhow::Result<Self> {
        let cluster = Cluster::new(fleet)?.with_us();
        let started = Instant::now();
        let (three, two) = (addresses(&DATA), addresses(&DATA[..2]));
        let both = [
            ("RINGDOWN_COMPONENTS", "redis,postgresql"),
            ("RINGDOWN_REDIS_MEMBERS", three.as_str()),
            ("RINGDOWN_POSTGRES_MEMBERS", &two),
        ];
        let one = [("RINGDOWN_COMPONENTS", "redis"), ("RINGDOWN_REDIS_MEMBERS", three.as_str())];
        let hosts = [
            cluster.start("data1", DATA[0], &both)?,
            cluster.start("data2", DATA[1], &both)?,
            cluster.start("data3", DATA[2], &one)?,
        ];
        for host in &hosts {
            wait_installed(host)?;
        }
        println!("appliance_ha_three_data_hosts {:.0} s", started.elapsed().as_secs_f64());
        let password = cluster.secret("POSTGRES_PASSWORD")?;
        let [one, two] = [DATA[0], DATA[1]].map(address);
        let data = Self {
            fleet,
            hosts: hosts.into(),
            redis: format!(
                "redis+sentinel://:{}@{}/ringdown/0",
                cluster.secret("REDIS_PASSWORD")?,
                DATA.map(address).join(",")
            ),
            postgres: format!(
                "postgres://ringdown:{password}@{one}:5432,{two}:5432/ringdown\
                 ?target_session_attrs=read-write&load_balance_hosts=random&connect_timeout=1"
            ),
            next: 1,
            redis_has: HashSet::new(),
            postgres_has: HashSet::new(),
        };
        data.settled()?;
        prepare_postgres(fleet, &data.postgres)?;
        Ok(data)
    }

    /// Everything is twofold again, and every Sentinel knows the same.
    fn settled(&self) -> anyhow::Result<(usize, usize)> {
        let master = wait_for(LIMIT, "one Redis is master of two", || redis_master(&self.hosts))?;
        let primary = wait_for(LIMIT, "a copy follows the primary and confirms", || primary(&self.hosts[..2]))?;
        for host in &self.hosts {
            wait_for(LIMIT, &format!("{} is healthy", host.name()), || assert_healthy(host).ok())?;
        }
        Ok((master, primary))
    }

    fn write_redis(&mut self) -> anyhow::Result<Writer> {
        let first = self.take_numbers();
        Writer::redis(self.fleet, &self.redis, first)
    }

    fn write_postgres(&mut self) -> anyhow::Result<Writer> {
        let first = self.take_numbers();
        Writer::postgres(self.fleet, &self.postgres, first)
    }

    fn take_numbers(&mut self) -> i64 {
        let first = self.next;
        self.next += 1_000_000;
        first
    }

    /// Everything ever acknowledged is there.
    fn assert_kept(&self) -> anyhow::Result<()> {
        all_kept("Redis", &self.redis_has, in_redis(self.fleet, &self.redis)?)?;
        all_kept("PostgreSQL", &self.postgres_has, in_postgres(self.fleet, &self.postgres)?)
    }

    /// A fault of Redis' master under load, until all is well again.
    fn redis_fault(
        &mut self,
        name: &str,
        fault: impl FnOnce(&mut Host) -> anyhow::Result<()>,
        repair: impl FnOnce(&mut Host) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let (master, _) = self.settled()?;
        let writer = self.write_redis()?;
        fault(&mut self.hosts[master])?;
        writer.wait_for_write(WRITE_LIMIT)?;
        // Whoever comes back must not disturb.
        repair(&mut self.hosts[master])?;
        self.settled()?;
        writer.wait_for_write(WRITE_LIMIT)?;
        let tally = writer.stop()?;
        self.redis_has.extend(&tally.acknowledged);
        report(&format!("redis_{name}"), &tally, tally.gap, REDIS_BAR)?;
        self.assert_kept()
    }

    /// A fault of PostgreSQL's primary under load; a copy is promoted, and the old one comes back.
    fn postgres_fault(
        &mut self,
        name: &str,
        fault: impl FnOnce(&mut Host) -> anyhow::Result<()>,
        repair: impl FnOnce(&mut Host) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let (_, primary) = self.settled()?;
        let writer = self.write_postgres()?;
        fault(&mut self.hosts[primary])?;
        // An operator has looked at it.
        std::thread::sleep(Duration::from_millis(500));
        let promoted = Instant::now();
        copies(&self.hosts[1 - primary], "promote")?;
        writer.wait_for_write(WRITE_LIMIT)?;
        let usable = promoted.elapsed();
        repair(&mut self.hosts[primary])?;
        let (_, now) = self.settled()?;
        ensure!(now == 1 - primary, "the promoted one stays primary");
        writer.wait_for_write(WRITE_LIMIT)?;
        let tally = writer.stop()?;
        self.postgres_has.extend(&tally.acknowledged);
        report(&format!("postgresql_{name}"), &tally, usable, PROMOTED_BAR)?;
        self.assert_kept()
    }
}

fn report(what: &str, tally: &Tally, took: Duration, bar: Duration) -> anyhow::Result<()> {
    println!(
        "appliance_ha_{what} {:.2} s; {} writes acknowledged, {} not ({})",
        took.as_secs_f64(),
        tally.acknowledged.len(),
        tally.failed,
        tally.last_failure
    );
    ensure!(took <= bar, "{what}: {took:?}, and the bar is {bar:?}");
    Ok(())
}

/// By number, as they are drawn.
fn fault(data: &mut Data<'_>, drawn: u8) -> anyhow::Result<()> {
    match drawn {
        0 => data.redis_fault("master_killed", |host| redis_signal(host, "KILL"), |_| Ok(())),
        1 => data.redis_fault("master_hangs", |host| redis_signal(host, "STOP"), |host| redis_signal(host, "CONT")),
        2 => data.redis_fault("host_power_cut", Host::power_cut, Host::boot),
        3 => data.redis_fault("host_network_cut", |host| host.cut_network(), |host| host.restore_network()),
        4 => data.postgres_fault("host_power_cut", Host::power_cut, Host::boot),
        5 => data.postgres_fault(
            "primary_hangs",
            |host| postgres_signal(host, "STOP"),
            |host| postgres_signal(host, "CONT"),
        ),
        6 => data.postgres_fault("host_network_cut", |host| host.cut_network(), |host| host.restore_network()),
        other => anyhow::bail!("there is no fault {other}"),
    }
}

/// First boot again, on hosts of every kind.
fn a_second_run_changes_nothing(data: &Data<'_>) -> anyhow::Result<()> {
    data.settled()?;
    for host in [&data.hosts[0], &data.hosts[2]] {
        let before = host.main_pid("ringdown-redis")?;
        let again = host.run_for(Duration::from_secs(120), &["/srv/bundle/first_boot_installer"])?;
        ensure!(again.code() == 0 && again.stdout.contains("nothing was changed"), "{}", again.said());
        ensure!(before == host.main_pid("ringdown-redis")?, "no process was touched");
    }
    Ok(())
}

/// Nobody is promoted beside a primary that lives.
fn a_living_primary_is_kept(data: &Data<'_>) -> anyhow::Result<()> {
    let (_, primary) = data.settled()?;
    let said = data.hosts[1 - primary].run(&["/usr/lib/ringdown/postgresql_copies", "promote"])?;
    ensure!(said.code() == 1 && said.stderr.contains("is primary and answers"), "{}", said.said());
    Ok(())
}

#[test]
fn the_stores_hold_while_their_hosts_fail() -> anyhow::Result<()> {
    let fleet = Fleet::new()?;
    let mut data = Data::make(&fleet)?;
    for drawn in [0, 1, 2, 4] {
        fault(&mut data, drawn).with_context(|| format!("fault {drawn}"))?;
    }
    a_living_primary_is_kept(&data)?;
    a_second_run_changes_nothing(&data)?;
    fleet.passed();
    Ok(())
}

mod long {
    use super::{Data, fault};
    use anyhow::Context;
    use ringdown_appliance::fleet::Fleet;

    const FAULTS: usize = 20;

    #[test]
    fn the_stores_hold_through_drawn_faults() -> anyhow::Result<()> {
        let fleet = Fleet::new()?;
        let mut data = Data::make(&fleet)?;
        let seed = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.subsec_nanos();
        println!("seed {seed}");
        let mut state = u64::from(seed) | 1;
        let mut left: Vec<u8> = Vec::new();
        for round in 0..FAULTS {
            // Xorshift: every fault once, then drawn again.
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            if left.is_empty() {
                left = (0..=6).collect();
            }
            let drawn = left.swap_remove(usize::try_from(state % u64::try_from(left.len())?)?);
            fault(&mut data, drawn).with_context(|| format!("fault {round}, drawn {drawn}, seed {seed}"))?;
        }
        fleet.passed();
        Ok(())
    }
}
