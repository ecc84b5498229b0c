//! Close codes. The range tells a client what to do, so that an old client understands a new code: 4000 to 4499 come
//! back (with the last position), 4500 to 4999 stop, since another try would end alike. Breaches of the WebSocket protocol itself
//! have the codes of RFC 6455 7.4.1, and mean stop, too.

/// Why the notifier ends a connection (RFC 6455 7.4.2: 4000 to 4999 are for private use).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CloseCode {
    /// The notifier stops or moves; come back at once, another one answers.
    GoingAway,
    /// The reader was too slow; come back and resume from the last position.
    SlowReader,
    /// The store is away; come back after a pause.
    StoreUnavailable,
    /// The client was silent: no answer to a ping, or no opening message in time.
    Timeout,
    /// As many connections as this notifier may hold; come back after a pause.
    Full,
    /// The message is none the protocol knows.
    BadMessage,
    /// The token is missing, unknown or expired; log in first.
    Unauthenticated,
    /// The log-in may not see this tenant or topic.
    Forbidden,
    /// The bytes break the WebSocket protocol.
    Protocol,
    /// A text is no UTF-8.
    NotText,
    /// The message is longer than any that is understood.
    TooLarge,
}

impl CloseCode {
    /// All codes, for documentation and tests.
    pub const ALL: [Self; 11] = [
        Self::GoingAway,
        Self::SlowReader,
        Self::StoreUnavailable,
        Self::Timeout,
        Self::Full,
        Self::BadMessage,
        Self::Unauthenticated,
        Self::Forbidden,
        Self::Protocol,
        Self::NotText,
        Self::TooLarge,
    ];

    /// The number on the wire.
    #[must_use]
    pub const fn code(self) -> u16 {
        match self {
            Self::GoingAway => 4000,
            Self::SlowReader => 4001,
            Self::StoreUnavailable => 4002,
            Self::Timeout => 4003,
            Self::Full => 4004,
            Self::BadMessage => 4500,
            Self::Unauthenticated => 4501,
            Self::Forbidden => 4502,
            // RFC 6455 7.4.1 has numbers for these.
            Self::Protocol => 1002,
            Self::NotText => 1007,
            Self::TooLarge => 1009,
        }
    }

    /// Whether the client should connect again.
    #[must_use]
    pub const fn comes_back(self) -> bool {
        self.code() >= 4000 && self.code() < 4500
    }

    /// The reason on the wire; at most 123 bytes (RFC 6455 5.5).
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::GoingAway => "going away; reconnect at once",
            Self::SlowReader => "too slow; reconnect and resume from your last position",
            Self::StoreUnavailable => "store unavailable; reconnect after a pause",
            Self::Timeout => "silent for too long; reconnect",
            Self::Full => "too many connections; reconnect after a pause",
            Self::BadMessage => "message not understood",
            Self::Unauthenticated => "token missing, unknown or expired; log in",
            Self::Forbidden => "not allowed to see this",
            Self::Protocol => "not the WebSocket protocol",
            Self::NotText => "a text must be UTF-8",
            Self::TooLarge => "message too large",
        }
    }
}
