//! SIP messages as bytes with a map over them (RFC 3261 sections 7, 18.3, 20, 25).
//!
//! A [`Message`] owns the bytes as they came and knows where its start line, header fields and body lie. Values are
//! parsed when somebody asks, into views that borrow those bytes. Relaying is splicing ([`Editor`]): whatever we do
//! not have to change leaves as it came, unknown headers, odd spacing and folded lines included.
//!
//! Reading has two steps. [`Message::read`] finds the lines and fails only when nothing could be answered
//! ([`Unreadable`]); [`Message::request`] and [`Message::response`] check what a SIP element must check and name the
//! [`Defect`], which has a status for the answer.
//!
//! Never: guesses at a broken message, resolves a name, or re-prints what it relays.

mod address;
mod edit;
mod field;
mod frame;
mod name_addr;
mod read;
mod reply;
mod scan;
mod uri;
mod via;
mod view;

pub use address::Host;
pub use edit::Editor;
pub use field::{Field, FieldName};
pub use frame::{Framed, StreamFramer};
pub use name_addr::NameAddr;
pub use read::{MAX_FIELDS, MAX_LINE_BYTES, MAX_MESSAGE_BYTES, Message, Unreadable};
pub use reply::{Reply, reason_phrase};
pub use scan::{ListItems, Params, Span, unquote};
pub use uri::{Scheme, Uri};
pub use via::Via;
pub use view::{CSeq, Defect, Request, Response};

/// A request's method (RFC 3261 7.1; the others from their RFCs). Methods are case-sensitive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Method {
    /// RFC 3261.
    Invite,
    /// RFC 3261.
    Ack,
    /// RFC 3261.
    Cancel,
    /// RFC 3261.
    Bye,
    /// RFC 3261.
    Options,
    /// RFC 3261.
    Register,
    /// RFC 6086.
    Info,
    /// RFC 3262.
    Prack,
    /// RFC 3311.
    Update,
    /// RFC 3515.
    Refer,
    /// RFC 3428.
    Message,
    /// RFC 6665.
    Subscribe,
    /// RFC 6665.
    Notify,
    /// RFC 3903.
    Publish,
    /// Any other token.
    Other,
}

impl Method {
    /// The method that these bytes spell.
    pub fn parse(name: &[u8]) -> Self {
        match name {
            b"INVITE" => Self::Invite,
            b"ACK" => Self::Ack,
            b"CANCEL" => Self::Cancel,
            b"BYE" => Self::Bye,
            b"OPTIONS" => Self::Options,
            b"REGISTER" => Self::Register,
            b"INFO" => Self::Info,
            b"PRACK" => Self::Prack,
            b"UPDATE" => Self::Update,
            b"REFER" => Self::Refer,
            b"MESSAGE" => Self::Message,
            b"SUBSCRIBE" => Self::Subscribe,
            b"NOTIFY" => Self::Notify,
            b"PUBLISH" => Self::Publish,
            _ => Self::Other,
        }
    }

    /// A name for metrics; every method we do not know is `other`, so that strangers cannot grow the label.
    pub fn label(self) -> &'static str {
        match self {
            Self::Invite => "INVITE",
            Self::Ack => "ACK",
            Self::Cancel => "CANCEL",
            Self::Bye => "BYE",
            Self::Options => "OPTIONS",
            Self::Register => "REGISTER",
            Self::Info => "INFO",
            Self::Prack => "PRACK",
            Self::Update => "UPDATE",
            Self::Refer => "REFER",
            Self::Message => "MESSAGE",
            Self::Subscribe => "SUBSCRIBE",
            Self::Notify => "NOTIFY",
            Self::Publish => "PUBLISH",
            Self::Other => "other",
        }
    }
}
