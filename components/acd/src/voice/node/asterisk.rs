//! The node's Asterisk: its websocket, whether it is the one we know, whether it is alive.

use std::time::Instant;

use ringdown_acd_core::node::{Look, Verdict};
use ringdown_events::Command;
use ringdown_service::Readiness;

use super::errands::send;
use super::{CatchUp, MISSED_AFTER_PROBES, Node, Report};
use crate::voice::ari::AriError;
use crate::voice::event::{self, Message};
use crate::voice::socket::Arrived;

impl Node {
    pub(super) fn say(&self, readiness: &Readiness) {
        let ready = self.connected.is_some() && self.met;
        self.shared.metrics.connected.set(i64::from(ready));
        let counted = self.connected.is_some() && self.catch_up == CatchUp::Done;
        self.shared.metrics.counted.set(i64::from(counted));
        if ready {
            readiness.ready();
        } else {
            readiness.waiting("Asterisk's websocket");
        }
    }

    pub(super) fn arrived(&mut self, arrived: Arrived) {
        match arrived {
            Arrived::Connected(number) => {
                self.connected = Some(number);
                self.catch_up = CatchUp::Queue(Instant::now());
                self.met = false;
                self.liveness.websocket(true);
                log::info!(node:% = self.shared.config.node; "Asterisk is connected");
                self.meet();
            }
            Arrived::Disconnected(number) if self.connected == Some(number) => {
                self.connected = None;
                self.catch_up = CatchUp::Queue(Instant::now());
                self.liveness.websocket(false);
                log::warn!(node:% = self.shared.config.node; "Asterisk's websocket is gone; its calls go on");
            }
            Arrived::Disconnected(_) => {}
            Arrived::Event(number, text) => match event::parse(&text) {
                Ok(Some(Message::Event(event))) => self.happened(event),
                Ok(Some(Message::Mark(of))) if of == number && self.connected == Some(number) => self.queue_read(),
                Ok(Some(Message::Mark(_)) | None) => {}
                Err(error) => log::warn!(error:% = error; "an event could not be read"),
            },
        }
    }

    /// A websocket is there: is it the Asterisk we know? Its queued events come next, and our mark behind them; they wait for
    /// the answer. Repeated until there is one.
    pub(super) fn meet(&mut self) {
        let Some(connection) = self.connected.filter(|_| !self.meeting) else { return };
        self.meeting = true;
        let (ari, reports) = (self.shared.ari.clone(), self.reports.0.clone());
        self.shared.life.spawn_finite("voice meeting", async move {
            let report = match ari.started().await {
                Ok(started) => Report::Met { connection, started: Ok(started), filtered: ari.filter_events().await },
                Err(error) => Report::Met { connection, started: Err(error), filtered: Ok(()) },
            };
            send(&reports, report).await;
        });
    }

    pub(super) fn met(&mut self, connection: u64, started: Result<String, AriError>, filtered: Result<(), AriError>) {
        self.meeting = false;
        if self.connected != Some(connection) {
            // Another one came meanwhile.
            return self.meet();
        }
        match started {
            Ok(started) => self.seen(started),
            Err(error) => {
                log::debug!(error:% = error; "Asterisk does not say yet when it was started");
                return;
            }
        }
        match filtered {
            Ok(()) => {
                self.met = true;
                self.miss(false);
            }
            Err(error) => {
                log::warn!(error:% = error; "events are not filtered yet");
                // Its application went with a websocket of ours: this one brings nothing.
                if error.is_missing() {
                    self.miss(true);
                }
            }
        }
        if let CatchUp::Queue(since) = &mut self.catch_up {
            *since = Instant::now();
            let ari = self.shared.ari.clone();
            self.errand("voice mark", async move {
                if let Err(error) = ari.mark(connection).await {
                    log::warn!(error:% = error; "the end of the queued events cannot be marked; they get their time");
                }
            });
        }
    }

    /// A probe's outcome: whether Asterisk answers without a websocket that serves.
    fn miss(&mut self, missed: bool) {
        self.unserved = if missed { self.unserved.saturating_add(1) } else { 0 };
        self.shared.gate.miss(self.unserved >= MISSED_AFTER_PROBES);
    }

    /// Everything Asterisk had queued has come; a listing finds what ended without a word.
    pub(super) fn queue_read(&mut self) {
        if let CatchUp::Queue(since) = self.catch_up {
            log::debug!(took:? = since.elapsed(); "what Asterisk had queued is read");
            self.catch_up = CatchUp::Listing(Instant::now());
            self.start_listing();
        }
    }

    /// Compares with what we know, and remembers it where a successor finds it.
    fn seen(&mut self, started: String) {
        self.looked(Look::Answered);
        if self.started.as_ref().is_some_and(|known| event::is_same_moment(known, &started)) {
            return;
        }
        if self.started.is_some() {
            log::error!(node:% = self.shared.config.node; "Asterisk was restarted: its calls are lost");
            self.lose();
        }
        self.started = Some(started);
        self.write_status();
    }

    /// Everything on the node is gone: the router frees its agents.
    fn lose(&mut self) {
        self.shared.metrics.nodes_lost.inc();
        let before_ms = self.shared.life.clock().now();
        let lost = |tenant| (tenant, Command::LoseNode { node: self.shared.config.node.clone(), before_ms });
        let tenants = self.taken_up_to.keys().copied().chain(self.configs.unread());
        self.command(tenants.map(lost).collect());
        self.expire_records();
        self.calls.clear();
        self.by_caller.clear();
        self.expected.clear();
        self.strangers.forget();
        self.shared.metrics.calls.set(0);
    }

    pub(super) fn start_probe(&mut self) {
        if self.probing || self.connected.is_some() {
            return;
        }
        self.probing = true;
        let (ari, reports) = (self.shared.ari.clone(), self.reports.0.clone());
        self.shared.life.spawn_finite("voice probe", async move {
            let report = Report::Probe(ari.started().await);
            send(&reports, report).await;
        });
    }

    pub(super) fn probed(&mut self, result: Result<String, AriError>) {
        self.probing = false;
        // One that was asked before the websocket came says nothing.
        if self.connected.is_none() {
            self.miss(result.is_ok());
        }
        match result {
            // Who says so while a websocket comes is asked again by the meeting, in the right order.
            Ok(started) if self.connected.is_none() => self.seen(started),
            Ok(_) => self.looked(Look::Answered),
            Err(error) => self.failed(&error),
        }
    }

    /// A request beside the calls failed.
    pub(super) fn failed(&mut self, error: &AriError) {
        if let Some(look) = error.look() {
            self.looked(look);
        }
    }

    fn looked(&mut self, look: Look) {
        let now = self.shared.life.clock().now();
        match self.liveness.looked(now, look) {
            Verdict::Alive | Verdict::Doubtful | Verdict::StillDead => {}
            Verdict::Dead => {
                if self.started.take().is_some() || !self.calls.is_empty() {
                    log::error!(node:% = self.shared.config.node; "Asterisk is dead: its calls are lost");
                    self.lose();
                }
            }
        }
    }
}
