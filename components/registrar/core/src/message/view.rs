//! What a SIP element must know about a message before it acts on it (RFC 3261 8.1.1, 8.2, 16.3).

use super::Method;
use super::field::FieldName;
use super::name_addr::NameAddr;
use super::read::{Message, Start};
use super::scan::{is_space, is_token, parse_number, trim};
use super::uri::Uri;
use super::via::Via;

/// What is wrong with a message that can still be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Defect {
    /// A line of the header section is not a header field.
    #[error("Malformed Header Line")]
    HeaderLine,
    /// Spaces or characters in the request line that must not be there.
    #[error("Malformed Request Line")]
    RequestLine,
    /// The Request-URI is malformed or has headers.
    #[error("Malformed Request-URI")]
    RequestUri,
    /// Not SIP/2.0.
    #[error("Version Not Supported")]
    Version,
    /// A field that must be there is not.
    #[error("Missing {}", .0.label())]
    Missing(FieldName),
    /// A field that may be there once is there more often.
    #[error("Duplicate {}", .0.label())]
    Duplicate(FieldName),
    /// A field's value is malformed or out of range.
    #[error("Malformed {}", .0.label())]
    Invalid(FieldName),
    /// CSeq names another method than the request line.
    #[error("CSeq Does Not Match Method")]
    MethodMismatch,
    /// Content-Length announces more than there is.
    #[error("Body Shorter Than Content-Length")]
    BodyShort,
}

impl Defect {
    /// The status of the answer to such a request.
    pub fn status(self) -> u16 {
        match self {
            Self::Version => 505,
            Self::HeaderLine
            | Self::RequestLine
            | Self::RequestUri
            | Self::Missing(_)
            | Self::Duplicate(_)
            | Self::Invalid(_)
            | Self::MethodMismatch
            | Self::BodyShort => 400,
        }
    }
}

/// The CSeq field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CSeq<'a> {
    /// The number, below 2^31.
    pub number: u32,
    /// The method's name.
    pub method: &'a [u8],
}

impl<'a> CSeq<'a> {
    fn parse(bytes: &'a [u8]) -> Option<Self> {
        let gap = bytes.iter().position(|&byte| is_space(byte))?;
        let number = parse_number(&bytes[..gap]).and_then(|number| u32::try_from(number).ok())?;
        let method = trim(&bytes[gap..]);
        (number < 1 << 31 && is_token(method)).then_some(Self { number, method })
    }
}

/// A checked request.
#[derive(Clone, Copy, Debug)]
pub struct Request<'m> {
    /// The message.
    pub message: &'m Message,
    /// The method.
    pub method: Method,
    /// The method as it was written.
    pub method_name: &'m [u8],
    /// The Request-URI.
    pub uri: Uri<'m>,
    /// The topmost Via.
    pub via: Via<'m>,
    /// From.
    pub from: NameAddr<'m>,
    /// To.
    pub to: NameAddr<'m>,
    /// Call-ID.
    pub call_id: &'m [u8],
    /// CSeq.
    pub cseq: CSeq<'m>,
    /// Max-Forwards, 0 to 255.
    pub max_forwards: Option<u8>,
}

/// A checked response.
#[derive(Clone, Copy, Debug)]
pub struct Response<'m> {
    /// The message.
    pub message: &'m Message,
    /// 100 to 699.
    pub status: u16,
    /// The topmost Via.
    pub via: Via<'m>,
    /// CSeq.
    pub cseq: CSeq<'m>,
}

impl Message {
    /// This message as a request, or what is wrong with it.
    ///
    /// # Panics
    /// Never; a response is reported as [`Defect::RequestLine`].
    pub fn request(&self) -> Result<Request<'_>, Defect> {
        let Start::Request { method, name, uri, version } = self.start else { return Err(Defect::RequestLine) };
        check_version(version.of(&self.buffer))?;
        let uri = uri.of(&self.buffer);
        if uri.is_empty() || uri.iter().any(|&byte| is_space(byte)) {
            return Err(Defect::RequestLine);
        }
        if let Some(defect) = self.defect {
            return Err(defect);
        }
        let uri = Uri::parse(uri).filter(|uri| uri.headers.is_none()).ok_or(Defect::RequestUri)?;
        let method_name = name.of(&self.buffer);
        let cseq = self.cseq()?;
        if cseq.method != method_name {
            return Err(Defect::MethodMismatch);
        }
        self.check_date()?;
        Ok(Request {
            message: self,
            method,
            method_name,
            uri,
            via: self.checked_vias()?,
            from: self.address(FieldName::From)?,
            to: self.address(FieldName::To)?,
            call_id: self.call_id()?,
            cseq,
            max_forwards: self.max_forwards()?,
        })
    }

    /// This message as a response, or what is wrong with it.
    pub fn response(&self) -> Result<Response<'_>, Defect> {
        let Start::Response { status } = self.start else { return Err(Defect::RequestLine) };
        if let Some(defect) = self.defect {
            return Err(defect);
        }
        self.call_id()?;
        self.address(FieldName::From)?;
        self.address(FieldName::To)?;
        Ok(Response { message: self, status, via: self.checked_vias()?, cseq: self.cseq()? })
    }

    /// The topmost Via, when it can be read; also of a message with other defects.
    pub fn top_via(&self) -> Option<Via<'_>> {
        let span = self.items(FieldName::Via).next()?.ok()?;
        Via::parse(span.of(&self.buffer))
    }

    /// All Via values, topmost first; an unreadable one ends the walk.
    pub fn vias(&self) -> impl Iterator<Item = Via<'_>> {
        self.items(FieldName::Via).map_while(|span| Via::parse(span.ok()?.of(&self.buffer)))
    }

    fn checked_vias(&self) -> Result<Via<'_>, Defect> {
        let mut top = None;
        for span in self.items(FieldName::Via) {
            let via = Via::parse(span?.of(&self.buffer)).ok_or(Defect::Invalid(FieldName::Via))?;
            top.get_or_insert(via);
        }
        top.ok_or(Defect::Missing(FieldName::Via))
    }

    fn address(&self, name: FieldName) -> Result<NameAddr<'_>, Defect> {
        let value = self.value(name).ok_or(Defect::Missing(name))?;
        NameAddr::parse(value).ok_or(Defect::Invalid(name))
    }

    fn call_id(&self) -> Result<&[u8], Defect> {
        let value = self.value(FieldName::CallId).ok_or(Defect::Missing(FieldName::CallId))?;
        let valid = !value.is_empty() && value.len() <= MAX_CALL_ID_BYTES && !value.iter().any(|&byte| is_space(byte));
        valid.then_some(value).ok_or(Defect::Invalid(FieldName::CallId))
    }

    fn cseq(&self) -> Result<CSeq<'_>, Defect> {
        let value = self.value(FieldName::CSeq).ok_or(Defect::Missing(FieldName::CSeq))?;
        CSeq::parse(value).ok_or(Defect::Invalid(FieldName::CSeq))
    }

    fn max_forwards(&self) -> Result<Option<u8>, Defect> {
        let Some(value) = self.value(FieldName::MaxForwards) else { return Ok(None) };
        parse_number(value)
            .and_then(|number| u8::try_from(number).ok())
            .map(Some)
            .ok_or(Defect::Invalid(FieldName::MaxForwards))
    }

    /// SIP dates are always GMT (RFC 3261 20.17); some phones call it UTC.
    fn check_date(&self) -> Result<(), Defect> {
        match self.value(FieldName::Date) {
            Some(date) if !date.ends_with(b"GMT") && !date.ends_with(b"UTC") => Err(Defect::Invalid(FieldName::Date)),
            _ => Ok(()),
        }
    }
}

/// Longest Call-ID; it is kept with every binding and transaction.
const MAX_CALL_ID_BYTES: usize = 1_024;

fn check_version(version: &[u8]) -> Result<(), Defect> {
    if version.eq_ignore_ascii_case(b"SIP/2.0") {
        return Ok(());
    }
    let digits = version.get(4..).unwrap_or_default();
    let other_version = digits.contains(&b'.') && digits.iter().all(|byte| byte.is_ascii_digit() || *byte == b'.');
    Err(if other_version { Defect::Version } else { Defect::RequestLine })
}
