//! Load on the API through the front, and a watch that measures how long the front was away.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use ringdown_appliance::fleet::{Fleet, wait_for};

use crate::http::{Answer, Client};

/// Between two requests of a client beside calls.
const CALM: Duration = Duration::from_millis(50);
/// Between two requests of one client.
const PACE: Duration = Duration::from_millis(20);
/// Longest a client waits for an answer.
pub(crate) const LIMIT: Duration = Duration::from_secs(5);
/// A watch asks this often; its own limit is short, so that a lost packet is not a long gap.
const WATCH_PACE: Duration = Duration::from_millis(10);
const WATCH_LIMIT: Duration = Duration::from_millis(250);

/// What clients saw.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) requests: usize,
    /// What was no success.
    pub(crate) failures: Vec<String>,
    /// The longest time of a reader without a success.
    pub(crate) gap: Duration,
    /// The same of a writer. A write may have a twin in a transaction of a process that hangs; its repeat waits for the twin's end.
    pub(crate) writing_gap: Duration,
    /// Names of what was written and acknowledged.
    pub(crate) written: Vec<String>,
}

type Running<T> = JoinHandle<anyhow::Result<T>>;

/// Clients that read and write until they are told to stop.
#[derive(Debug)]
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    clients: Vec<Running<Tally>>,
}

impl Load {
    /// Two readers that keep their connections, one that does not, and two writers. `name` keeps what they write apart.
    pub(crate) fn start(fleet: &Fleet, front: SocketAddr, token: &str, name: &str) -> anyhow::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let mut clients = Vec::new();
        for number in 0..5_u8 {
            let (stop, name) = (Arc::clone(&stop), format!("{name}{number}"));
            let client = Client::new(front, token, LIMIT);
            clients.push(fleet.in_network(move || match number {
                0 | 1 => drive(&stop, client, PACE, read),
                2 => drive(&stop, client.without_keeping(), PACE, read),
                _ => writing(drive(&stop, client, PACE, |client, count| write(client, &format!("{name}-{count}")))),
            })?);
        }
        Ok(Self { stop, clients })
    }

    /// The same against a contact centre at work: two readers, two who make tasks for its router and end them, and one who
    /// changes the configuration of another tenant.
    pub(crate) fn of_centre(fleet: &Fleet, front: SocketAddr, token: &str, paths: &Paths) -> anyhow::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let mut clients = Vec::new();
        for number in 0..5_u8 {
            let (stop, paths) = (Arc::clone(&stop), paths.clone());
            let client = Client::new(front, token, LIMIT);
            clients.push(fleet.in_network(move || match number {
                0 => drive(&stop, client, CALM, read),
                1 => drive(&stop, client.without_keeping(), CALM, read),
                2 | 3 => writing(drive(&stop, client, CALM * 5, |client, count| paths.task(client, number, count))),
                _ => writing(drive(&stop, client, CALM * 20, |client, count| paths.skill(client, count))),
            })?);
        }
        Ok(Self { stop, clients })
    }

    /// Stops them; what they all saw.
    pub(crate) fn stop(self) -> anyhow::Result<Tally> {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Tally::default();
        for client in self.clients {
            let one = client.join().map_err(|_| anyhow::anyhow!("a client panicked"))??;
            all.requests += one.requests;
            all.failures.extend(one.failures);
            all.gap = all.gap.max(one.gap);
            all.writing_gap = all.writing_gap.max(one.writing_gap);
            all.written.extend(one.written);
        }
        Ok(all)
    }
}

/// One request: the name of what was written, if anything, or what went wrong.
type Step = Result<Option<String>, String>;

/// What a writer saw.
fn writing(tally: Tally) -> Tally {
    Tally { gap: Duration::ZERO, writing_gap: tally.gap, ..tally }
}

fn drive(stop: &AtomicBool, mut client: Client, pace: Duration, step: impl Fn(&mut Client, usize) -> Step) -> Tally {
    let mut tally = Tally::default();
    let (started, mut last) = (Instant::now(), Instant::now());
    while !stop.load(Ordering::Relaxed) {
        match step(&mut client, tally.requests) {
            Ok(written) => {
                tally.gap = tally.gap.max(last.elapsed());
                last = Instant::now();
                tally.written.extend(written);
            }
            Err(why) => tally.failures.push(format!("after {:.2} s: {why}", started.elapsed().as_secs_f64())),
        }
        tally.requests += 1;
        std::thread::sleep(pace);
    }
    tally.gap = tally.gap.max(last.elapsed());
    tally
}

fn success(answered: std::io::Result<Answer>, wanted: u16) -> Result<(), String> {
    match answered {
        Ok(answer) if answer.status == wanted => Ok(()),
        Ok(answer) => Err(format!("{} {}", answer.status, answer.body)),
        Err(error) => Err(error.to_string()),
    }
}

fn read(client: &mut Client, _count: usize) -> Step {
    success(client.get("/api/v1/sessions/current"), 200).map(|()| None)
}

/// Writes a tenant: a row of PostgreSQL.
fn write(client: &mut Client, name: &str) -> Step {
    let body = format!("{{\"name\":\"{name}\",\"realm\":\"{name}.example\"}}");
    success(client.post("/api/v1/tenants", name, &body), 201).map(|()| Some(name.to_owned()))
}

/// Where a load writes.
#[derive(Clone, Debug)]
pub(crate) struct Paths {
    /// Keeps what it writes apart from that of other loads.
    pub(crate) name: String,
    /// Where tasks are made.
    pub(crate) tasks: String,
    /// The queue they go to, which has no agents.
    pub(crate) queue: String,
    /// Where skills are made.
    pub(crate) skills: String,
}

impl Paths {
    /// A task that comes, and is called off; its id.
    fn task(&self, client: &mut Client, number: u8, count: usize) -> Step {
        let key = format!("{}{number}-{count}", self.name);
        let body = format!("{{\"queue\":\"{}\",\"attributes\":{{\"load\":\"{key}\"}}}}", self.queue);
        let made = client.post(&self.tasks, &key, &body).map_err(|error| error.to_string())?;
        if made.status != 201 {
            return Err(format!("{} {}", made.status, made.body));
        }
        let id = made.body.split("\"id\":\"").nth(1).and_then(|rest| rest.get(..36)).ok_or("no id")?.to_owned();
        let end = format!("{}/{id}/end", self.tasks);
        // One that was made and not ended is ended at the next try, or the next.
        let mut last = Err("not asked".to_owned());
        for _ in 0..5 {
            last = success(client.post(&end, &format!("{key}-end"), "{\"reason\":\"abandoned\"}"), 200);
            if last.is_ok() {
                break;
            }
            std::thread::sleep(CALM);
        }
        last.map(|()| Some(id))
    }

    /// A skill: a row of PostgreSQL, and a version of the configuration.
    fn skill(&self, client: &mut Client, count: usize) -> Step {
        let name = format!("{}{count}", self.name);
        success(client.post(&self.skills, &name, &format!("{{\"name\":\"{name}\"}}")), 201).map(|()| Some(name))
    }
}

/// A watch of the front: when it answered, whoever is behind it.
#[derive(Debug)]
pub(crate) struct Watch {
    stop: Arc<AtomicBool>,
    answered: Arc<Mutex<Vec<Instant>>>,
    thread: Option<Running<()>>,
}

impl Watch {
    pub(crate) fn start(fleet: &Fleet, front: SocketAddr) -> anyhow::Result<Self> {
        let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
        let (told, times) = (Arc::clone(&stop), Arc::clone(&answered));
        let thread = fleet.in_network(move || {
            let mut client = Client::new(front, "", WATCH_LIMIT).without_keeping();
            while !told.load(Ordering::Relaxed) {
                // The front itself says that there is no such thing.
                if client.get("/livez").is_ok_and(|answer| answer.status == 404) {
                    times.lock().unwrap_or_else(PoisonError::into_inner).push(Instant::now());
                }
                std::thread::sleep(WATCH_PACE);
            }
        })?;
        let watch = Self { stop, answered, thread: Some(thread) };
        wait_for(Duration::from_secs(20), "the front answers", || {
            (!watch.since(Instant::now() - LIMIT).is_empty()).then_some(())
        })?;
        Ok(watch)
    }

    fn since(&self, start: Instant) -> Vec<Instant> {
        let times = self.answered.lock().unwrap_or_else(PoisonError::into_inner);
        times.iter().copied().filter(|time| *time >= start).collect()
    }

    /// Lets something happen, and looks on for `observed`: the longest time the front was away.
    pub(crate) fn outage(
        &self,
        observed: Duration,
        happens: impl FnOnce() -> anyhow::Result<()>,
    ) -> anyhow::Result<Duration> {
        let start = Instant::now();
        happens()?;
        wait_for(observed + Duration::from_secs(20), "the front answers again", || {
            let late = start.elapsed() >= observed;
            (late && !self.since(Instant::now().checked_sub(Duration::from_millis(500))?).is_empty()).then_some(())
        })?;
        let mut times = vec![start];
        times.extend(self.since(start));
        times.windows(2).map(|pair| pair[1] - pair[0]).max().context("it answered")
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // Nobody is left to be told of its end.
            thread.join().ok();
        }
    }
}

/// Nothing failed, and enough was asked for that to say something.
pub(crate) fn assert_flawless(what: &str, tally: &Tally) -> anyhow::Result<()> {
    println!("{what}: {} requests, {} failed", tally.requests, tally.failures.len());
    ensure!(tally.requests > 100, "{what}: only {} requests", tally.requests);
    ensure!(tally.failures.is_empty(), "{what}: of {} requests failed: {:#?}", tally.requests, tally.failures);
    Ok(())
}
