//! What a REGISTER asks for (RFC 3261 10.3 steps 6 and 7).

use super::binding::Quality;
use super::{DEFAULT_EXPIRES_S, MAX_EXPIRES_S};
use crate::message::{Defect, FieldName, Message, NameAddr, Params, Uri, unquote};

/// Longest contact URI, and longest parameters: they are stored and echoed. Softphones with push parameters need 1 to 2 KB.
const MAX_CONTACT_BYTES: usize = 2_048;
/// Longest `User-Agent` kept.
const MAX_USER_AGENT_BYTES: usize = 128;

/// One contact of a REGISTER.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContactRequest {
    /// See [`super::Binding::key`].
    pub key: String,
    /// The URI.
    pub uri: String,
    /// Its other header parameters.
    pub params: String,
    /// Preference.
    pub q: Quality,
    /// Seconds, 0 to remove; not yet checked against the minimum.
    pub expires_s: u32,
    /// `+sip.instance`.
    pub instance: Option<String>,
    /// `reg-id`.
    pub reg_id: Option<u32>,
}

/// The contacts of a REGISTER.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Contacts {
    /// None: a query.
    Query,
    /// `*` with `Expires: 0`.
    RemoveAll,
    /// These.
    These(Vec<ContactRequest>),
}

/// A REGISTER, without who sent it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegisterRequest {
    /// Call-ID.
    pub call_id: String,
    /// CSeq number.
    pub cseq: u32,
    /// From tag.
    pub from_tag: String,
    /// What it asks for.
    pub contacts: Contacts,
    /// `User-Agent`.
    pub user_agent: String,
}

impl RegisterRequest {
    /// Reads the fields that a registrar looks at.
    pub fn read(message: &Message) -> Result<Self, Defect> {
        let request = message.request()?;
        let call_id = text(request.call_id).ok_or(Defect::Invalid(FieldName::CallId))?;
        let agent = message.value(FieldName::UserAgent).unwrap_or_default();
        let agent = String::from_utf8_lossy(&agent[..agent.len().min(MAX_USER_AGENT_BYTES)]);
        Ok(Self {
            call_id,
            cseq: request.cseq.number,
            from_tag: String::from_utf8_lossy(request.from.tag().unwrap_or_default()).into_owned(),
            contacts: read_contacts(message)?,
            user_agent: agent.chars().filter(|letter| !letter.is_control()).collect(),
        })
    }
}

fn read_contacts(message: &Message) -> Result<Contacts, Defect> {
    let header_expires = message.value(FieldName::Expires).map(read_expires);
    let spans = message.items(FieldName::Contact).collect::<Result<Vec<_>, _>>()?;
    match spans.as_slice() {
        [] => Ok(Contacts::Query),
        [only] if only.of(message.bytes()) == b"*" => match header_expires {
            Some(0) => Ok(Contacts::RemoveAll),
            _ => Err(Defect::Invalid(FieldName::Expires)),
        },
        spans => spans
            .iter()
            .map(|span| read_contact(span.of(message.bytes()), header_expires))
            .collect::<Option<Vec<_>>>()
            .map(Contacts::These)
            .ok_or(Defect::Invalid(FieldName::Contact)),
    }
}

fn read_contact(bytes: &[u8], header_expires: Option<u32>) -> Option<ContactRequest> {
    let contact = NameAddr::parse(bytes)?;
    let uri = text(contact.uri.raw).filter(|uri| uri.len() <= MAX_CONTACT_BYTES)?;
    let q = contact.params.value("q").map_or(Some(Quality(1_000)), Quality::parse)?;
    let own_expires = contact.params.value("expires").map(read_expires);
    let instance = contact.params.value("+sip.instance").and_then(|value| text(&unquote(value)));
    let reg_id = contact.params.value("reg-id").and_then(|value| str::from_utf8(value).ok()?.parse().ok());
    Some(ContactRequest {
        key: binding_key(&contact.uri, instance.as_deref(), reg_id),
        params: other_params(contact.params)?,
        uri,
        q,
        expires_s: own_expires.or(header_expires).unwrap_or(DEFAULT_EXPIRES_S),
        instance,
        reg_id,
    })
}

/// Delta seconds. Too large is the largest; malformed is the default's larger brother, 3600 (RFC 3261 10.2.1.1).
fn read_expires(bytes: &[u8]) -> u32 {
    if bytes.is_empty() || !bytes.iter().all(u8::is_ascii_digit) {
        return MAX_EXPIRES_S;
    }
    str::from_utf8(bytes).ok().and_then(|digits| digits.parse().ok()).unwrap_or(u32::MAX)
}

/// A phone that names its instance is found by it wherever it moves (RFC 5626 6); others by their contact, compared as
/// RFC 3261 19.1.4 says for the parts that make an address another address.
fn binding_key(uri: &Uri<'_>, instance: Option<&str>, reg_id: Option<u32>) -> String {
    if let Some(instance) = instance {
        return format!("{instance}#{}", reg_id.unwrap_or(0));
    }
    if !uri.is_sip() {
        return String::from_utf8_lossy(uri.raw).into_owned();
    }
    let user = uri.user_text().unwrap_or_default();
    let port = uri.port.map(|port| format!(":{port}")).unwrap_or_default();
    let transport = uri.params.value("transport").unwrap_or_default().to_ascii_lowercase();
    let scheme = if uri.scheme == crate::message::Scheme::Sips { "sips" } else { "sip" };
    format!("{scheme}:{user}@{}{port};{}", uri.host.to_key(), String::from_utf8_lossy(&transport))
}

fn other_params(params: Params<'_>) -> Option<String> {
    let mut kept = String::new();
    for (name, value) in params.iter() {
        if name.eq_ignore_ascii_case(b"expires") || name.eq_ignore_ascii_case(b"q") {
            continue;
        }
        kept.push(';');
        kept.push_str(&text(name)?);
        if let Some(value) = value {
            kept.push('=');
            kept.push_str(&text(value)?);
        }
    }
    (kept.len() <= MAX_CONTACT_BYTES).then_some(kept)
}

/// UTF-8 without control characters (a fold in a quoted string would be one).
fn text(bytes: &[u8]) -> Option<String> {
    let text = str::from_utf8(bytes).ok()?;
    (!text.chars().any(char::is_control)).then(|| text.to_owned())
}
