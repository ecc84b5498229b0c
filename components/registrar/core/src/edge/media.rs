//! Media of browsers' calls: which session descriptions go through rtpengine, and in what order messages wait for it.
//!
//! ```text
//! node's INVITE --offer--> rtpengine --> WebRTC description --> browser
//! browser's 200 --answer-> rtpengine --> RTP description -----> node
//! BYE, a failure: delete
//! ```
//! A browser speaks WebRTC, an Asterisk node RTP; rtpengine stands between them. The shell asks it ([`Effect::Media`]) and
//! reports ([`Edge::media_done`]). Messages of one call and direction wait in one line, so none overtakes another; nobody
//! else's call waits. Which rtpengine has a call is in our Record-Route, so another life of this process finds it too.

use std::collections::VecDeque;
use std::sync::Arc;

use super::clients::{ClientKey, Outgoing};
use super::ids::fingerprint;
use super::token::Token;
use super::{Edge, Effect};
use crate::flow::Flow;
use crate::message::{Editor, FieldName, Message, NameAddr, Request};
use crate::proxy::BranchEvent;

/// Messages that may wait in one line: more come from nobody who means well, and are dropped; their sender repeats them.
const MAX_WAITING: usize = 32;

/// An rtpengine that answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MediaNode {
    /// Names it in tokens: the same after a restart and at every registrar.
    pub id: u64,
    /// How many calls it takes, in proportion to the others; 0: only when there is no other.
    pub weight: u32,
}

impl MediaNode {
    /// The rtpengine at this address, which is where its id comes from.
    pub fn at(address: std::net::SocketAddr, weight: u32) -> Self {
        Self { id: fingerprint(&[b"rtpengine", address.to_string().as_bytes()]), weight }
    }
}

/// For whom a session description is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Towards {
    /// WebRTC.
    Browser,
    /// RTP.
    Node,
}

impl Towards {
    fn back(self) -> Self {
        match self {
            Self::Browser => Self::Node,
            Self::Node => Self::Browser,
        }
    }
}

/// What rtpengine is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MediaQuestion {
    /// The first description of two.
    Offer,
    /// The second.
    Answer,
}

/// A question to an rtpengine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MediaOrder {
    /// Which one.
    pub node: u64,
    /// What.
    pub question: MediaQuestion,
    /// The call's name there.
    pub call: String,
    /// The tag of who offered.
    pub from_tag: Vec<u8>,
    /// The tag of who answered; none while nobody did.
    pub to_tag: Option<Vec<u8>>,
    /// The description as it came.
    pub sdp: Vec<u8>,
    /// For whom it shall be.
    pub towards: Towards,
}

/// One side of a call through an rtpengine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct MediaLeg {
    pub(super) node: u64,
    pub(super) call: String,
    /// Where the request goes.
    pub(super) towards: Towards,
}

/// A line: a call and a direction.
type Line = (String, Towards);

/// A message that waits.
#[derive(Debug)]
pub(super) enum Waiting {
    /// A request about to be sent on a branch.
    Branch { fork: u64, at: usize, key: ClientKey, outgoing: Outgoing },
    /// A response on its way back.
    Response { fork: u64, at: usize, message: Message },
    /// An ACK, which has no transaction.
    Ack { flow: Flow, bytes: Vec<u8> },
}

/// The head of a line is asked for, when it brings a description; the others wait.
#[derive(Debug, Default)]
pub(super) struct MediaLine {
    waiting: VecDeque<(Waiting, Option<MediaOrder>)>,
    asked: Option<u64>,
}

impl Edge {
    /// Replaces the rtpengines that answer.
    pub fn set_media(&mut self, nodes: Vec<MediaNode>) {
        self.media_nodes = nodes;
    }

    /// What became of an [`Effect::Media`]: the new description, or none when nothing was answered.
    pub fn media_done(&mut self, operation: u64, sdp: Option<&[u8]>, now_ms: u64) {
        let Some(line) = self.media_asked.remove(&operation) else { return };
        let head = self.media_lines.get_mut(&line).and_then(|waiting| {
            waiting.asked = None;
            waiting.waiting.pop_front()
        });
        if let Some((waiting, _)) = head {
            match sdp {
                Some(sdp) => self.go_on(waiting, Some(sdp), now_ms),
                None => self.without_media(waiting, now_ms),
            }
        }
        self.move_line(&line, now_ms);
    }

    /// The rtpengine for a new call: by weight, and the same for the same call.
    pub(super) fn choose_media(&self, call_id: &[u8]) -> Option<u64> {
        let spare = self.media_nodes.iter().all(|node| node.weight == 0);
        let score = |node: &MediaNode| {
            // Rendezvous hashing: each call draws a number per rtpengine, and the largest wins.
            let drawn = fingerprint(&[call_id, &node.id.to_be_bytes()]) >> 11;
            let share = (drawn as f64 + 1.0) / (1_u64 << 53) as f64;
            let weight = if spare { 1.0 } else { f64::from(node.weight) };
            if weight == 0.0 { f64::MIN } else { weight / -share.min(1.0 - f64::EPSILON).ln() }
        };
        self.media_nodes.iter().max_by(|a, b| score(a).total_cmp(&score(b))).map(|node| node.id)
    }

    /// The leg that a token names.
    pub(super) fn media_leg(&self, call_id: &[u8], token: &Token, towards: Towards) -> Option<MediaLeg> {
        let named = token.media?;
        // One that is gone takes its calls with it: the next offer begins anew at another.
        let there = self.media_nodes.iter().any(|node| node.id == named);
        let node = if there { named } else { self.choose_media(call_id).unwrap_or(named) };
        Some(MediaLeg { node, call: token.media_call(call_id), towards })
    }

    /// Sends a request on a branch, when its turn has come and its description is made.
    pub(super) fn send_branch(&mut self, leg: Option<MediaLeg>, waiting: Waiting, request: &Request<'_>, now_ms: u64) {
        let Some(leg) = leg else { return self.go_on(waiting, None, now_ms) };
        let ack = matches!(waiting, Waiting::Ack { .. });
        let [from, to] = [request.from.tag(), request.to.tag()].map(|tag| tag.map(<[u8]>::to_vec));
        let order = sdp_of(request.message).map(|sdp| MediaOrder {
            node: leg.node,
            question: if ack { MediaQuestion::Answer } else { MediaQuestion::Offer },
            call: leg.call.clone(),
            // In an ACK the other side's offer is answered.
            from_tag: if ack { to.clone() } else { from.clone() }.unwrap_or_default(),
            to_tag: if ack { from } else { to },
            sdp,
            towards: leg.towards,
        });
        self.wait((leg.call, leg.towards), waiting, order, now_ms);
    }

    /// Holds a response until its description is made; gives it back when nothing has to wait.
    pub(super) fn hold_response(
        &mut self,
        leg: &MediaLeg,
        (fork, at): (u64, usize),
        request: &Arc<Message>,
        response: &Message,
        now_ms: u64,
    ) -> bool {
        let line = (leg.call.clone(), leg.towards.back());
        let sdp = sdp_of(response);
        if sdp.is_none() && !self.media_lines.contains_key(&line) {
            return false;
        }
        let tag = |name: FieldName| {
            let value = NameAddr::parse(response.value(name)?)?;
            value.tag().map(<[u8]>::to_vec)
        };
        let (from, to) = (tag(FieldName::From), tag(FieldName::To));
        let offered = sdp_of(request).is_some();
        let order = sdp.map(|sdp| MediaOrder {
            node: leg.node,
            question: if offered { MediaQuestion::Answer } else { MediaQuestion::Offer },
            call: leg.call.clone(),
            from_tag: if offered { from } else { to.clone() }.unwrap_or_default(),
            to_tag: if offered { to } else { None },
            sdp,
            towards: leg.towards.back(),
        });
        self.wait(line, Waiting::Response { fork, at, message: response.clone() }, order, now_ms);
        true
    }

    /// The call is over, or never came about.
    pub(super) fn end_media(&mut self, leg: &MediaLeg) {
        self.effects.push_back(Effect::EndMedia { node: leg.node, call: leg.call.clone() });
    }

    fn wait(&mut self, line: Line, waiting: Waiting, order: Option<MediaOrder>, now_ms: u64) {
        let queue = self.media_lines.entry(line.clone()).or_default();
        if queue.waiting.len() >= MAX_WAITING {
            return self.observe(super::Observation::Dropped("media_line_full"));
        }
        queue.waiting.push_back((waiting, order));
        self.move_line(&line, now_ms);
    }

    /// Lets the head of a line go when it needs no description, else asks for that.
    fn move_line(&mut self, line: &Line, now_ms: u64) {
        loop {
            let Some(queue) = self.media_lines.get_mut(line) else { return };
            if queue.asked.is_some() {
                return;
            }
            match queue.waiting.front() {
                None => {
                    self.media_lines.remove(line);
                    return;
                }
                Some((_, Some(order))) => {
                    let order = order.clone();
                    let operation = self.number();
                    if let Some(queue) = self.media_lines.get_mut(line) {
                        queue.asked = Some(operation);
                    }
                    self.media_asked.insert(operation, line.clone());
                    self.effects.push_back(Effect::Media { operation, order: Box::new(order) });
                    return;
                }
                Some((_, None)) => {
                    if let Some((waiting, _)) = queue.waiting.pop_front() {
                        self.go_on(waiting, None, now_ms);
                    }
                }
            }
        }
    }

    fn go_on(&mut self, waiting: Waiting, sdp: Option<&[u8]>, now_ms: u64) {
        match waiting {
            Waiting::Branch { fork, at, key, mut outgoing } => {
                if !self.branch_is_wanted(fork, at) {
                    return self.leave_fork(fork, at);
                }
                if let Some(sdp) = sdp {
                    outgoing.bytes = with_body(outgoing.bytes, sdp);
                }
                let flow = outgoing.flow;
                self.begin_client(key, outgoing, now_ms);
                if self.is_gone(flow) {
                    self.step_client(key, crate::transaction::ClientEvent::SendFailed, None, now_ms);
                }
            }
            Waiting::Response { fork, at, message } => {
                let message = match sdp {
                    Some(sdp) => Message::read(&with_body(message.bytes().to_vec(), sdp)).unwrap_or(message),
                    None => message,
                };
                self.step_branch(fork, at, event_of(&message), Some(&message), now_ms);
                self.settle_fork(fork);
            }
            Waiting::Ack { flow, bytes } => {
                let bytes = match sdp {
                    Some(sdp) => with_body(bytes, sdp),
                    None => bytes,
                };
                self.send(flow, bytes);
            }
        }
    }

    /// No rtpengine answered: a call that begins fails; a response and an ACK go on as they are, so that the call can end.
    fn without_media(&mut self, waiting: Waiting, now_ms: u64) {
        self.observe(super::Observation::Dropped("no_media"));
        match waiting {
            Waiting::Branch { fork, at, .. } => {
                self.step_branch(fork, at, BranchEvent::Unreachable, None, now_ms);
                self.leave_fork(fork, at);
            }
            Waiting::Response { .. } | Waiting::Ack { .. } => self.go_on(waiting, None, now_ms),
        }
    }
}

/// What a response means to its branch.
pub(super) fn event_of(response: &Message) -> BranchEvent {
    match response.status().unwrap_or(500) {
        status @ 0..=199 => BranchEvent::Provisional(status),
        200..=299 => BranchEvent::Success,
        status @ 300.. => BranchEvent::Failure(status),
    }
}

/// The session description of a message.
fn sdp_of(message: &Message) -> Option<Vec<u8>> {
    let kind = message.value(FieldName::ContentType)?;
    let kind = kind.split(|&byte| byte == b';').next().unwrap_or_default().trim_ascii();
    let body = message.body();
    (kind.eq_ignore_ascii_case(b"application/sdp") && !body.is_empty()).then(|| body.to_vec())
}

fn with_body(bytes: Vec<u8>, body: &[u8]) -> Vec<u8> {
    let Ok(message) = Message::read(&bytes) else { return bytes };
    let mut editor = Editor::new(&message);
    editor.set_body(body);
    editor.finish()
}
