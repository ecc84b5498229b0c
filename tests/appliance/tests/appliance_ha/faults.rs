//! Faults of the whole house: what fails, where, what comes of it, and how soon all must be well.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use ringdown_appliance::fleet::{Host, wait_for};

use crate::cluster::signal;
use crate::load::{LIMIT as CLIENT_LIMIT, Load};
use crate::people::{Caller, EAR, End};
use crate::stores::{copies, postgres_signal, redis_signal};
use crate::whole::{APPS, POSTGRES, VOICE_HOST, Waiter, Whole};
use crate::writes::Writer;

/// What fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// Every process of the unit is killed.
    Kill(&'static str),
    /// Every process of the unit hangs.
    Hang(&'static str),
    /// The host loses its power.
    Power,
    /// The host loses its network.
    Network,
}

/// Where it fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// The load balancer with the address.
    Front,
    /// The application host whose router decides.
    Router,
    /// The other one.
    OtherApplication,
    /// The master of Redis, wherever that is.
    Master,
    /// The primary of PostgreSQL.
    Primary,
    /// The host with Asterisk.
    Voice,
}

/// Each of them; 20 are drawn.
pub(crate) const ALL: [(What, Place); 36] = [
    (What::Kill("haproxy"), Place::Front),
    (What::Hang("haproxy"), Place::Front),
    (What::Kill("keepalived"), Place::Front),
    (What::Hang("keepalived"), Place::Front),
    (What::Power, Place::Front),
    (What::Network, Place::Front),
    (What::Kill("ringdown-acd"), Place::Router),
    (What::Hang("ringdown-acd"), Place::Router),
    (What::Power, Place::Router),
    (What::Network, Place::Router),
    (What::Kill("ringdown-web-api"), Place::Router),
    (What::Hang("ringdown-web-api"), Place::OtherApplication),
    (What::Kill("ringdown-notifier"), Place::OtherApplication),
    (What::Hang("ringdown-notifier"), Place::Router),
    (What::Kill("ringdown-provisioner"), Place::OtherApplication),
    (What::Hang("ringdown-provisioner"), Place::Router),
    (What::Power, Place::OtherApplication),
    (What::Network, Place::OtherApplication),
    (What::Kill("ringdown-redis"), Place::Master),
    (What::Hang("ringdown-redis"), Place::Master),
    (What::Kill("ringdown-redis-sentinel"), Place::Master),
    (What::Hang("ringdown-redis-sentinel"), Place::Master),
    (What::Power, Place::Master),
    (What::Network, Place::Master),
    (What::Kill("ringdown-postgresql"), Place::Primary),
    (What::Hang("ringdown-postgresql"), Place::Primary),
    (What::Power, Place::Primary),
    (What::Network, Place::Primary),
    (What::Kill("ringdown-acd"), Place::Voice),
    (What::Hang("ringdown-acd"), Place::Voice),
    (What::Kill("ringdown-registrar"), Place::Voice),
    (What::Hang("ringdown-registrar"), Place::Voice),
    (What::Kill("ringdown-asterisk"), Place::Voice),
    (What::Hang("ringdown-asterisk"), Place::Voice),
    (What::Power, Place::Voice),
    (What::Network, Place::Voice),
];

/// How long a fault lasts that does not mend itself.
const LASTS: Duration = Duration::from_secs(6);
const WRITE_LIMIT: Duration = Duration::from_secs(40);
/// An operator looks at what happened before promoting.
const OPERATOR: Duration = Duration::from_millis(500);
/// Longest wait for a service to somebody who called after the fault.
const SERVICE_LIMIT: Duration = Duration::from_secs(60);
/// What a hundred processes on few cores may take from each other, in any measure.
const SLACK: Duration = Duration::from_millis(500);
/// A unit that hangs is killed by its watchdog.
const WATCHDOG: Duration = Duration::from_secs(11);
/// From the INVITE to the agent's voice when all is well: offer, ringing, answer, and the ear's time.
const SETUP: Duration = Duration::from_millis(1_500);

/// One fault, at the hosts it really meets.
struct Struck {
    what: What,
    place: Place,
    host: usize,
    /// The host is the master of Redis, the primary of PostgreSQL, the host of the router.
    master: bool,
    primary: bool,
    router: bool,
}

impl Struck {
    fn find(whole: &Whole<'_>, what: What, place: Place) -> anyhow::Result<Self> {
        let (master, primary, router) = (whole.redis_master()?, whole.postgres_primary()?, whole.router()?);
        let host = match place {
            Place::Front => whole.vip_holder().context("nobody has the address")?,
            Place::Router => router,
            Place::OtherApplication => APPS.into_iter().find(|number| *number != router).context("another")?,
            Place::Master => master,
            Place::Primary => primary,
            Place::Voice => VOICE_HOST,
        };
        Ok(Self { what, place, host, master: host == master, primary: host == primary, router: host == router })
    }

    fn name(&self) -> String {
        let place = match self.place {
            Place::Front => "front",
            Place::Router => "router",
            Place::OtherApplication => "application",
            Place::Master => "master",
            Place::Primary => "primary",
            Place::Voice => "voice",
        };
        match self.what {
            What::Kill(unit) => format!("{}_killed_{place}", short(unit)),
            What::Hang(unit) => format!("{}_hangs_{place}", short(unit)),
            What::Power => format!("power_{place}"),
            What::Network => format!("network_{place}"),
        }
    }

    fn whole_host(&self) -> bool {
        matches!(self.what, What::Power | What::Network)
    }

    fn is(&self, unit: &str) -> bool {
        matches!(self.what, What::Kill(name) | What::Hang(name) if name == unit)
    }

    fn hangs(&self) -> bool {
        matches!(self.what, What::Hang(_))
    }

    /// Its calls end with Asterisk.
    fn ends_calls(&self) -> bool {
        self.host == VOICE_HOST && (self.what == What::Power || self.is("ringdown-asterisk"))
    }

    /// Its calls are not heard meanwhile.
    fn silences(&self) -> bool {
        self.host == VOICE_HOST && self.what == What::Network
    }

    fn moves_redis(&self) -> bool {
        self.master && (self.whole_host() || self.is("ringdown-redis"))
    }

    /// A copy has to be promoted.
    fn promotes(&self) -> bool {
        self.primary && (self.whole_host() || (self.is("ringdown-postgresql") && self.hangs()))
    }

    fn stops_postgres(&self) -> bool {
        self.promotes() || (self.primary && self.is("ringdown-postgresql"))
    }

    fn strike(&self, host: &mut Host) -> anyhow::Result<()> {
        match self.what {
            What::Kill("ringdown-redis") => redis_signal(host, "KILL"),
            What::Hang("ringdown-redis") => redis_signal(host, "STOP"),
            What::Hang("ringdown-postgresql") => postgres_signal(host, "STOP"),
            What::Kill(unit) => signal(host, "KILL", unit),
            What::Hang(unit) => signal(host, "STOP", unit),
            What::Power => host.power_cut(),
            What::Network => host.cut_network(),
        }
    }

    /// What nobody but an operator brings back.
    fn repair(&self, host: &mut Host) -> anyhow::Result<()> {
        match self.what {
            What::Hang("ringdown-redis") => redis_signal(host, "CONT"),
            What::Hang("ringdown-postgresql") => postgres_signal(host, "CONT"),
            What::Hang(unit @ ("ringdown-redis-sentinel" | "haproxy")) => signal(host, "CONT", unit),
            What::Kill(_) | What::Hang(_) => Ok(()),
            What::Power => host.boot(),
            What::Network => host.restore_network(),
        }
    }

    /// The front is back: DESIGN.md section 8.
    fn front_bar(&self) -> Duration {
        let seconds = match self.what {
            What::Kill("haproxy") => 2,
            What::Hang("haproxy") => 3,
            What::Kill(_) | What::Hang(_) | What::Power | What::Network => 1,
        };
        Duration::from_secs(seconds)
    }

    /// Redis is writable: 4 s after its master is gone, otherwise all the time.
    fn redis_bar(&self) -> Duration {
        if self.moves_redis() { Duration::from_secs(4) } else { Duration::from_secs(1) + SLACK }
    }

    /// The API answers: DESIGN.md section 6.
    fn api_bar(&self) -> Duration {
        let bar = Duration::from_secs(if self.whole_host() || self.moves_redis() { 5 } else { 3 }) + SLACK;
        // A request under way through a load balancer that says nothing any more is waited for as long as its client likes.
        let mute = self.place == Place::Front && (self.whole_host() || self.hangs());
        if mute { bar + CLIENT_LIMIT } else { bar }
    }

    /// Somebody who calls after the fault has an agent.
    fn service_bar(&self) -> Duration {
        let voice = self.host == VOICE_HOST;
        let bar = match self.what {
            // Until power and network are back nobody can be served at all.
            What::Power | What::Network if voice => LASTS + Duration::from_secs(15),
            What::Hang("ringdown-acd" | "ringdown-registrar" | "ringdown-asterisk") if voice => {
                WATCHDOG + Duration::from_secs(5)
            }
            What::Kill("ringdown-asterisk") => Duration::from_secs(10),
            _ if self.moves_redis() => Duration::from_secs(4 + 3),
            What::Power | What::Network => Duration::from_secs(5),
            What::Kill(_) | What::Hang(_) => Duration::from_secs(3),
        };
        bar + SETUP
    }
}

fn short(unit: &str) -> String {
    unit.trim_start_matches("ringdown-").replace('-', "_")
}

/// A fault while everybody is at work, until all is well again.
pub(crate) fn fault(whole: &mut Whole<'_>, what: What, place: Place) -> anyhow::Result<()> {
    whole.settled()?;
    let struck = Struck::find(whole, what, place)?;
    let name = struck.name();
    println!(
        "{name}: at {}{}{}{}",
        whole.hosts[struck.host].name(),
        if struck.master { ", master" } else { "" },
        if struck.primary { ", primary" } else { "" },
        if struck.router { ", router" } else { "" }
    );
    let talkers = whole.talkers()?;
    let waiters = whole.waiters()?;
    let kept = met(whole, &struck, &talkers, &waiters);
    // Whatever came of it: who hangs up frees an agent for the next.
    for caller in talkers.iter().chain(waiters.iter().map(|waiter| &waiter.caller)) {
        caller.hang_up();
        caller.wait_ended()?;
        whole.ledger.called(caller);
    }
    kept
}

fn met(whole: &mut Whole<'_>, struck: &Struck, talkers: &[Caller], waiters: &[Waiter]) -> anyhow::Result<()> {
    let name = struck.name();
    let (watch, load) = (whole.watch()?, whole.load()?);
    let (redis, postgres) = (whole.write_redis()?, whole.write_postgres()?);

    let begun = Instant::now();
    let (mut service, mut promotion) = (None, None);
    let front = watch.outage(LASTS, || {
        struck.strike(&mut whole.hosts[struck.host])?;
        if struck.promotes() {
            promotion = Some(promote(whole, struck, &postgres)?);
        }
        // Before anything is brought back by hand, where it can be.
        if struck.host != VOICE_HOST || !struck.whole_host() {
            service = Some(whole.stream.wait_served_after(begun, SERVICE_LIMIT)?);
        }
        redis.wait_for_write(WRITE_LIMIT).map(drop)
    });
    struck.repair(&mut whole.hosts[struck.host])?;
    let front = front?;
    let repaired = begun.elapsed();
    let service = match service {
        Some(service) => service,
        None => whole.stream.wait_served_after(begun, SERVICE_LIMIT)?,
    };
    whole.settled().with_context(|| format!("after {name}"))?;
    postgres.wait_for_write(WRITE_LIMIT)?;
    if struck.ends_calls() || struck.silences() {
        whole.ledger.excuse(begun, Instant::now());
    }

    let mut missed = Vec::new();
    for kept in [
        promotion.map_or(Ok(()), |took| report(&format!("{name}_promotion"), took, Duration::from_secs(3))),
        report(&format!("{name}_front"), front, struck.front_bar()),
        report(&format!("{name}_service"), service, struck.service_bar()),
        stores_kept(whole, struck, redis, postgres),
        api_kept(whole, struck, load),
        talked_on(whole, struck, talkers, repaired),
        waited_on(whole, struck, waiters),
        whole.ledger.kept(whole.fleet, &whole.redis, &whole.postgres),
    ] {
        missed.extend(kept.err().map(|error| format!("{error:#}")));
    }
    ensure!(missed.is_empty(), "{name}: {missed:#?}");
    Ok(())
}

/// As an operator does it; how long until something was written.
fn promote(whole: &Whole<'_>, struck: &Struck, writer: &Writer) -> anyhow::Result<Duration> {
    std::thread::sleep(OPERATOR);
    let other = POSTGRES.into_iter().find(|number| *number != struck.host).context("a copy")?;
    let begun = Instant::now();
    copies(&whole.hosts[other], "promote")?;
    writer.wait_for_write(WRITE_LIMIT)?;
    Ok(begun.elapsed())
}

fn stores_kept(whole: &Whole<'_>, struck: &Struck, redis: Writer, postgres: Writer) -> anyhow::Result<()> {
    let name = struck.name();
    let (redis, postgres) = (redis.stop()?, postgres.stop()?);
    whole.ledger.redis(&redis);
    whole.ledger.postgres(&postgres);
    report(&format!("{name}_redis"), redis.gap, struck.redis_bar())?;
    if struck.stops_postgres() {
        println!("appliance_ha_whole_{name}_postgresql {:.2} s", postgres.gap.as_secs_f64());
        return Ok(());
    }
    // Without its only copy the primary confirms nothing: writes wait until it is back.
    let copy_gone = struck.whole_host() && POSTGRES.contains(&struck.host);
    if copy_gone { Ok(()) } else { report(&format!("{name}_postgresql"), postgres.gap, Duration::from_secs(3)) }
}

fn api_kept(whole: &Whole<'_>, struck: &Struck, load: Load) -> anyhow::Result<()> {
    let name = struck.name();
    let tally = load.stop()?;
    whole.ledger.api(&tally);
    let last: Vec<_> = tally.failures.iter().rev().take(3).collect();
    println!("{name}: {} requests, {} failed: {last:?}", tally.requests, tally.failures.len());
    report(&format!("{name}_api"), tally.gap, struck.api_bar())?;
    if struck.stops_postgres() || (struck.whole_host() && POSTGRES.contains(&struck.host)) {
        // Changes of the configuration wait for PostgreSQL.
        println!("appliance_ha_whole_{name}_api_writing {:.2} s", tally.writing_gap.as_secs_f64());
        return Ok(());
    }
    report(&format!("{name}_api_writing"), tally.writing_gap, struck.api_bar() + CLIENT_LIMIT)
}

/// Who talked before the fault talks now, and was not interrupted.
fn talked_on(whole: &Whole<'_>, struck: &Struck, talkers: &[Caller], repaired: Duration) -> anyhow::Result<()> {
    if struck.ends_calls() {
        let on = talkers.iter().filter(|caller| caller.call().end.is_none()).count();
        // A caller whose Asterisk lost its power hears nothing, and not even an end.
        println!("{}: {on} of {} talkers did not hear of the end", struck.name(), talkers.len());
        return wait_for(WATCHDOG * 2, "agents hang up, who hear nothing any more", || {
            whole.talk_agents().iter().all(|agent| !agent.day().on_the_phone).then_some(())
        });
    }
    let agents = whole.talk_agents().iter().map(|agent| agent.day().silence).max().unwrap_or_default();
    let callers = talkers.iter().map(|caller| caller.call().silence).max().unwrap_or_default();
    let bar = if struck.silences() { repaired + Duration::from_secs(3) } else { Duration::from_secs(1) + EAR };
    for caller in talkers {
        ensure!(caller.call().end.is_none(), "{}: a talker was cut off: {:?}", struck.name(), caller.call());
    }
    report(&format!("{}_silence", struck.name()), callers.max(agents), bar)
}

/// Who waited waits at the same place, and is served in turn.
fn waited_on(whole: &Whole<'_>, struck: &Struck, waiters: &[Waiter]) -> anyhow::Result<()> {
    if struck.ends_calls() {
        return Ok(());
    }
    for waiter in waiters {
        let call = waiter.caller.call();
        ensure!(call.end.is_none(), "{}: a waiter was cut off: {call:?}", struck.name());
        let place = whole.place_of(&waiter.caller.number)?;
        ensure!(place.as_ref() == Some(&waiter.place), "{}: {:?}, now {place:?}", struck.name(), waiter.place);
    }
    whole.serve(waiters)?;
    for waiter in waiters {
        waiter.caller.wait_ended()?;
        let end = waiter.caller.call().end;
        ensure!(end == Some(End::HungUp), "{}: a waiter ended with {end:?}", struck.name());
    }
    Ok(())
}

fn report(what: &str, took: Duration, bar: Duration) -> anyhow::Result<()> {
    println!("appliance_ha_whole_{what} {:.2} s", took.as_secs_f64());
    ensure!(took <= bar, "{what}: {took:?}, and the bar is {bar:?}");
    Ok(())
}
