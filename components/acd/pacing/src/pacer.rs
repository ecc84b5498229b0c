//! A campaign's agents and calls as the pacer sees them, and the decision how many calls to start.

use std::collections::BTreeMap;

use ringdown_domain::{AgentId, InteractionId, TimestampMs};
use serde::{Deserialize, Serialize};

use crate::estimates::Estimates;
use crate::ledger::{Ledger, Window, WindowFigures};
use crate::settings::{Mode, Settings};
use crate::shortage::Outlook;

/// The price of a lost answer begins at this share of the target; the rest is headroom against surprises.
const FIRST_PRICE: f64 = 0.15;
const HIGHEST_PRICE: f64 = 0.9;
/// Moments that are watched beyond those at which answers are expected, in seconds.
const WATCHED: [f64; 3] = [15.0, 18.0, 22.0];
/// Quantiles of the ring time at which answers are expected.
const EXPECTED: [f64; 5] = [0.1, 0.3, 0.5, 0.7, 0.9];
/// How far ahead agents are looked at, in seconds.
const HORIZON: usize = 64;
/// A call that rang for less is never given up, in milliseconds (four rings).
const LEAST_RING_MS: u64 = 15_000;

/// What the pacer is told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Input {
    /// The settings are these from now on.
    Settings {
        /// The settings.
        settings: Settings,
    },
    /// An agent could take a call.
    Idle {
        /// Who.
        agent: AgentId,
    },
    /// An agent has got a call, also one that is no campaign's.
    Talking {
        /// Who.
        agent: AgentId,
    },
    /// An agent's call is over and is wrapped up.
    WrappingUp {
        /// Who.
        agent: AgentId,
    },
    /// An agent takes no calls.
    Away {
        /// Who.
        agent: AgentId,
    },
    /// A call was started.
    Dialled {
        /// Which.
        call: InteractionId,
    },
    /// Calls that were decided on could not be started: there was no record, or no way.
    NotDialled {
        /// How many.
        count: u32,
    },
    /// A person answered.
    Answered {
        /// Which call.
        call: InteractionId,
    },
    /// A call is over and no person answered: busy, no answer, a machine, a fax.
    Unanswered {
        /// Which call.
        call: InteractionId,
    },
    /// A person who answered has an agent.
    Connected {
        /// Which call.
        call: InteractionId,
    },
    /// A person who answered found no agent in time.
    Lost {
        /// Which call.
        call: InteractionId,
    },
    /// A person who answered hung up before the time to find an agent was over.
    LeftEarly {
        /// Which call.
        call: InteractionId,
    },
    /// What was counted in a window before this process began.
    Carried {
        /// The window's place in the settings.
        window: u32,
        /// What was counted.
        figures: WindowFigures,
    },
}

/// Which rule decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// The price of a lost answer.
    Price,
    /// One call for each idle agent.
    Idle,
    /// A fixed number of calls for each idle agent.
    Ratio,
    /// Calls up to the limits.
    Limits,
}

/// Why so many.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Why {
    /// The rule.
    pub rule: Rule,
    /// Agents who could take a call, less the reserved ones.
    pub idle: u32,
    /// Agents who talk or wrap up.
    pub busy: u32,
    /// Calls on their way.
    pub in_flight: u32,
    /// People who answered and wait for an agent.
    pub waiting: u32,
    /// Share of calls that a person answers.
    pub answer_probability: f64,
    /// How many answers may still be lost.
    pub budget: Option<f64>,
    /// The risk at which a further call is still started.
    pub price: f64,
    /// The risk of the next call.
    pub risk: f64,
    /// Whether a limit (in flight, per second) allowed fewer than the rule wanted.
    pub is_limited: bool,
}

/// How many calls to start now.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Decision {
    /// How many.
    pub dial: u32,
    /// A call to give up, since too many are about to be answered.
    pub give_up: Option<InteractionId>,
    /// Why.
    pub why: Why,
}

/// What an agent does, and since when.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Doing {
    Idle,
    Talking(u64),
    WrappingUp(u64),
}

/// A call on its way.
#[derive(Clone, Copy, Debug)]
struct Flight {
    dialled: u64,
    /// Its place among the calls whose answers are counted.
    place: u64,
}

/// A campaign's pacer.
#[derive(Clone, Debug)]
pub struct Pacer {
    settings: Settings,
    agents: BTreeMap<AgentId, Doing>,
    flights: BTreeMap<InteractionId, Flight>,
    /// People who answered and wait.
    waiting: BTreeMap<InteractionId, u64>,
    /// Calls that were decided on and are not yet started.
    owed: u32,
    estimates: Estimates,
    ledger: Ledger,
    /// Calls that may still be started in this second.
    credit: f64,
    credited: u64,
}

impl Pacer {
    /// A pacer that knows nothing yet.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self {
            ledger: Ledger::new(&settings.windows),
            credit: settings.most_per_second.max(1.0),
            settings,
            agents: BTreeMap::new(),
            flights: BTreeMap::new(),
            waiting: BTreeMap::new(),
            owed: 0,
            estimates: Estimates::default(),
            credited: 0,
        }
    }

    /// Takes in what happened. What does not fit (a call nobody knows, a second answer) changes nothing.
    pub fn take(&mut self, now: TimestampMs, input: &Input) {
        match input {
            Input::Settings { settings } => {
                self.ledger.set_windows(&settings.windows);
                self.settings = settings.clone();
            }
            Input::Idle { agent } => self.agent_does(now, *agent, Some(Doing::Idle)),
            Input::Talking { agent } => self.agent_does(now, *agent, Some(Doing::Talking(now.0))),
            Input::WrappingUp { agent } => self.agent_does(now, *agent, Some(Doing::WrappingUp(now.0))),
            Input::Away { agent } => self.agent_does(now, *agent, None),
            Input::Dialled { call } => self.dialled(now, *call),
            Input::NotDialled { count } => self.owed = self.owed.saturating_sub(*count),
            Input::Answered { call } => self.answered(now, *call),
            Input::Unanswered { call } => {
                if let Some(flight) = self.flights.remove(call) {
                    self.estimates.unanswered.note(seconds(flight.dialled, now.0));
                }
            }
            Input::Connected { call } => {
                if self.waiting.remove(call).is_some() {
                    self.ledger.answered(now);
                }
            }
            Input::Lost { call } => {
                if self.waiting.remove(call).is_some() {
                    self.ledger.answered(now);
                    self.ledger.lost(now);
                }
            }
            // Nobody was kept waiting beyond the time: an answer that was not lost.
            Input::LeftEarly { call } => {
                if self.waiting.remove(call).is_some() {
                    self.ledger.answered(now);
                }
            }
            Input::Carried { window, figures } => self.ledger.carry_in(now, *window as usize, *figures),
        }
    }

    /// How many calls to start now. They count as on their way until they are told as dialled or not dialled.
    pub fn decide(&mut self, now: TimestampMs) -> Decision {
        self.estimates.settle(now, self.settings.ring_limit_ms);
        let mut why = self.look(now);
        let most = self.most_now(now);
        let (wanted, give_up) = match self.settings.mode {
            Mode::Progressive => (self.for_idle(&why), None),
            Mode::Power { calls_per_agent } => {
                why.rule = Rule::Ratio;
                let wanted =
                    (calls_per_agent.clamp(1.0, 10.0) * f64::from(why.idle.saturating_sub(why.waiting))).floor();
                ((wanted as u32).saturating_sub(why.in_flight), None)
            }
            Mode::Predictive => self.by_price(now, &mut why, most),
            Mode::Agentless => {
                why.rule = Rule::Limits;
                (u32::MAX, None)
            }
        };
        let dial = wanted.min(most);
        why.is_limited = dial < wanted && why.rule != Rule::Limits;
        self.owed += dial;
        self.credit -= f64::from(dial);
        Decision { dial, give_up, why }
    }

    /// What is in each window of lost answers.
    pub fn figures(&mut self, now: TimestampMs) -> Vec<(Window, WindowFigures)> {
        self.ledger.figures(now)
    }

    /// What was learnt.
    #[must_use]
    pub const fn estimates(&self) -> &Estimates {
        &self.estimates
    }

    fn agent_does(&mut self, now: TimestampMs, agent: AgentId, next: Option<Doing>) {
        let before = self.agents.get(&agent).copied();
        match before {
            // The same again is no new beginning.
            Some(Doing::Talking(_)) if matches!(next, Some(Doing::Talking(_))) => return,
            Some(Doing::WrappingUp(_)) if matches!(next, Some(Doing::WrappingUp(_))) => return,
            Some(Doing::Talking(since)) => self.estimates.note_talk(seconds(since, now.0)),
            // Who goes away in wrap-up tells nothing about its length.
            Some(Doing::WrappingUp(since)) if next.is_some() => self.estimates.note_wrap(seconds(since, now.0)),
            Some(Doing::WrappingUp(_) | Doing::Idle) | None => {}
        }
        match next {
            Some(doing) => self.agents.insert(agent, doing),
            None => self.agents.remove(&agent),
        };
    }

    fn dialled(&mut self, now: TimestampMs, call: InteractionId) {
        self.owed = self.owed.saturating_sub(1);
        if !self.flights.contains_key(&call) && !self.waiting.contains_key(&call) {
            let place = self.estimates.answer.dialled(now);
            self.flights.insert(call, Flight { dialled: now.0, place });
        }
    }

    fn answered(&mut self, now: TimestampMs, call: InteractionId) {
        if let Some(flight) = self.flights.remove(&call) {
            self.estimates.ring.note(seconds(flight.dialled, now.0));
            self.estimates.answer.answered(flight.place);
            self.waiting.insert(call, now.0);
        }
    }

    fn look(&mut self, now: TimestampMs) -> Why {
        let idle = self.agents.values().filter(|doing| **doing == Doing::Idle).count() as u32;
        Why {
            rule: Rule::Idle,
            idle: idle.saturating_sub(self.settings.reserved_agents),
            busy: self.agents.len() as u32 - idle,
            in_flight: self.flights.len() as u32 + self.owed,
            waiting: self.waiting.len() as u32,
            answer_probability: self.estimates.answer.share(),
            budget: self.ledger.budget(now),
            price: 0.0,
            risk: 0.0,
            is_limited: false,
        }
    }

    /// One call for each idle agent who has none on its way.
    fn for_idle(&self, why: &Why) -> u32 {
        why.idle.saturating_sub(why.in_flight + why.waiting)
    }

    /// How many the limits allow.
    fn most_now(&mut self, now: TimestampMs) -> u32 {
        let per_second = self.settings.most_per_second.max(0.0);
        self.credit = (self.credit + per_second * seconds(self.credited, now.0)).min(per_second.max(1.0));
        self.credited = now.0;
        let room = self.settings.most_in_flight.saturating_sub(self.flights.len() as u32 + self.owed);
        room.min(self.credit.max(0.0) as u32)
    }

    fn by_price(&self, now: TimestampMs, why: &mut Why, most: u32) -> (u32, Option<InteractionId>) {
        why.price = self.price(why.budget);
        let mut outlook = self.outlook(now, why);
        let share = why.answer_probability;
        let ring = &self.estimates.ring;
        let cap = most.min(4 * self.agents.len() as u32);
        let mut dial = 0;
        why.risk = outlook.risk();
        while why.price > 0.0 && why.risk <= why.price && dial < cap {
            dial += 1;
            outlook.add_call(|ahead| share * ring.share_upto(ahead));
            why.risk = outlook.risk();
        }
        if dial > 0 {
            why.rule = Rule::Price;
            return (dial, None);
        }
        let give_up = self.settings.gives_up_calls && why.risk > (3.0 * why.price).min(0.6);
        (self.for_idle(why), if give_up { self.longest_ringing(now) } else { None })
    }

    /// What a lost answer may cost now: the more of the budget is unspent, the more.
    fn price(&self, budget: Option<f64>) -> f64 {
        let Some(budget) = budget else { return 0.0 };
        if budget < -1.0 {
            return 0.0;
        }
        // Small groups surprise more, and are steered harder.
        let steering = (4.0 / (self.agents.len().max(1) as f64)).clamp(0.1, 0.4);
        (FIRST_PRICE * self.settings.target() * (steering * budget).exp()).min(HIGHEST_PRICE)
    }

    fn outlook(&self, now: TimestampMs, why: &Why) -> Outlook {
        let ring = &self.estimates.ring;
        let weight = 1.0 / EXPECTED.len() as f64;
        let expected = EXPECTED.iter().map(|share| (ring.quantile(*share), weight));
        let moments: Vec<_> = expected.chain(WATCHED.iter().map(|ahead| (*ahead, 0.0))).collect();
        let free = i64::from(why.idle) - i64::from(why.waiting);
        let mut outlook = Outlook::new(free, &moments, (why.busy + why.in_flight) as usize);
        // One step less than the law's time, to be safe.
        let wait = (self.settings.wait_ms as f64 / 1_000.0 - 1.0).max(0.0);
        let furthest = moments.iter().map(|(ahead, _)| *ahead).fold(0.0, f64::max) + wait;
        for doing in self.agents.values() {
            if let Some(free_by) = self.free_by(now, *doing, furthest) {
                outlook.add_agent(|ahead| between_steps(&free_by, ahead + wait));
            }
        }
        for flight in self.flights.values() {
            let age = seconds(flight.dialled, now.0);
            let (upto_now, chance) = self.answer_chance(age);
            outlook.add_call(|ahead| chance * (ring.share_upto(age + ahead) - upto_now));
        }
        for _ in 0..self.owed {
            outlook.add_call(|ahead| why.answer_probability * ring.share_upto(ahead));
        }
        outlook
    }

    /// Of a call that rings for `age` seconds: the share of answers that come within that time, and by what to multiply the
    /// share that comes later to get the chance of an answer.
    fn answer_chance(&self, age: f64) -> (f64, f64) {
        let share = self.estimates.answer.share();
        let upto_now = self.estimates.ring.share_upto(age);
        let later = share * (1.0 - upto_now);
        let still_ringing = (1.0 - share) * (1.0 - self.estimates.unanswered.share_upto(age));
        let all = later + still_ringing;
        (upto_now, if all > 1e-12 { share / all } else { 0.0 })
    }

    /// How likely a busy agent is free after each full second up to `upto`; `None` for an idle one.
    fn free_by(&self, now: TimestampMs, doing: Doing, upto: f64) -> Option<[f64; HORIZON]> {
        let wrap_goes_on = (-1.0 / self.estimates.wrap_seconds()).exp();
        let (mut talking, mut wrapping, talked) = match doing {
            Doing::Idle => return None,
            Doing::Talking(since) => (1.0, 0.0, seconds(since, now.0)),
            Doing::WrappingUp(_) => (0.0, 1.0, 0.0),
        };
        let mut free_by = [0.0; HORIZON];
        for (second, free) in free_by.iter_mut().enumerate().take(upto as usize + 2).skip(1) {
            wrapping *= wrap_goes_on;
            if talking > 0.0 {
                let ended = talking * self.estimates.talk_ends(talked + second as f64 - 0.5);
                talking -= ended;
                // On the average it ended in the middle of the second.
                wrapping += ended * wrap_goes_on.sqrt();
            }
            *free = (1.0 - talking - wrapping).max(0.0);
        }
        Some(free_by)
    }

    fn longest_ringing(&self, now: TimestampMs) -> Option<InteractionId> {
        let rang = |flight: &Flight| now.0.saturating_sub(flight.dialled);
        let old = self.flights.iter().filter(|(_, flight)| rang(flight) >= LEAST_RING_MS);
        old.max_by_key(|(_, flight)| rang(flight)).map(|(call, _)| *call)
    }
}

fn seconds(from_ms: u64, to_ms: u64) -> f64 {
    to_ms.saturating_sub(from_ms) as f64 / 1_000.0
}

/// A value between two full seconds.
fn between_steps(values: &[f64; HORIZON], at: f64) -> f64 {
    let step = (at.max(0.0) as usize).min(HORIZON - 2);
    let inside = (at - step as f64).clamp(0.0, 1.0);
    values[step] + (values[step + 1] - values[step]) * inside
}
