//! Asterisk's events, as far as they matter. What cannot be read is no reason to stop: the listing finds what it said.

use ringdown_domain::{OfferId, TenantId, TimestampMs, TrunkId};
use serde::Deserialize;

/// What a message on the websocket says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Message {
    /// Something happened to a channel.
    Event(Event),
    /// Our own mark of this connection: everything queued before it has come.
    Mark(u64),
}

/// An event that matters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Event {
    /// When it happened, by Asterisk's clock; none when unreadable.
    pub(crate) at_ms: Option<TimestampMs>,
    /// The channel it is about.
    pub(crate) channel: String,
    /// What happened.
    pub(crate) what: Happening,
}

/// What happened to the channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Happening {
    /// A caller came in over a trunk.
    Arrived(Arrival),
    /// A leg that we dialled was answered and is ours.
    Answered,
    /// It rings.
    Ringing,
    /// It is gone; a code where Asterisk knows one.
    Gone { cause: u16, sip_code: Option<u16> },
    /// It will be gone; how.
    HangupRequested { sip_code: Option<u16> },
    /// It left our application.
    Left,
}

/// A caller's first words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Arrival {
    /// The trunk.
    pub(crate) trunk: TrunkId,
    /// The dialled number, as dialled.
    pub(crate) dialled: String,
    /// The calling number, as given.
    pub(crate) caller: String,
}

/// The types that [`parse`] understands.
pub(crate) const KINDS: [&str; 7] = [
    "ChannelDestroyed",
    "ChannelHangupRequest",
    "ChannelStateChange",
    "ChannelUserevent",
    "Dial",
    "StasisEnd",
    "StasisStart",
];

/// What our mark's name begins with; the connection's number follows.
pub(crate) const MARK: &str = "ringdown-mark-";

/// What a channel's Stasis arguments say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Arguments {
    /// `in,<trunk>,<number>`.
    Inbound { trunk: TrunkId, dialled: String },
    /// `leg,<tenant>,<interaction>,<offer>`.
    Leg { tenant: TenantId, offer: OfferId },
    /// `cust,<tenant>,<interaction>`: a customer whom we dialled.
    Customer { tenant: TenantId },
}

impl Arguments {
    /// Reads them; none for what we did not write.
    pub(crate) fn parse<'a>(mut parts: impl Iterator<Item = &'a str>) -> Option<Self> {
        match parts.next()? {
            "in" => {
                let trunk = parts.next()?.parse().ok()?;
                Some(Self::Inbound { trunk, dialled: parts.next()?.to_owned() })
            }
            "leg" => {
                let tenant = parts.next()?.parse().ok()?;
                let _interaction = parts.next()?;
                Some(Self::Leg { tenant, offer: parts.next()?.parse().ok()? })
            }
            "cust" => Some(Self::Customer { tenant: parts.next()?.parse().ok()? }),
            _ => None,
        }
    }
}

#[derive(Debug, Deserialize)]
struct Raw {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    timestamp: String,
    #[serde(default)]
    args: Vec<String>,
    channel: Option<RawChannel>,
    peer: Option<RawChannel>,
    #[serde(default)]
    dialstatus: String,
    cause: Option<i64>,
    tech_cause: Option<i64>,
    #[serde(default)]
    eventname: String,
}

/// A channel as events and listings show it.
#[derive(Debug, Deserialize)]
pub(crate) struct RawChannel {
    pub(crate) id: String,
    #[serde(default)]
    pub(crate) state: String,
    #[serde(default)]
    pub(crate) caller: RawCaller,
    #[serde(default)]
    pub(crate) dialplan: RawDialplan,
}

/// Who calls.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct RawCaller {
    #[serde(default)]
    pub(crate) number: String,
}

/// Where a channel is in the dialplan.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct RawDialplan {
    #[serde(default)]
    pub(crate) app_name: String,
    #[serde(default)]
    pub(crate) app_data: String,
}

/// Reads an event; none for those that do not matter. `kind` is given to the caller for metrics.
pub(crate) fn parse(text: &str) -> Result<Option<Message>, serde_json::Error> {
    let raw: Raw = serde_json::from_str(text)?;
    if raw.kind == "ChannelUserevent" {
        return Ok(raw.eventname.strip_prefix(MARK).and_then(|number| number.parse().ok()).map(Message::Mark));
    }
    let at_ms = timestamp(&raw.timestamp);
    let code =
        |value: Option<i64>| value.and_then(|code| u16::try_from(code).ok()).filter(|code| (300..700).contains(code));
    let sip_code = code(raw.tech_cause);
    let cause = raw.cause.and_then(|cause| u16::try_from(cause).ok()).unwrap_or(0);
    // A Dial event is about the leg it calls its peer.
    let subject = if raw.kind == "Dial" { raw.peer } else { raw.channel };
    let Some(channel) = subject else { return Ok(None) };
    let what = match raw.kind.as_str() {
        "StasisStart" => match Arguments::parse(raw.args.iter().map(String::as_str)) {
            Some(Arguments::Inbound { trunk, dialled }) => {
                Happening::Arrived(Arrival { trunk, dialled, caller: channel.caller.number })
            }
            Some(Arguments::Leg { .. } | Arguments::Customer { .. }) => Happening::Answered,
            None => return Ok(None),
        },
        // A phone that says 183 and never 180 (behind a gateway, with early media) is at work all the same.
        "Dial" if matches!(raw.dialstatus.as_str(), "RINGING" | "PROGRESS") => Happening::Ringing,
        "ChannelStateChange" if channel.state == "Ringing" => Happening::Ringing,
        "ChannelDestroyed" => Happening::Gone { cause, sip_code },
        "ChannelHangupRequest" => Happening::HangupRequested { sip_code },
        "StasisEnd" => Happening::Left,
        _ => return Ok(None),
    };
    Ok(Some(Message::Event(Event { at_ms, channel: channel.id, what })))
}

/// As `2026-11-20T23:38:46.733+0000`.
pub(crate) fn timestamp(text: &str) -> Option<TimestampMs> {
    let time: jiff::Timestamp = text.parse().ok()?;
    u64::try_from(time.as_millisecond()).ok().map(TimestampMs)
}

/// Whether two texts name one moment: Asterisk writes its start in the host's time zone, which changes with the season.
/// Texts that cannot be read are compared as they are.
pub(crate) fn is_same_moment(one: &str, other: &str) -> bool {
    match (timestamp(one), timestamp(other)) {
        (Some(one), Some(other)) => one == other,
        (None, _) | (_, None) => one == other,
    }
}

#[cfg(test)]
mod tests {
    use super::{Arguments, Happening, Message, is_same_moment, parse, timestamp};

    #[test]
    fn timestamps_of_asterisk_are_read() {
        assert_eq!(timestamp("1970-01-01T00:00:01.500+0000").map(|at| at.0), Some(1_500));
        assert_eq!(timestamp("1970-01-01T02:00:01.500+0200").map(|at| at.0), Some(1_500));
        assert_eq!(timestamp("yesterday"), None);
    }

    #[test]
    fn a_start_is_one_start_in_summer_and_winter_time() {
        assert!(is_same_moment("2026-10-25T02:30:00.123+0200", "2026-10-25T01:30:00.123+0100"));
        assert!(!is_same_moment("2026-10-25T02:30:00.123+0200", "2026-10-25T02:30:00.123+0100"));
        assert!(is_same_moment("?", "?"));
        assert!(!is_same_moment("?", "2026-10-25T02:30:00.123+0200"));
    }

    #[test]
    fn what_matters_is_read_and_nothing_else() {
        let check = |text: &str, expected: Option<Happening>| {
            let what = parse(text).unwrap().map(|said| match said {
                Message::Event(event) => event.what,
                Message::Mark(number) => panic!("a mark {number}"),
            });
            assert_eq!(what, expected, "{text}");
        };
        check(
            r#"{"type":"ChannelDestroyed","timestamp":"","cause":17,"tech_cause":486,"channel":{"id":"x"}}"#,
            Some(Happening::Gone { cause: 17, sip_code: Some(486) }),
        );
        check(r#"{"type":"Dial","dialstatus":"RINGING","peer":{"id":"leg"}}"#, Some(Happening::Ringing));
        check(r#"{"type":"Dial","dialstatus":"PROGRESS","peer":{"id":"leg"}}"#, Some(Happening::Ringing));
        check(r#"{"type":"Dial","dialstatus":"","peer":{"id":"leg"}}"#, None);
        check(r#"{"type":"StasisStart","args":["leg","x"],"channel":{"id":"x"}}"#, None);
        check(r#"{"type":"ChannelVarset","channel":{"id":"x"}}"#, None);
        check(r#"{"type":"ApplicationRegistered"}"#, None);
        assert!(parse("{").is_err());
    }

    #[test]
    fn marks_are_ours_alone() {
        let mark = |name: &str| parse(&format!(r#"{{"type":"ChannelUserevent","eventname":"{name}"}}"#)).unwrap();
        assert_eq!(mark("ringdown-mark-7"), Some(Message::Mark(7)));
        assert_eq!(mark("ringdown-mark-"), None);
        assert_eq!(mark("other"), None);
    }

    #[test]
    fn arguments_of_others_are_none() {
        let read = |text: &str| Arguments::parse(text.split(','));
        assert!(read("in,0190b5a0-0000-7000-8000-000000000001,100").is_some());
        assert!(read("in,trunk,100").is_none());
        assert!(read("out").is_none());
        assert!(read("").is_none());
    }
}
