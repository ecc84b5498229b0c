//! A simulated floor: agents who talk and wrap up, people who answer or do not. The laws are those of research on outbound
//! dialling that the bars come from; the pacer knows none of them.

use std::collections::BTreeMap;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rand_distr::{Distribution, Exp, Gamma, LogNormal};
use ringdown_acd_pacing::{Input, Recording, Settings};
use ringdown_domain::{AgentId, InteractionId, TimestampMs};
use uuid::Uuid;

/// One step of simulated time, in milliseconds.
const STEP_MS: u64 = 100;
/// Utilisation is measured after this time; lost answers from the beginning.
const WARM_UP_MS: u64 = 1_800_000;
const RING_LIMIT_S: f64 = 22.0;

/// What answers.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Answers {
    /// Always this share.
    Fixed(f64),
    /// A quarter in the mean, 0.10 to 0.40, in waves of 90 minutes.
    Drifting,
    /// A quarter, times 0.5 and times 1.6 by turns of 30 minutes.
    Jumping,
}

impl Answers {
    fn share(self, at_s: f64) -> f64 {
        match self {
            Self::Fixed(share) => share,
            Self::Drifting => 0.25 * (1.0 + 0.6 * (std::f64::consts::TAU * at_s / 5_400.0).sin()),
            Self::Jumping => 0.25 * if ((at_s / 1_800.0) as u64).is_multiple_of(2) { 0.5 } else { 1.6 },
        }
    }
}

/// What is simulated.
#[derive(Clone, Debug)]
pub(crate) struct Scene {
    pub(crate) agents: usize,
    pub(crate) answers: Answers,
    /// Spread of the talking time (sigma of its logarithm).
    pub(crate) talk_sigma: f64,
    /// How often the pacer is asked, in milliseconds.
    pub(crate) tick_ms: u64,
    /// It ends after so many live answers, but not before [`Scene::at_least_ms`].
    pub(crate) live_answers: u64,
    pub(crate) at_least_ms: u64,
    pub(crate) seed: u64,
}

/// What came out.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outcome {
    /// Share of the agents' time in calls and wrap-up.
    pub(crate) utilisation: f64,
    pub(crate) answered: u64,
    pub(crate) lost: u64,
    /// Answered and lost in each block of eight hours.
    pub(crate) blocks: Vec<(u64, u64)>,
    /// Calls that were ended while they rang for less than 15 s.
    pub(crate) given_up_early: u64,
    /// The dearest hundredth of the decisions, in microseconds.
    pub decision_p99_us: f64,
}

impl Outcome {
    pub(crate) fn lost_share(&self) -> f64 {
        self.lost as f64 / self.answered.max(1) as f64
    }
}

#[derive(Clone, Copy)]
struct Call {
    dialled: u64,
    /// When what happens happens, and whether a person answers then.
    at: u64,
    is_live: bool,
}

/// A floor with a pacer.
pub(crate) struct Floor {
    scene: Scene,
    random: StdRng,
    pub(crate) pacer: Recording,
    now: u64,
    idle: BTreeMap<AgentId, u64>,
    /// Busy agents: when the talk is over, and when the wrap-up is.
    busy: BTreeMap<AgentId, (u64, u64, bool)>,
    flights: BTreeMap<InteractionId, Call>,
    waiting: BTreeMap<(u64, InteractionId), ()>,
    next_call: u64,
    busy_ms: u64,
    measured_ms: u64,
    costs_us: Vec<f64>,
    outcome: Outcome,
}

impl Floor {
    pub(crate) fn new(scene: Scene, settings: Settings) -> Self {
        let mut floor = Self {
            random: StdRng::seed_from_u64(scene.seed),
            pacer: Recording::new(TimestampMs(0), settings),
            now: 0,
            idle: BTreeMap::new(),
            busy: BTreeMap::new(),
            flights: BTreeMap::new(),
            waiting: BTreeMap::new(),
            next_call: 0,
            busy_ms: 0,
            measured_ms: 0,
            costs_us: Vec::new(),
            outcome: Outcome::default(),
            scene,
        };
        for number in 0..floor.scene.agents {
            let agent = AgentId(Uuid::from_u128(number as u128 + 1));
            floor.idle.insert(agent, 0);
            floor.tell(Input::Idle { agent });
        }
        floor
    }

    /// Runs to the end.
    pub(crate) fn run(mut self) -> Outcome {
        while self.outcome.answered < self.scene.live_answers || self.now < self.scene.at_least_ms {
            self.step();
        }
        self.outcome.utilisation = self.busy_ms as f64 / (self.measured_ms * self.scene.agents as u64).max(1) as f64;
        self.costs_us.sort_by(f64::total_cmp);
        let place = (self.costs_us.len() * 99 / 100).min(self.costs_us.len().saturating_sub(1));
        self.outcome.decision_p99_us = self.costs_us.get(place).copied().unwrap_or_default();
        self.outcome
    }

    pub(crate) fn step(&mut self) {
        self.now += STEP_MS;
        self.calls_go_on();
        self.agents_go_on();
        self.connect();
        self.lose();
        if self.now.is_multiple_of(self.scene.tick_ms) {
            self.decide();
        }
        if self.now > WARM_UP_MS {
            self.measured_ms += STEP_MS;
            self.busy_ms += STEP_MS * self.busy.len() as u64;
        }
    }

    fn tell(&mut self, input: Input) {
        self.pacer.take(TimestampMs(self.now), input);
    }

    fn block(&mut self) -> &mut (u64, u64) {
        let block = (self.now / 28_800_000) as usize;
        self.outcome.blocks.resize((block + 1).max(self.outcome.blocks.len()), (0, 0));
        &mut self.outcome.blocks[block]
    }

    fn calls_go_on(&mut self) {
        let now = self.now;
        let over: Vec<_> =
            self.flights.iter().filter(|(_, call)| call.at <= now).map(|(id, call)| (*id, *call)).collect();
        for (call, state) in over {
            self.flights.remove(&call);
            if state.is_live {
                self.waiting.insert((now, call), ());
                self.tell(Input::Answered { call });
            } else {
                self.tell(Input::Unanswered { call });
            }
        }
    }

    fn agents_go_on(&mut self) {
        let now = self.now;
        let changed: Vec<_> = self.busy.iter().map(|(agent, state)| (*agent, *state)).collect();
        for (agent, (talk_ends, wrap_ends, is_told)) in changed {
            if wrap_ends <= now {
                self.busy.remove(&agent);
                self.idle.insert(agent, now);
                self.tell(Input::Idle { agent });
            } else if talk_ends <= now && !is_told {
                self.busy.insert(agent, (talk_ends, wrap_ends, true));
                self.tell(Input::WrappingUp { agent });
            }
        }
    }

    fn connect(&mut self) {
        while let Some(((_, call), ())) = self.waiting.first_key_value().map(|(key, ())| (*key, ())) {
            let Some(agent) = self.idle.iter().min_by_key(|(agent, since)| (**since, **agent)).map(|(agent, _)| *agent)
            else {
                return;
            };
            self.waiting.pop_first();
            self.idle.remove(&agent);
            let sigma = self.scene.talk_sigma;
            let talk =
                LogNormal::new(120_f64.ln() - sigma * sigma / 2.0, sigma).expect("a law").sample(&mut self.random);
            let wrap = Exp::new(1.0 / 20.0).expect("a law").sample(&mut self.random);
            let talk_ends = self.now + (talk * 1_000.0) as u64;
            self.busy.insert(agent, (talk_ends, talk_ends + (wrap * 1_000.0) as u64, false));
            self.outcome.answered += 1;
            self.block().0 += 1;
            self.tell(Input::Connected { call });
            self.tell(Input::Talking { agent });
        }
    }

    fn lose(&mut self) {
        while let Some(((since, call), ())) = self.waiting.first_key_value().map(|(key, ())| (*key, ())) {
            if self.now - since < 2_000 {
                return;
            }
            self.waiting.pop_first();
            self.outcome.answered += 1;
            self.outcome.lost += 1;
            let block = self.block();
            block.0 += 1;
            block.1 += 1;
            self.tell(Input::Lost { call });
        }
    }

    fn decide(&mut self) {
        let begun = std::time::Instant::now();
        let decision = self.pacer.decide(TimestampMs(self.now));
        self.costs_us.push(begun.elapsed().as_secs_f64() * 1e6);
        for _ in 0..decision.dial {
            self.dial();
        }
        if let Some(call) = decision.give_up
            && let Some(state) = self.flights.remove(&call)
        {
            self.outcome.given_up_early += u64::from(self.now - state.dialled < 15_000);
            self.tell(Input::Unanswered { call });
        }
    }

    fn dial(&mut self) {
        self.next_call += 1;
        let call = InteractionId(Uuid::from_u128(u128::from(self.next_call)));
        let is_live = self.random.random_bool(self.scene.answers.share(self.now as f64 / 1_000.0));
        let after = if is_live {
            2.0 + Gamma::new(4.0, 2.0).expect("a law").sample(&mut self.random)
        } else if self.random.random_bool(0.25) {
            self.random.random_range(2.0..5.0)
        } else {
            RING_LIMIT_S
        };
        let at = self.now + (after.min(RING_LIMIT_S) * 1_000.0) as u64;
        self.flights.insert(call, Call { dialled: self.now, at, is_live });
        self.tell(Input::Dialled { call });
    }
}
