//! Callers and agents on real SIP phones in the network outside the hosts: those who talk on, those who wait, and those who come
//! and go.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context;
use ringdown_appliance::fleet::{BRIDGE_ADDRESS, Fleet, wait_for};
use ringdown_suites::phone::{Manner, Phone, Seen};
use tokio::runtime::Runtime;
use tokio::sync::watch;

/// The password of every phone.
pub(crate) const PHONE_PASSWORD: &str = "phone-secret-1";
const CALLER_HZ: f64 = 700.0;
const AGENT_HZ: f64 = 1_150.0;
/// How much sound an ear needs to tell a tone: what is said about sound is late by this.
pub(crate) const EAR: Duration = Duration::from_millis(500);
/// Listening again and again, this long each time.
const LISTEN: Duration = Duration::from_millis(700);
/// Long enough to see what has happened to a phone.
const GLANCE: Duration = Duration::from_millis(1);
/// How often a phone registers, as one with a binding of minutes does.
const REGISTER_EVERY: Duration = Duration::from_secs(60);
const REGISTER_AGAIN: Duration = Duration::from_secs(1);
/// A caller is answered at the latest; a caller has an agent at the latest, when everything goes wrong that may.
const ANSWER_LIMIT: Duration = Duration::from_secs(20);
pub(crate) const AGENT_LIMIT: Duration = Duration::from_secs(45);
/// The other side has the end of a call.
const END_LIMIT: Duration = Duration::from_secs(3);
/// An agent who hears nothing for so long hangs up: the other side may have died without a word.
const PATIENCE: Duration = Duration::from_secs(12);
/// The callers who come and go: how often one comes, and how long one talks.
const COMES_EVERY: Duration = Duration::from_millis(1_000);
const TALKS: Duration = Duration::from_millis(1_500);

/// Threads in the network of callers and browsers.
#[derive(Debug)]
pub(crate) struct Network(Runtime);

impl Network {
    pub(crate) fn new(fleet: &Fleet) -> anyhow::Result<Self> {
        // Its threads are made by one that is in the network, and so they are, too.
        let made = fleet.in_network(|| {
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().context("a runtime")
        })?;
        Ok(Self(made.join().map_err(|_| anyhow::anyhow!("it panicked"))???))
    }

    fn start(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.0.spawn(work);
    }
}

/// What a side of a call hears of the other.
#[derive(Clone, Copy, Debug, Default)]
struct Ear {
    heard: bool,
    silent: Duration,
    gap: Duration,
}

impl Ear {
    async fn listen(&mut self, phone: &Phone, hz: f64) {
        let begun = Instant::now();
        if phone.hears(hz, LISTEN).await {
            if self.heard {
                self.gap = self.gap.max((self.silent + begun.elapsed()).saturating_sub(EAR));
            }
            *self = Self { heard: true, silent: Duration::ZERO, ..*self };
        } else {
            self.silent += begun.elapsed();
        }
    }

    /// The longest silence after the first sound, up to now.
    fn longest(&self) -> Duration {
        if self.heard { self.gap.max(self.silent) } else { Duration::ZERO }
    }
}

/// An agent's day so far.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Day {
    /// Calls taken, and those in which the caller was heard.
    pub(crate) calls: u32,
    pub(crate) heard: u32,
    pub(crate) on_the_phone: bool,
    /// The longest silence of the call there is now, or of the last one.
    pub(crate) silence: Duration,
    pub(crate) registered: bool,
}

/// An agent with a phone that answers at once.
#[derive(Debug)]
pub(crate) struct Agent {
    pub(crate) id: String,
    day: Arc<Mutex<Day>>,
}

impl Agent {
    /// Puts a phone on the desk of the agent that the API knows by `id`.
    pub(crate) fn new(network: &Network, id: String, user: &str, registrar: SocketAddr, realm: &str) -> Self {
        let day = Arc::<Mutex<Day>>::default();
        let (log, user, realm) = (Arc::clone(&day), user.to_owned(), realm.to_owned());
        network.start(async move {
            let phone = Phone::new(BRIDGE_ADDRESS, &user, AGENT_HZ, Manner::Answer).await.expect("a port is free");
            attend(phone, registrar, &realm, &log).await;
        });
        Self { id, day }
    }

    pub(crate) fn day(&self) -> Day {
        *locked(&self.day)
    }
}

fn locked<T>(of: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An agent at the phone, for ever.
async fn attend(mut phone: Phone, registrar: SocketAddr, realm: &str, log: &Mutex<Day>) {
    let mut next = Instant::now();
    loop {
        if Instant::now() >= next {
            let done = phone.register(registrar, realm, PHONE_PASSWORD).await.is_ok();
            locked(log).registered |= done;
            next = Instant::now() + if done { REGISTER_EVERY } else { REGISTER_AGAIN };
        }
        if matches!(phone.next(Duration::from_millis(200)).await, Ok(Seen::Talking)) {
            converse(&mut phone, log).await;
        }
    }
}

/// Until the other side hangs up, or nothing is heard of it any more.
async fn converse(phone: &mut Phone, log: &Mutex<Day>) {
    {
        let mut day = locked(log);
        *day = Day { calls: day.calls + 1, on_the_phone: true, silence: Duration::ZERO, ..*day };
    }
    let mut ear = Ear::default();
    loop {
        ear.listen(phone, CALLER_HZ).await;
        if ear.silent > PATIENCE {
            // One that the other side ended in this moment is over, too.
            drop(phone.hang_up().await);
            break;
        }
        // What is silent now may be the end of the call, of which nothing is known yet.
        locked(log).silence = ear.gap;
        match phone.next(GLANCE).await {
            Ok(Seen::HungUp) => break,
            Ok(Seen::Rang | Seen::Talking | Seen::Cancelled | Seen::Failed(_)) | Err(_) => {}
        }
    }
    let mut day = locked(log);
    *day = Day { heard: day.heard + u32::from(ear.heard), on_the_phone: false, ..*day };
}

/// How a call ended for its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The caller hung up, after having talked with an agent or not.
    HungUp,
    /// The other side did.
    CutOff,
    /// It was refused with this code of SIP.
    Refused(u16),
    /// Nobody answered, not even with music.
    NoAnswer,
}

/// What a caller has seen.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call {
    pub(crate) placed: Instant,
    pub(crate) answered: Option<Instant>,
    /// An agent's voice was heard.
    pub(crate) served: Option<Instant>,
    pub(crate) silence: Duration,
    pub(crate) end: Option<End>,
    pub(crate) ended: Option<Instant>,
}

/// One call of one caller.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    /// The caller's number, which no other has.
    pub(crate) number: String,
    call: Arc<Mutex<Call>>,
    hang_up: watch::Sender<bool>,
}

static NUMBERS: AtomicU32 = AtomicU32::new(4_930_000);

impl Caller {
    /// Calls `did`.
    pub(crate) fn place(network: &Network, did: &str, trunk: SocketAddr) -> Self {
        let (caller, work) = Self::prepare(did, trunk);
        network.start(work);
        caller
    }

    fn prepare(did: &str, trunk: SocketAddr) -> (Self, impl Future<Output = ()> + Send + use<>) {
        let number = NUMBERS.fetch_add(1, Ordering::Relaxed).to_string();
        let call = Arc::new(Mutex::new(Call {
            placed: Instant::now(),
            answered: None,
            served: None,
            silence: Duration::ZERO,
            end: None,
            ended: None,
        }));
        let (hang_up, hung_up) = watch::channel(false);
        let caller = Self { number: number.clone(), call: Arc::clone(&call), hang_up };
        let did = did.to_owned();
        let work = async move {
            let phone = Phone::new(BRIDGE_ADDRESS, &number, CALLER_HZ, Manner::Answer).await.expect("a port is free");
            phone.call(&did, trunk).await.expect("an INVITE can be made");
            go_through(phone, &call, hung_up).await;
        };
        (caller, work)
    }

    pub(crate) fn call(&self) -> Call {
        *locked(&self.call)
    }

    /// Long enough to be heard by the agent, too.
    pub(crate) fn talk_a_moment(&self) {
        let left = self
            .call()
            .served
            .map_or(Duration::ZERO, |served| (served + TALKS).saturating_duration_since(Instant::now()));
        std::thread::sleep(left);
    }

    /// Hangs up, now or as soon as there is something to hang up.
    pub(crate) fn hang_up(&self) {
        self.hang_up.send_replace(true);
    }

    /// Waits until the agent is heard.
    pub(crate) fn wait_served(&self, limit: Duration) -> anyhow::Result<()> {
        let what = format!("{} hears an agent", self.number);
        wait_for(limit, &what, || {
            let call = self.call();
            (call.served.is_some() || call.end.is_some()).then_some(())
        })?;
        anyhow::ensure!(self.call().served.is_some(), "{what}: {:?}", self.call());
        Ok(())
    }

    pub(crate) fn wait_ended(&self) -> anyhow::Result<()> {
        wait_for(AGENT_LIMIT, &format!("{} hangs up", self.number), || self.call().end.map(drop))
    }
}

/// A call from its INVITE to its end.
async fn go_through(mut phone: Phone, call: &Mutex<Call>, hung_up: watch::Receiver<bool>) {
    let end = match phone.next(ANSWER_LIMIT).await {
        Ok(Seen::Talking) => {
            locked(call).answered = Some(Instant::now());
            talk(&mut phone, call, &hung_up).await
        }
        Ok(Seen::Failed(code)) => End::Refused(code),
        Ok(Seen::Rang | Seen::Cancelled | Seen::HungUp) | Err(_) => {
            // Should an answer come after all, nobody is there.
            drop(phone.cancel().await);
            End::NoAnswer
        }
    };
    {
        let mut call = locked(call);
        call.ended = Some(Instant::now());
        call.end = Some(end);
    }
    // The phone lives until the other side has heard of the end.
    tokio::time::sleep(END_LIMIT).await;
}

async fn talk(phone: &mut Phone, call: &Mutex<Call>, hung_up: &watch::Receiver<bool>) -> End {
    let mut ear = Ear::default();
    loop {
        if *hung_up.borrow() {
            // One that the other side ended in this moment has ended.
            return if phone.hang_up().await.is_ok() { End::HungUp } else { End::CutOff };
        }
        ear.listen(phone, AGENT_HZ).await;
        {
            let mut call = locked(call);
            call.silence = ear.longest();
            if ear.heard && call.served.is_none() {
                call.served = Some(Instant::now());
            }
        }
        if matches!(phone.next(GLANCE).await, Ok(Seen::HungUp)) {
            return End::CutOff;
        }
    }
}

/// Callers who come one after the other, talk for a moment, and go.
#[derive(Debug)]
pub(crate) struct Stream {
    stop: Arc<AtomicBool>,
    callers: Arc<Mutex<Vec<Caller>>>,
}

impl Stream {
    pub(crate) fn start(network: &Network, did: &str, trunk: SocketAddr) -> Self {
        let stream = Self { stop: Arc::default(), callers: Arc::default() };
        let (stop, callers, did) = (Arc::clone(&stream.stop), Arc::clone(&stream.callers), did.to_owned());
        network.start(async move {
            let mut clock = tokio::time::interval(COMES_EVERY);
            while !stop.load(Ordering::Relaxed) {
                clock.tick().await;
                let (caller, work) = Caller::prepare(&did, trunk);
                locked(&callers).push(caller.clone());
                tokio::spawn(work);
                tokio::spawn(leave_when_served(caller));
            }
        });
        stream
    }

    pub(crate) fn callers(&self) -> Vec<Caller> {
        locked(&self.callers).clone()
    }

    /// The first service after a moment, of a caller who came after it.
    pub(crate) fn wait_served_after(&self, moment: Instant, limit: Duration) -> anyhow::Result<Duration> {
        wait_for(limit, "a caller who came after the fault has an agent", || {
            let calls = self.callers().into_iter().map(|caller| caller.call());
            let served = calls.filter(|call| call.placed > moment).filter_map(|call| call.served).min()?;
            Some(served - moment)
        })
    }

    /// Nobody comes any more; waits until all have gone.
    pub(crate) fn end(&self) -> anyhow::Result<Vec<Caller>> {
        self.stop.store(true, Ordering::Relaxed);
        wait_for(AGENT_LIMIT * 2, "all callers have gone", || {
            self.callers().iter().all(|caller| caller.call().end.is_some()).then_some(())
        })?;
        Ok(self.callers())
    }
}

async fn leave_when_served(caller: Caller) {
    let begun = Instant::now();
    loop {
        tokio::time::sleep(Duration::from_millis(50)).await;
        let call = caller.call();
        if call.end.is_some() {
            return;
        }
        if call.served.is_some_and(|at| at.elapsed() >= TALKS) || begun.elapsed() > AGENT_LIMIT {
            return caller.hang_up();
        }
    }
}
