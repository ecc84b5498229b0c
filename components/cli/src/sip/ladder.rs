//! Messages drawn as a ladder: the registrar is the pole on the left, everybody it speaks with a pole of his own.
//!
//! ```text
//!               registrar              192.0.2.7:5062          10.0.0.5:5070
//! 10:02:11.004      │<─── INVITE ada with SDP ───────────────────────│
//! 10:02:11.006      │──── INVITE ada ────────>│                      │
//! ```

use std::net::SocketAddr;

use super::message::SipMessage;

/// Room between two poles.
const GAP: usize = 30;
/// Where the first pole stands, behind the time.
const FIRST: usize = 20;
/// Most poles beside the registrar's; others are written behind the arrow of the last one.
const POLES: usize = 4;

/// Draws messages one after the other; who is new gets a pole.
#[derive(Debug, Default)]
pub(super) struct Ladder {
    peers: Vec<SocketAddr>,
    call: String,
}

impl Ladder {
    /// The lines for a message; a head before it when somebody is new or another call begins.
    pub(super) fn lines(&mut self, message: &SipMessage) -> Vec<String> {
        let mut lines = Vec::new();
        if message.call() != self.call {
            self.call = message.call().to_owned();
            lines.push(String::new());
            lines.push(format!("Call-ID {}", self.call));
        }
        if !self.peers.contains(&message.peer) && self.peers.len() < POLES {
            self.peers.push(message.peer);
            lines.push(self.head());
        }
        lines.push(self.rung(message));
        lines
    }

    fn head(&self) -> String {
        let mut head = String::new();
        let names = std::iter::once("registrar".to_owned()).chain(self.peers.iter().map(ToString::to_string));
        for (number, name) in names.enumerate() {
            // The name's middle over its pole.
            let start = (FIRST + number * GAP).saturating_sub(name.chars().count() / 2);
            let width = head.chars().count();
            head.extend(std::iter::repeat_n(' ', start.saturating_sub(width).max(1)));
            head.push_str(&name);
        }
        head
    }

    fn rung(&self, message: &SipMessage) -> String {
        let known = self.peers.iter().position(|peer| *peer == message.peer);
        let pole = known.unwrap_or(POLES - 1) + 1;
        let length = pole * GAP - 1;
        let stranger = if known.is_none() { format!(" {}", message.peer) } else { String::new() };
        let label = format!(" {} ", message.summary());
        let label: String = label.chars().take(length.saturating_sub(6)).collect();
        let left = 4;
        let right = length - left - label.chars().count();
        let (head, tail) = if message.sent { ('─', '>') } else { ('<', '─') };
        let arrow = format!("{head}{}{label}{}{tail}", "─".repeat(left - 1), "─".repeat(right - 1));
        let others =
            "│".to_owned() + &format!("{:width$}│", "", width = GAP - 1).repeat(self.peers.len().saturating_sub(pole));
        let mut line = format!("{:FIRST$}│{arrow}{others}{stranger}", time(message.at_ms));
        line.truncate(line.trim_end().len());
        line
    }
}

/// The time of day, UTC.
fn time(at_ms: u64) -> String {
    let at = i64::try_from(at_ms).ok().and_then(|at| jiff::Timestamp::from_millisecond(at).ok()).unwrap_or_default();
    at.strftime("%H:%M:%S%.3f").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(at_ms: u64, sent: bool, peer: &str, first: &str) -> SipMessage {
        let text = format!("{first}\r\nCall-ID: c1\r\nCSeq: 1 INVITE\r\n\r\n");
        let (peer, transport) = (peer.parse().unwrap(), "udp".to_owned());
        SipMessage { at_ms, sent, transport, local: None, peer, message: text }
    }

    #[test]
    fn everybody_has_a_pole_and_arrows_go_between() {
        let mut ladder = Ladder::default();
        let asterisk = "10.0.0.5:5070";
        let phone = "192.0.2.7:5062";
        let mut drawn = ladder.lines(&message(0, false, asterisk, "INVITE sip:ada@acme.example SIP/2.0"));
        drawn.extend(ladder.lines(&message(2, true, phone, "INVITE sip:ada@192.0.2.7:5062 SIP/2.0")));
        drawn.extend(ladder.lines(&message(900, false, phone, "SIP/2.0 180 Ringing")));
        drawn.extend(ladder.lines(&message(901, true, asterisk, "SIP/2.0 180 Ringing")));
        let expected = [
            "",
            "Call-ID c1",
            "                registrar                   10.0.0.5:5070",
            "00:00:00.000        │<─── INVITE ada ─────────────│",
            "                registrar                   10.0.0.5:5070                192.0.2.7:5062",
            "00:00:00.002        │──── INVITE ada ──────────────────────────────────────────>│",
            "00:00:00.900        │<─── 180 Ringing (INVITE) ─────────────────────────────────│",
            "00:00:00.901        │──── 180 Ringing (INVITE) ──>│                             │",
        ];
        assert_eq!(drawn, expected, "\n{}", drawn.join("\n"));
    }

    #[test]
    fn whoever_has_no_pole_any_more_is_named_behind_the_arrow() {
        let mut ladder = Ladder::default();
        for number in 1..=6 {
            let lines = ladder.lines(&message(0, true, &format!("192.0.2.{number}:5060"), "OPTIONS sip:x SIP/2.0"));
            let named = lines.last().unwrap().ends_with(&format!("192.0.2.{number}:5060"));
            assert_eq!(named, number > POLES, "{lines:?}");
        }
    }

    #[test]
    fn a_long_name_does_not_break_the_ladder() {
        let mut ladder = Ladder::default();
        let name = format!("INVITE sip:{} SIP/2.0", "x".repeat(500));
        let lines = ladder.lines(&message(0, true, "192.0.2.1:5060", &name));
        assert_eq!(lines.last().unwrap().chars().count(), FIRST + 1 + GAP, "{lines:?}");
    }
}
