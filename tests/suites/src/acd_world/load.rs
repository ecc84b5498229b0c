//! Callers and agents that keep a router busy through every fault: each step is asked until it has an outcome.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::bail;
use ringdown_domain::{AgentId, Delivery, EndReason, InteractionId, OfferFailure, OfferId};
use ringdown_events::{Command, ConsultEnd, Done, RefusalCode, SupervisionMode, Target};
use uuid::Uuid;

use super::random::Random;
use super::{World, new_interaction};

/// What the load did, shared by its workers.
#[derive(Debug, Default)]
pub struct Load {
    stop: AtomicBool,
    accepted: Mutex<BTreeSet<InteractionId>>,
    ended: Mutex<BTreeSet<InteractionId>>,
    steps: AtomicU64,
    acts: AtomicU64,
    pace: Mutex<Pace>,
}

/// How evenly answers come.
#[derive(Debug, Default)]
struct Pace {
    last: Option<Instant>,
    longest: Duration,
}

impl Load {
    /// Workers may end.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// Interactions whose creation was acknowledged.
    pub fn accepted(&self) -> BTreeSet<InteractionId> {
        self.accepted.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Interactions whose end was acknowledged.
    pub fn ended(&self) -> BTreeSet<InteractionId> {
        self.ended.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Commands answered.
    pub fn steps(&self) -> u64 {
        self.steps.load(Ordering::Relaxed)
    }

    /// The longest time in which no command of any worker was answered.
    pub fn longest_pause(&self) -> Duration {
        self.pace.lock().unwrap_or_else(PoisonError::into_inner).longest
    }

    /// Acts on calls (transfers, consultations, conferences, supervision) that were done.
    pub fn acts(&self) -> u64 {
        self.acts.load(Ordering::Relaxed)
    }

    fn answered(&self) {
        self.steps.fetch_add(1, Ordering::Relaxed);
        let now = Instant::now();
        let mut pace = self.pace.lock().unwrap_or_else(PoisonError::into_inner);
        let pause = pace.last.map_or(Duration::ZERO, |last| now - last);
        pace.longest = pace.longest.max(pause);
        pace.last = Some(now);
    }

    /// Creates and ends interactions until the stop. One in ten is left as it is, so that the queue and the agents are not
    /// empty at rest.
    ///
    /// # Errors
    /// A step had no outcome, or one that cannot be.
    pub async fn work(self: Arc<Self>, world: Arc<World>, seed: u64) -> anyhow::Result<()> {
        let mut random = Random::new(seed);
        let mut left = 0;
        while !self.stop.load(Ordering::Relaxed) {
            let id = InteractionId(Uuid::now_v7());
            let (_, skills) = &world.agents[random.below(world.agents.len() as u64) as usize];
            let needs = random.needs(skills);
            let delivery = if random.below(3) == 0 { Delivery::Ring } else { Delivery::Direct };
            let Done::Created { offered, .. } = self.done(&world, new_interaction(id, delivery, &needs)).await? else {
                bail!("{id}: created, but not told so");
            };
            self.accepted.lock().unwrap_or_else(PoisonError::into_inner).insert(id);
            if let (Delivery::Ring, Some((agent, offer))) = (delivery, offered)
                && self.ring(&world, &mut random, id, agent, offer).await?
                && random.below(2) == 0
            {
                self.talk(&world, &mut random, id).await?;
            }
            tokio::time::sleep(Duration::from_millis(random.below(100))).await;
            if left < 3 && random.below(10) == 0 {
                left += 1;
                continue;
            }
            let reason = if random.below(2) == 0 { EndReason::CallerHangup } else { EndReason::Completed };
            self.done(&world, Command::EndInteraction { interaction: id, reason, at_ms: None }).await?;
            self.ended.lock().unwrap_or_else(PoisonError::into_inner).insert(id);
        }
        Ok(())
    }

    async fn ring(
        &self,
        world: &World,
        random: &mut Random,
        interaction: InteractionId,
        agent: AgentId,
        offer: OfferId,
    ) -> anyhow::Result<bool> {
        self.done(world, Command::RingOffer { interaction, offer }).await?;
        if random.below(4) > 0 {
            self.done(world, Command::AcceptOffer { interaction, offer }).await?;
            return Ok(true);
        }
        let failure = OfferFailure::Rejected;
        self.done(world, Command::FailOffer { interaction, offer, failure, sip_code: Some(603) }).await?;
        let status = ringdown_domain::AgentStatus::Ready;
        self.done(world, Command::SetAgentStatus { agent, status }).await?;
        Ok(false)
    }

    /// What people do with a call they have: hold it, transfer it, ask somebody about it, supervise it. Somebody who is busy
    /// refuses, and a call that changed hands meanwhile is nobody's to act on; both are as they should be.
    async fn talk(&self, world: &World, random: &mut Random, interaction: InteractionId) -> anyhow::Result<()> {
        let target = self.target(world, random)?;
        let child = InteractionId(Uuid::now_v7());
        match random.below(6) {
            0 => {
                self.tried(world, Command::HoldInteraction { interaction, held: true }).await?;
            }
            1 => {
                self.tried(world, Command::TransferInteraction { interaction, target }).await?;
            }
            2 => {
                let (supervisor, _) = world.agents[random.below(world.agents.len() as u64) as usize];
                let mode = if random.below(2) == 0 { SupervisionMode::Listen } else { SupervisionMode::TakeOver };
                let supervise = Command::SuperviseInteraction { interaction, supervision: child, supervisor, mode };
                self.accept_child(world, child, supervise).await?;
            }
            _ => {
                let consult = Command::ConsultInteraction { interaction, consult: child, target };
                self.accept_child(world, child, consult).await?;
                let how = match random.below(3) {
                    0 => ConsultEnd::Cancel,
                    1 => ConsultEnd::Complete,
                    _ => ConsultEnd::Conference,
                };
                self.tried(world, Command::EndConsult { interaction, how }).await?;
            }
        }
        Ok(())
    }

    fn target(&self, world: &World, random: &mut Random) -> anyhow::Result<Target> {
        if random.below(4) == 0 {
            return Ok(Target::Number("+4930123".parse()?));
        }
        Ok(Target::Agent(world.agents[random.below(world.agents.len() as u64) as usize].0))
    }

    /// Adds a party to a call, whose phone is answered if it rings at once.
    async fn accept_child(&self, world: &World, child: InteractionId, command: Command) -> anyhow::Result<()> {
        let Some(done) = self.tried(world, command).await? else { return Ok(()) };
        let Done::Created { interaction, offered } = done else { return Ok(()) };
        if interaction == child
            && let Some((_, offer)) = offered
        {
            self.tried(world, Command::AcceptOffer { interaction, offer }).await?;
        }
        Ok(())
    }

    /// As [`Self::done`]; none when the state forbids it.
    async fn tried(&self, world: &World, command: Command) -> anyhow::Result<Option<Done>> {
        let outcome = world.ask(command.clone()).await?;
        self.answered();
        match outcome.result {
            Ok(done) => {
                self.acts.fetch_add(1, Ordering::Relaxed);
                Ok(Some(done))
            }
            Err(refusal) => match refusal.code {
                RefusalCode::AgentBusy
                | RefusalCode::Full
                | RefusalCode::InteractionEnded
                | RefusalCode::Malformed
                | RefusalCode::NotConnected
                | RefusalCode::StaleOffer => Ok(None),
                RefusalCode::DuplicateInteraction
                | RefusalCode::UnknownAgent
                | RefusalCode::UnknownInteraction
                | RefusalCode::UnknownQueue
                | RefusalCode::UnknownSkill => bail!("{command:?} refused: {refusal:?}"),
            },
        }
    }

    async fn done(&self, world: &World, command: Command) -> anyhow::Result<Done> {
        let outcome = world.ask(command.clone()).await?;
        self.answered();
        match outcome.result {
            Ok(done) => Ok(done),
            // The ring time may have passed while nobody routed.
            Err(refusal) if refusal.code == RefusalCode::StaleOffer => Ok(Done::Unchanged),
            Err(refusal) => bail!("{command:?} refused: {refusal:?}"),
        }
    }
}
