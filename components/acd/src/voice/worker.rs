//! Carries out the orders of one conversation: those to Asterisk in their order, those to the router in theirs, side by side.
//!
//! The call record is written before the orders to Asterisk that need it there: what a successor finds is then at most ahead
//! of what was done, and doing it again does nothing. What a listing shows anyhow (a phone rings, was answered, waits with
//! music) is not worth a write of its own: each costs the disk a sync, forty times a second and more.

use std::time::{Duration, Instant};

use ringdown_acd_core::conversation::{CONGESTION, Conversation, Input, LegEnd, NORMAL_CLEARING, Order, Room};
use ringdown_domain::{
    CommandId, Delivery, InteractionId, InteractionState, Media, NodeId, PhoneNumber, QueueId, TimestampMs,
};
use ringdown_events::{Command, Done, NewInteraction, Outcome, Refusal, RefusalCode};
use ringdown_redis_store::{Answer, Retry, StoreError, keys, redis};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::Shared;
use super::ari::{AriError, Dialling};
use super::recovery::{self, Family, InteractionNow};
use super::trunks::Way;

/// Orders on their way to one call's workers: a call has a handful at a time.
const ORDERS: usize = 64;
/// A command is asked again until it is answered, this long: as long as Redis or the router may be away.
const COMMAND_LIMIT: Duration = Duration::from_secs(60);
/// An order to Asterisk is repeated this often when nothing answers; afterwards the listing repeats what matters.
const ORDER_TRIES: u32 = 3;
/// Longest that an order waits for its call's record: a quarter of the shortest usual lease.
const RECORD_LIMIT: Duration = Duration::from_millis(500);
/// A record outlives its call by this: for a successor that finds remains, and the person who asks what happened.
pub(crate) const RECORD_KEPT_S: u64 = 3_600;
/// The record of a call that lives goes away too, should nobody ever end it: after a week, which no call lasts.
const RECORD_LIVES_S: u64 = 7 * 86_400;

/// What a call is besides its machine: fixed from its arrival.
#[derive(Clone, Debug)]
pub(crate) struct CallFacts {
    pub(crate) node: NodeId,
    pub(crate) queue: Option<QueueId>,
    pub(crate) caller_number: Option<PhoneNumber>,
    pub(crate) dialled: Option<PhoneNumber>,
}

/// What became of an order, for the node.
#[derive(Debug)]
pub(crate) enum Feedback {
    /// Something the call must know.
    Input { interaction: InteractionId, input: Input },
    /// The interaction was there already; what it is doing.
    Interaction { interaction: InteractionId, now: Box<InteractionNow> },
}

/// Orders to Asterisk that were given together.
#[derive(Debug)]
struct Batch {
    /// The conversation after the input they follow from.
    call: Conversation,
    /// Whether that is to be written first.
    record: bool,
    /// The trunk of each number that is dialled, else none.
    orders: Vec<(Order, Option<Way>)>,
}

/// The way to one call's workers.
#[derive(Debug)]
pub(crate) struct Worker {
    media: mpsc::Sender<Batch>,
    router: mpsc::Sender<Order>,
}

impl Worker {
    /// Starts the two tasks of a call; they end when this is dropped and their orders are done.
    pub(crate) fn start(
        shared: &Shared,
        call: &Conversation,
        facts: CallFacts,
        feedback: mpsc::Sender<Feedback>,
    ) -> Self {
        let (media, media_orders) = mpsc::channel(ORDERS);
        let (router, router_orders) = mpsc::channel(ORDERS);
        let work = Work { shared: shared.clone(), call: call.clone(), facts, feedback };
        let name = call.interaction;
        let tracked = shared.orders.track_future(work.clone().media(media_orders));
        shared.life.spawn_finite(format!("call media {name}"), tracked);
        shared.life.spawn_finite(format!("call router {name}"), shared.orders.track_future(work.router(router_orders)));
        Self { media, router }
    }

    /// Hands orders over, each number to be dialled with its trunk. `false` when the call has more outstanding than it may: its
    /// record and the listing remain.
    pub(crate) fn give(&self, call: &Conversation, orders: Vec<(Order, Option<Way>)>) -> bool {
        let record = orders.iter().any(|(order, _)| needs_record(call, order));
        let (to_router, to_media): (Vec<_>, Vec<_>) = orders.into_iter().partition(|(order, _)| is_for_router(order));
        let batch = Batch { call: call.clone(), record, orders: to_media };
        let media = (!record && batch.orders.is_empty()) || self.media.try_send(batch).is_ok();
        to_router.into_iter().all(|(order, _)| self.router.try_send(order).is_ok()) && media
    }
}

/// Whether a successor must find what this order follows from: that the call is there, which leg was dialled for which
/// offer, who was seated where, how it ended. A record that says how it ended goes away by itself.
const fn needs_record(call: &Conversation, order: &Order) -> bool {
    match order {
        Order::BeginTrack(_)
        | Order::Create
        | Order::Dial { .. }
        | Order::DialNumber { .. }
        | Order::EndInteraction(..)
        | Order::EndTrack(_)
        | Order::HangUpCustomer(..)
        | Order::HangUpLeg(_)
        | Order::PauseTrack(_)
        | Order::Seat { .. }
        | Order::Spy { .. } => true,
        Order::Forget => call.reported().is_none(),
        Order::AcceptOffer(..)
        | Order::AnswerCustomer
        | Order::AnswerWithMusic(_)
        | Order::EndLeg(..)
        | Order::EndSpying { .. }
        | Order::FailOffer(..)
        | Order::Mute { .. }
        | Order::RemoveBridges
        | Order::RingOffer(..)
        | Order::Ringback { .. }
        | Order::SendDigits { .. } => false,
    }
}

const fn is_for_router(order: &Order) -> bool {
    match order {
        Order::AcceptOffer(..)
        | Order::AnswerCustomer
        | Order::Create
        | Order::EndInteraction(..)
        | Order::EndLeg(..)
        | Order::FailOffer(..)
        | Order::RingOffer(..) => true,
        Order::AnswerWithMusic(_)
        | Order::BeginTrack(_)
        | Order::Dial { .. }
        | Order::DialNumber { .. }
        | Order::EndSpying { .. }
        | Order::EndTrack(_)
        | Order::Forget
        | Order::HangUpCustomer(..)
        | Order::HangUpLeg(_)
        | Order::Mute { .. }
        | Order::PauseTrack(_)
        | Order::RemoveBridges
        | Order::Ringback { .. }
        | Order::Seat { .. }
        | Order::SendDigits { .. }
        | Order::Spy { .. } => false,
    }
}

#[derive(Clone)]
struct Work {
    shared: Shared,
    call: Conversation,
    facts: CallFacts,
    feedback: mpsc::Sender<Feedback>,
}

impl Work {
    /// Answering with music takes four requests, and a phone need not wait for them: it rings beside. What moves the caller
    /// elsewhere waits.
    async fn media(self, mut batches: mpsc::Receiver<Batch>) {
        let mut music = JoinSet::new();
        while let Some(Batch { call, record, orders }) = batches.recv().await {
            if record {
                let forget = orders.iter().any(|(order, _)| *order == Order::Forget);
                self.write_record(&call, forget || call.is_over() || call.reported().is_some()).await;
            }
            for (order, way) in orders {
                if !is_about_leg_only(&order) {
                    finish(&mut music).await;
                }
                if let Order::AnswerWithMusic(_) = order {
                    let (work, call) = (self.clone(), call.clone());
                    music.spawn(async move { work.carry_out(&call, &order, None).await });
                } else {
                    self.carry_out(&call, &order, way.as_ref()).await;
                }
            }
        }
        finish(&mut music).await;
    }

    async fn write_record(&self, call: &Conversation, ends: bool) {
        // A successor's record is not overwritten. What follows is not held up by a Redis that is away: within the lease's life the
        // agent of a caller who left is still freed; the record is written with the next change.
        let written = tokio::time::timeout(RECORD_LIMIT, self.set_record(call, ends));
        match self.shared.fence.while_held(written).await {
            Some(Ok(Err(error))) => {
                log::warn!(interaction:% = call.interaction, error:% = error; "the call record could not be written");
            }
            Some(Err(_)) => {
                log::warn!(interaction:% = call.interaction; "the call record was not written in time");
            }
            Some(Ok(Ok(()))) | None => {}
        }
    }

    async fn set_record(&self, call: &Conversation, ends: bool) -> Result<(), StoreError> {
        let text = serde_json::to_string(call).expect("a call has string keys only");
        let mut cmd = redis::cmd("SET");
        let expiry_s = if ends { RECORD_KEPT_S } else { RECORD_LIVES_S };
        cmd.arg(keys::call(call.tenant, call.interaction)).arg(text).arg("EX").arg(expiry_s);
        let _ok: String = self.shared.pool.run("call_record", Retry::Safe, &cmd).await?;
        Ok(())
    }

    /// One order to Asterisk, with its tries.
    async fn carry_out(&self, call: &Conversation, order: &Order, way: Option<&Way>) {
        let mut tries = 0;
        loop {
            let started = Instant::now();
            let (what, result) = self.ask(call, order, way).await;
            let label = match &result {
                Ok(()) => "ok",
                Err(AriError::Away { .. }) => "away",
                Err(AriError::Refused { .. }) => "refused",
                Err(AriError::Fenced { .. }) => "fenced",
            };
            self.shared.metrics.request(what, label, started.elapsed());
            tries += 1;
            match result {
                Ok(()) => return self.done(call, order, true).await,
                // The next owner does what is to be done.
                Err(AriError::Fenced { .. }) => return,
                Err(AriError::Away { .. }) if tries < ORDER_TRIES => {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                Err(error) => {
                    log::info!(interaction:% = call.interaction, error:% = error; "an order to Asterisk failed");
                    // An order that nobody answered may have been carried out: events and listings tell.
                    if let AriError::Refused { .. } = error {
                        self.failed(call, order).await;
                        self.done(call, order, false).await;
                    }
                    return;
                }
            }
        }
    }

    async fn ask(&self, call: &Conversation, order: &Order, way: Option<&Way>) -> (&'static str, Result<(), AriError>) {
        let (ari, id) = (&self.shared.ari, call.interaction);
        match order {
            Order::AnswerWithMusic(channel) => ("answer_with_music", {
                match ari.answer(channel).await {
                    Ok(()) => ari.seat(id, Room::Waiting, std::slice::from_ref(channel)).await,
                    Err(error) => Err(error),
                }
            }),
            Order::BeginTrack(track) => ("record", ari.begin_track(call, track).await),
            Order::PauseTrack(track) => ("pause_recording", ari.pause_track(call, track).await),
            Order::EndTrack(track) => ("end_recording", ari.end_track(call, track).await),
            Order::Dial { .. } | Order::DialNumber { .. } => ("dial", self.dial(call, order, way).await),
            Order::EndSpying { number } => ("end_spying", ari.end_spying(id, *number).await),
            Order::HangUpCustomer(channel, cause) => ("hang_up", ari.hang_up(channel, *cause).await),
            Order::HangUpLeg(channel) => ("hang_up", ari.hang_up(channel, NORMAL_CLEARING).await),
            Order::Mute { channel, muted } => ("mute", ari.mute(channel, *muted).await),
            Order::RemoveBridges => ("remove_bridges", ari.remove_bridges(id).await),
            Order::Ringback { room, on } => ("ringback", ari.ringback(id, *room, *on).await),
            Order::Seat { room, channels } => ("seat", ari.seat(id, *room, channels).await),
            Order::SendDigits { channel, digits } => ("send_digits", ari.send_digits(channel, digits).await),
            Order::Spy { channel, number, on, whispers } => ("spy", ari.spy(id, *number, channel, on, *whispers).await),
            Order::AcceptOffer(..)
            | Order::AnswerCustomer
            | Order::Create
            | Order::EndInteraction(..)
            | Order::EndLeg(..)
            | Order::FailOffer(..)
            | Order::Forget
            | Order::RingOffer(..) => ("nothing", Ok(())),
        }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "only the two kinds of dialling come here")]
    async fn dial(&self, call: &Conversation, order: &Order, way: Option<&Way>) -> Result<(), AriError> {
        let customer = call.customer().map(|customer| customer.channel.as_str());
        let endpoint;
        let mut leg = Dialling {
            tenant: call.tenant,
            interaction: call.interaction,
            leg: None,
            channel: "",
            endpoint: "",
            originator: None,
            caller_id: None,
            ring_ms: 0,
            auto_answer: false,
        };
        match order {
            Order::Dial { channel, leg: offer, address, ring_ms, auto_answer } => {
                endpoint = format!("PJSIP/registrar/sip:{address}");
                // Whom an agent calls shows on the agent's own phone.
                let dialled = self.facts.dialled.as_ref().map(PhoneNumber::as_str);
                leg = Dialling {
                    leg: Some(*offer),
                    channel,
                    endpoint: &endpoint,
                    originator: customer,
                    caller_id: if customer.is_none() { dialled } else { None },
                    ring_ms: *ring_ms,
                    auto_answer: *auto_answer,
                    ..leg
                };
            }
            Order::DialNumber { channel, leg: offer, ring_ms, .. } => {
                let Some(way) = way else { return Ok(()) };
                leg = Dialling {
                    leg: *offer,
                    channel,
                    endpoint: &way.endpoint,
                    caller_id: way.caller_id.as_deref(),
                    ring_ms: *ring_ms,
                    ..leg
                };
            }
            _ => return Ok(()),
        }
        self.shared.ari.dial(&leg).await
    }

    /// What an order that Asterisk refuses means. A leg that cannot be dialled is a leg that is gone; the rest is found by the
    /// listing.
    async fn failed(&self, call: &Conversation, order: &Order) {
        if let Order::Dial { channel, .. } | Order::DialNumber { channel, .. } = order {
            let at_ms = self.shared.life.clock().now();
            let input = Input::Gone { channel: channel.clone(), end: LegEnd::default(), at_ms };
            self.tell(call.interaction, input).await;
        }
    }

    /// Whether channels were joined decides who has had the call.
    async fn done(&self, call: &Conversation, order: &Order, done: bool) {
        let channels = if let Order::Seat { channels, .. } = order {
            channels.clone()
        } else if let Order::Spy { channel, .. } = order {
            vec![channel.clone()]
        } else {
            return;
        };
        self.tell(call.interaction, Input::Seated { channels, done }).await;
    }

    async fn router(self, mut orders: mpsc::Receiver<Order>) {
        while let Some(order) = orders.recv().await {
            let Some(command) = self.command(&order) else { continue };
            let answer = self.send(command).await;
            if let (Order::Create, Some(Err(refusal))) = (&order, &answer)
                && refusal.code == RefusalCode::DuplicateInteraction
            {
                self.find_interaction().await;
                continue;
            }
            let input = match (&order, answer) {
                (_, None) => None,
                (Order::Create, Some(answer)) => Some(Input::Created { refused: refusal_cause(&answer) }),
                (Order::AcceptOffer(_, leg), Some(answer)) => {
                    Some(Input::Accepted { leg: *leg, accepted: answer.is_ok() })
                }
                (_, Some(_)) => None,
            };
            if let Some(input) = input {
                self.tell(self.call.interaction, input).await;
            }
        }
    }

    /// The interaction is there already: its id is made from the channel, so it is this call's. What it is doing, the call
    /// does.
    async fn find_interaction(&self) {
        let interaction = self.call.interaction;
        while self.shared.fence.holds() {
            match recovery::read_interaction(&self.shared.pool, self.call.tenant, interaction).await {
                Ok(InteractionNow { family: Some(Family { root, .. }), .. })
                    if matches!(root.state, InteractionState::Ended { .. }) =>
                {
                    return self.tell(interaction, Input::Created { refused: Some(NORMAL_CLEARING) }).await;
                }
                Ok(now) => return self.hand_over(Feedback::Interaction { interaction, now: Box::new(now) }).await,
                Err(error) => {
                    log::warn!(interaction:% = interaction, error:% = error; "an interaction could not be read");
                    tokio::time::sleep(Duration::from_millis(500)).await;
                }
            }
        }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "all other orders are Asterisk's")]
    fn command(&self, order: &Order) -> Option<Command> {
        let own = self.call.interaction;
        match order {
            Order::AcceptOffer(interaction, offer) => {
                Some(Command::AcceptOffer { interaction: *interaction, offer: *offer })
            }
            Order::AnswerCustomer => Some(Command::AnswerCustomer { interaction: own }),
            Order::Create => Some(Command::CreateInteraction(self.new_interaction())),
            Order::EndInteraction(reason, at_ms) => {
                Some(Command::EndInteraction { interaction: own, reason: *reason, at_ms: Some(*at_ms) })
            }
            Order::EndLeg(interaction, leg, at_ms) => {
                Some(Command::EndLeg { interaction: *interaction, leg: *leg, at_ms: *at_ms })
            }
            Order::FailOffer(interaction, offer, failure, sip_code) => Some(Command::FailOffer {
                interaction: *interaction,
                offer: *offer,
                failure: *failure,
                sip_code: *sip_code,
            }),
            Order::RingOffer(interaction, offer) => {
                Some(Command::RingOffer { interaction: *interaction, offer: *offer })
            }
            _ => None,
        }
    }

    fn new_interaction(&self) -> NewInteraction {
        NewInteraction {
            id: self.call.interaction,
            media: Media::Voice,
            delivery: Delivery::Ring,
            queue: self.facts.queue,
            requirements: Vec::new(),
            priority: None,
            caller: self.facts.caller_number.clone(),
            called: self.facts.dialled.clone(),
            node: Some(self.facts.node.clone()),
            attributes: std::collections::BTreeMap::new(),
            arrived_at_ms: Some(self.call.arrived_at_ms),
        }
    }

    /// Asks until there is an answer: the same id each time, so that asking again does nothing twice. None when nobody
    /// answered for a minute; then the state in Redis decides.
    async fn send(&self, command: Command) -> Option<Result<Done, Refusal>> {
        let id: CommandId = self.shared.life.new_id(CommandId::from_parts);
        let started = Instant::now();
        let shutdown = self.shared.life.shutdown();
        while started.elapsed() < COMMAND_LIMIT && self.shared.fence.holds() {
            match self.shared.client.send_as(self.call.tenant, id, command.clone()).await {
                Ok(Answer::Outcome(Outcome { result, .. })) => {
                    if let Err(refusal) = &result {
                        log::debug!(interaction:% = self.call.interaction, refusal:? = refusal; "the router refused");
                    }
                    return Some(result);
                }
                Ok(Answer::Unknown { .. }) => {}
                Err(error) => {
                    log::debug!(interaction:% = self.call.interaction, error:% = error; "the router was not reached");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
            // A successor finds the call by its record; a command that is still unanswered is decided by its state.
            if shutdown.is_requested() {
                return None;
            }
        }
        if self.shared.fence.holds() {
            log::error!(interaction:% = self.call.interaction; "the router did not answer for a minute");
        }
        None
    }

    async fn tell(&self, interaction: InteractionId, input: Input) {
        self.hand_over(Feedback::Input { interaction, input }).await;
    }

    async fn hand_over(&self, feedback: Feedback) {
        // A node that is gone needs no word: its successor reads the state.
        if self.feedback.send(feedback).await.is_err() {
            log::debug!(interaction:% = self.call.interaction; "what became of an order came too late for the node");
        }
    }
}

const fn is_about_leg_only(order: &Order) -> bool {
    matches!(order, Order::Dial { .. } | Order::DialNumber { .. } | Order::HangUpLeg(_))
}

async fn finish(music: &mut JoinSet<()>) {
    while let Some(ended) = music.join_next().await {
        if let Err(error) = ended {
            log::error!(error:% = error; "answering a caller failed inside; the listing repeats it");
        }
    }
}

/// The Q.850 cause a caller is refused with; none when there is an interaction. Whatever the reason, the carrier may go
/// another way, unless the call has had its end.
fn refusal_cause(answer: &Result<Done, Refusal>) -> Option<u16> {
    match answer {
        Ok(_) => None,
        Err(refusal) if refusal.code == RefusalCode::InteractionEnded => Some(NORMAL_CLEARING),
        Err(_) => Some(CONGESTION),
    }
}

/// When a channel arrived, by the time in its name (`<system>-<seconds>.<number>`); none when it has none.
pub(crate) fn channel_time(channel: &str) -> Option<TimestampMs> {
    let seconds: u64 = channel.rsplit('-').next()?.split('.').next()?.parse().ok()?;
    (seconds > 1_000_000_000).then_some(TimestampMs(seconds * 1_000))
}
