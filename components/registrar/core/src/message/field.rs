//! Header field names (RFC 3261 7.3.1, 7.3.3, 20).

use super::scan::Span;

/// A header field we look at. Everything else is [`FieldName::Other`] and passes through untouched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum FieldName {
    /// `Via`, `v`.
    Via,
    /// `From`, `f`.
    From,
    /// `To`, `t`.
    To,
    /// `Call-ID`, `i`.
    CallId,
    /// `CSeq`.
    CSeq,
    /// `Contact`, `m`.
    Contact,
    /// `Max-Forwards`.
    MaxForwards,
    /// `Route`.
    Route,
    /// `Record-Route`.
    RecordRoute,
    /// `Expires`.
    Expires,
    /// `Authorization`.
    Authorization,
    /// `Proxy-Authorization`.
    ProxyAuthorization,
    /// `WWW-Authenticate`.
    WwwAuthenticate,
    /// `Proxy-Authenticate`.
    ProxyAuthenticate,
    /// `Content-Length`, `l`.
    ContentLength,
    /// `Content-Type`, `c`.
    ContentType,
    /// `Require`.
    Require,
    /// `Proxy-Require`.
    ProxyRequire,
    /// `Date`.
    Date,
    /// `User-Agent`.
    UserAgent,
    /// Any other.
    Other,
}

impl FieldName {
    /// The field that this name, long or compact, means; names are case-insensitive.
    pub fn parse(name: &[u8]) -> Self {
        match name.len() {
            1 => match name[0].to_ascii_lowercase() {
                b'v' => Self::Via,
                b'f' => Self::From,
                b't' => Self::To,
                b'i' => Self::CallId,
                b'm' => Self::Contact,
                b'l' => Self::ContentLength,
                b'c' => Self::ContentType,
                _ => Self::Other,
            },
            2 => pick(name, &[("To", Self::To)]),
            3 => pick(name, &[("Via", Self::Via)]),
            4 => pick(name, &[("From", Self::From), ("CSeq", Self::CSeq), ("Date", Self::Date)]),
            5 => pick(name, &[("Route", Self::Route)]),
            7 => pick(
                name,
                &[
                    ("Call-ID", Self::CallId),
                    ("Contact", Self::Contact),
                    ("Expires", Self::Expires),
                    ("Require", Self::Require),
                ],
            ),
            10 => pick(name, &[("User-Agent", Self::UserAgent)]),
            12 => pick(
                name,
                &[
                    ("Max-Forwards", Self::MaxForwards),
                    ("Record-Route", Self::RecordRoute),
                    ("Content-Type", Self::ContentType),
                ],
            ),
            13 => pick(name, &[("Authorization", Self::Authorization), ("Proxy-Require", Self::ProxyRequire)]),
            14 => pick(name, &[("Content-Length", Self::ContentLength)]),
            16 => pick(name, &[("WWW-Authenticate", Self::WwwAuthenticate)]),
            18 => pick(name, &[("Proxy-Authenticate", Self::ProxyAuthenticate)]),
            19 => pick(name, &[("Proxy-Authorization", Self::ProxyAuthorization)]),
            _ => Self::Other,
        }
    }

    /// True for a field that a message may hold once only, and that we would act on.
    pub fn is_single(self) -> bool {
        matches!(
            self,
            Self::From
                | Self::To
                | Self::CallId
                | Self::CSeq
                | Self::MaxForwards
                | Self::ContentLength
                | Self::ContentType
                | Self::Expires
                | Self::Date
        )
    }

    /// The long name, for reason phrases.
    pub fn label(self) -> &'static str {
        match self {
            Self::Via => "Via",
            Self::From => "From",
            Self::To => "To",
            Self::CallId => "Call-ID",
            Self::CSeq => "CSeq",
            Self::Contact => "Contact",
            Self::MaxForwards => "Max-Forwards",
            Self::Route => "Route",
            Self::RecordRoute => "Record-Route",
            Self::Expires => "Expires",
            Self::Authorization => "Authorization",
            Self::ProxyAuthorization => "Proxy-Authorization",
            Self::WwwAuthenticate => "WWW-Authenticate",
            Self::ProxyAuthenticate => "Proxy-Authenticate",
            Self::ContentLength => "Content-Length",
            Self::ContentType => "Content-Type",
            Self::Require => "Require",
            Self::ProxyRequire => "Proxy-Require",
            Self::Date => "Date",
            Self::UserAgent => "User-Agent",
            Self::Other => "header",
        }
    }
}

fn pick(name: &[u8], known: &[(&str, FieldName)]) -> FieldName {
    known
        .iter()
        .find(|(text, _)| name.eq_ignore_ascii_case(text.as_bytes()))
        .map_or(FieldName::Other, |(_, field)| *field)
}

/// One header field: its name and where it lies.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// Which field.
    pub name: FieldName,
    /// From the first byte of the name to one past the CRLF, folds included.
    pub line: Span,
    /// The value without surrounding white space; folds are still in it.
    pub value: Span,
}
