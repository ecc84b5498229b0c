//! Calls of a predecessor: those whose records can be read at the start, and callers whom a listing shows and nobody knows.
//! Either way the call then does what its interaction's state says.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Instant;

use ringdown_acd_core::conversation::{Conversation, Input, LegStage, NORMAL_CLEARING, Order};
use ringdown_acd_core::node::{Liveness, Strangers};
use ringdown_domain::{CustomerSide, InteractionId, InteractionState, TenantId};
use ringdown_events::InteractionRecord;
use ringdown_redis_store::{ConfigReader, Retry, StoreError, StreamStart, keys, newest_stream_id, redis};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::errands::send;
use super::{CatchUp, INBOX, Node, Report};
use crate::voice::Shared;
use crate::voice::configs::Configs;
use crate::voice::effects;
use crate::voice::listing::{FoundCaller, Listing};
use crate::voice::recovery::{self, Family, InteractionNow, Recovered};
use crate::voice::worker::{CallFacts, RECORD_KEPT_S};

impl Node {
    /// Builds the picture from Redis. Asterisk is asked when its websocket is there.
    pub(crate) async fn recover(shared: Shared) -> Result<Self, StoreError> {
        let reader = ConfigReader::new(shared.pool.clone(), "voice", shared.life.node().to_string());
        let end = CancellationToken::new();
        let (follow, follows) = mpsc::channel(INBOX);
        let (sender, effects) = mpsc::channel(INBOX);
        shared.life.spawn_finite("voice effects", effects::follow(shared.clone(), follows, sender, end.clone()));
        let mut node = Self {
            started: read_started(&shared).await?,
            watch: reader.clone().watch(),
            configs: Configs::default(),
            calls: HashMap::new(),
            by_caller: HashMap::new(),
            taken_up_to: HashMap::new(),
            expected: HashMap::new(),
            placing: HashMap::new(),
            reading: HashSet::new(),
            strangers: Strangers::default(),
            liveness: Liveness::default(),
            connected: None,
            catch_up: CatchUp::Queue(Instant::now()),
            met: false,
            meeting: false,
            unserved: 0,
            feedback: mpsc::channel(INBOX),
            reports: mpsc::channel(INBOX),
            effects,
            follow,
            listing: false,
            probing: false,
            _end: end.clone().drop_guard(),
            end,
            shared,
        };
        for tenant in reader.tenants().await? {
            match reader.read(tenant).await {
                Ok(Some(config)) => node.configs.insert(Arc::new(config)),
                Ok(None) => {}
                // Its calls go on by their records; nobody is hung up because nobody can say whose a channel is.
                Err(error) => {
                    log::error!(tenant:% = tenant, error:% = error; "a configuration is not readable; its calls go on");
                    node.configs.missed(tenant);
                }
            }
            node.recover_tenant(tenant).await?;
        }
        log::info!(calls = node.calls.len(), unclaimed = node.strangers.expected(); "calls taken over");
        Ok(node)
    }

    async fn recover_tenant(&mut self, tenant: TenantId) -> Result<(), StoreError> {
        match read_state(&self.shared, tenant).await {
            // One tenant's unreadable state is no reason to leave the calls of all.
            state @ (Ok(_) | Err(StoreError::Unreadable { .. })) => self.state_read(tenant, state),
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Asks again for what could not be read: nothing that may be this tenant's is touched until then.
    pub(super) fn ask_for_states(&mut self) {
        for tenant in self.configs.unread() {
            if self.reading.insert(tenant) {
                let (shared, reports) = (self.shared.clone(), self.reports.0.clone());
                self.errand("voice state", async move {
                    let state = read_state(&shared, tenant).await;
                    send(&reports, Report::State { tenant, state }).await;
                });
            }
        }
    }

    pub(super) fn state_read(&mut self, tenant: TenantId, state: Result<(StreamStart, Recovered), StoreError>) {
        self.reading.remove(&tenant);
        let (effects, state) = match state {
            Ok(read) => read,
            Err(error) => {
                log::error!(tenant:% = tenant, error:% = error; "a tenant's calls are not readable; they go on, and are asked for again");
                return self.configs.state_missed(tenant);
            }
        };
        self.configs.state_read(tenant);
        self.taken_up_to.insert(tenant, state.seq);
        self.follow_tenant(tenant, effects);
        for (family, call) in state.calls {
            if self.calls.contains_key(&family.root.id) {
                // Taken in from a listing while the rest could not be read.
                continue;
            }
            match call {
                Some(call) => self.take_over(call, &family, state.seq),
                // Nobody called: what is wanted says all there is.
                None if family.root.customer != CustomerSide::Here => self.follow_state(tenant, &family),
                None => {
                    self.strangers.expect(family.root.id);
                    self.expected.insert(family.root.id, tenant);
                }
            }
        }
    }

    fn take_over(&mut self, call: Conversation, family: &Family, seq: u64) {
        let (reported, tenant) = (call.reported(), call.tenant);
        let facts = self.facts(&family.root);
        let id = self.adopt(call, facts, seq);
        if let Some(end) = reported {
            // Told before, and maybe lost with the process that told it; the router takes it once.
            self.give(id, vec![Order::EndInteraction(end.reason, end.at_ms)]);
        }
        self.follow_state(tenant, family);
    }

    /// Tells a call how its interaction says that it is to look, as the effects would have.
    fn follow_state(&mut self, tenant: TenantId, family: &Family) {
        let id = family.root.id;
        let config = self.configs.get(tenant).cloned();
        match family.wanted(config.as_deref()) {
            Some(wanted) => {
                let input = Input::Wanted(wanted);
                self.begin(tenant, id, &input);
                self.apply(id, input);
            }
            // That there is a record is the router's answer to its creation.
            None => self.apply(id, Input::Created { refused: None }),
        }
    }

    fn facts(&self, record: &InteractionRecord) -> CallFacts {
        CallFacts {
            node: self.shared.config.node.clone(),
            queue: record.queue,
            caller_number: record.caller.clone(),
            dialled: record.called.clone(),
        }
    }

    /// A caller whom nobody knows: the interaction of that channel says what to do.
    pub(super) fn place(&mut self, listing: &Listing, channel: &str) {
        let Some(found) = FoundCaller::in_listing(listing, channel, self.shared.life.clock().now()) else { return };
        let expected = self.expected.get(&found.interaction).copied();
        let of_trunk = self.configs.of_trunk(found.arrival.trunk).map(|config| config.meta.tenant);
        let Some(tenant) = expected.or(of_trunk) else { return };
        self.placing.entry(found.interaction).or_default();
        let (pool, reports) = (self.shared.pool.clone(), self.reports.0.clone());
        self.errand("voice caller", async move {
            let interaction = recovery::read_interaction(&pool, tenant, found.interaction).await;
            let interaction = interaction.inspect_err(|error| {
                log::warn!(error:% = error; "an interaction could not be read; its caller is looked at again");
            });
            send(&reports, Report::Placed { found: Box::new(found), interaction: Box::new(interaction.ok()) }).await;
        });
    }

    pub(super) fn placed(&mut self, found: FoundCaller, interaction: Option<InteractionNow>) {
        let effects = self.placing.remove(&found.interaction).unwrap_or_default();
        let Some(now) = interaction else { return };
        let at_ms = self.shared.life.clock().now();
        let Some(family) = now.family else {
            log::warn!(channel = found.channel.as_str(); "a caller nobody knew is taken in");
            return self.caller_arrived(found.channel, at_ms, &found.arrival);
        };
        let record = &family.root;
        if let InteractionState::Ended { .. } = record.state {
            log::info!(interaction:% = record.id; "a caller whose interaction has ended is hung up");
            return self.hang_up(vec![(found.channel, NORMAL_CLEARING)]);
        }
        log::warn!(interaction:% = record.id; "a call is rebuilt from the listing and its interaction");
        let (tenant, id) = (now.tenant, record.id);
        let config = self.configs.get(tenant).cloned();
        let wanted = family.wanted(config.as_deref());
        let call = match &wanted {
            Some(wanted) => {
                let arrived_at_ms = record.arrived_at_ms;
                let shown = found.found.clone();
                Conversation::rebuilt(tenant, id, found.channel, arrived_at_ms, at_ms, shown, wanted)
            }
            None => Conversation::arrived(tenant, id, found.channel, record.arrived_at_ms).0,
        };
        let answered: Vec<String> = call
            .legs()
            .iter()
            .filter(|leg| matches!(leg.stage, LegStage::Dialling | LegStage::Ringing))
            .filter(|leg| {
                found.found.legs.iter().any(|shown| shown.channel == leg.channel && shown.answered_for.is_some())
            })
            .map(|leg| leg.channel.clone())
            .collect();
        let facts = self.facts(record);
        self.adopt(call, facts, now.seq);
        self.follow_state(tenant, &family);
        for channel in answered {
            self.apply(id, Input::Answered { channel });
        }
        for entry in effects {
            self.effect(tenant, entry);
        }
    }

    /// The interaction of a call that was to be created is there already: the call does what it says, unless a later word has
    /// come.
    pub(super) fn learn(&mut self, id: InteractionId, now: InteractionNow) {
        let Some(live) = self.calls.get_mut(&id) else { return };
        let is_news = now.seq >= live.taken_up_to;
        match now.family {
            Some(family) if is_news => {
                live.taken_up_to = now.seq;
                self.follow_state(now.tenant, &family);
            }
            // A later word has come, or nothing can be said: it is there, so the caller is wanted.
            Some(_) | None => self.apply(id, Input::Created { refused: None }),
        }
    }

    /// The records of calls that are lost go away by themselves.
    pub(super) fn expire_records(&self) {
        let records: Vec<String> =
            self.calls.values().map(|live| keys::call(live.call.tenant, live.call.interaction)).collect();
        if records.is_empty() {
            return;
        }
        let pool = self.shared.pool.clone();
        self.errand("voice records", async move {
            for record in records {
                let mut cmd = redis::cmd("EXPIRE");
                cmd.arg(record).arg(RECORD_KEPT_S);
                let done: Result<i64, StoreError> = pool.run("call_record", Retry::Safe, &cmd).await;
                if let Err(error) = done {
                    // Every record has a longer expiry of its own.
                    log::debug!(error:% = error; "the record of a lost call stays for longer");
                }
            }
        });
    }
}

/// A tenant's calls on this node, and where its effects begin: first the end of their stream, then the state, so that what comes
/// between is in both and left out by its number.
async fn read_state(shared: &Shared, tenant: TenantId) -> Result<(StreamStart, Recovered), StoreError> {
    let node = &shared.config.node;
    let position = newest_stream_id(&shared.pool, &keys::voice(tenant, node)).await?;
    let state = recovery::read(&shared.pool, tenant, node).await?;
    Ok((StreamStart::After(position), state))
}

async fn read_started(shared: &Shared) -> Result<Option<String>, StoreError> {
    let mut cmd = redis::cmd("HGET");
    cmd.arg(keys::NODES).arg(shared.config.node.as_str());
    let text: Option<String> = shared.pool.run("node_status", Retry::Safe, &cmd).await?;
    let status: Option<serde_json::Value> = text.and_then(|text| serde_json::from_str(&text).ok());
    let started = status.and_then(|status| status["asterisk_started"].as_str().map(str::to_owned));
    Ok(started.filter(|started| !started.is_empty()))
}
