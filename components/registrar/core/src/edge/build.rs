//! Requests we make ourselves: ACK and CANCEL on a branch (RFC 3261 9.1, 17.1.1.3), ACK and BYE of a call nobody waits
//! for any more (13.2.2.4).

use crate::message::{FieldName, Message, NameAddr};

/// ACK for a final response that is not 2xx, from the INVITE as it was sent.
pub(super) fn ack_failure(invite: &[u8], response: &Message) -> Option<Vec<u8>> {
    let sent = Message::read(invite).ok()?;
    let to = line(response, FieldName::To)?;
    on_branch(&sent, "ACK", to)
}

/// CANCEL of an INVITE as it was sent.
pub(super) fn cancel(invite: &[u8]) -> Option<Vec<u8>> {
    let sent = Message::read(invite).ok()?;
    let to = line(&sent, FieldName::To)?;
    on_branch(&sent, "CANCEL", to)
}

/// ACK and BYE for a 2xx that nobody waits for. Each has a branch of its own.
pub(super) fn release(invite: &[u8], response: &Message, branches: [&str; 2]) -> Option<[Vec<u8>; 2]> {
    let sent = Message::read(invite).ok()?;
    let number = sent.request().ok()?.cseq.number;
    // A 2xx must have a Contact; a phone that leaves it out is reached where the call found it.
    let contact = response.items(FieldName::Contact).next().and_then(Result::ok);
    let contact = contact.and_then(|span| NameAddr::parse(span.of(response.bytes())));
    let target = contact.map_or(sent.request().ok()?.uri.raw, |contact| contact.uri.raw).to_vec();
    let place = sent.top_via()?;
    let (transport, sent_by) = (place.transport.to_vec(), place.sent_by.to_vec());
    let make = |method: &str, number: u32, branch: &str| -> Option<Vec<u8>> {
        let mut out = Vec::with_capacity(512);
        push(&mut out, &[method.as_bytes(), b" ", &target, b" SIP/2.0\r\n"]);
        push(&mut out, &[b"Via: SIP/2.0/", &transport, b" ", &sent_by, b";branch=", branch.as_bytes(), b";rport\r\n"]);
        push(&mut out, &[line(&sent, FieldName::From)?, line(response, FieldName::To)?]);
        push(&mut out, &[line(&sent, FieldName::CallId)?]);
        finish(&mut out, method, number);
        Some(out)
    };
    Some([make("ACK", number, branches[0])?, make("BYE", number + 1, branches[1])?])
}

fn on_branch(sent: &Message, method: &str, to: &[u8]) -> Option<Vec<u8>> {
    let request = sent.request().ok()?;
    let mut out = Vec::with_capacity(512);
    push(&mut out, &[method.as_bytes(), b" ", request.uri.raw, b" SIP/2.0\r\n", b"Via: "]);
    let via = sent.items(FieldName::Via).next()?.ok()?;
    push(&mut out, &[via.of(sent.bytes()), b"\r\n"]);
    for field in sent.fields().iter().filter(|field| field.name == FieldName::Route) {
        push(&mut out, &[field.line.of(sent.bytes())]);
    }
    push(&mut out, &[line(sent, FieldName::From)?, to, line(sent, FieldName::CallId)?]);
    finish(&mut out, method, request.cseq.number);
    Some(out)
}

fn finish(out: &mut Vec<u8>, method: &str, number: u32) {
    let tail = format!("CSeq: {number} {method}\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n");
    out.extend_from_slice(tail.as_bytes());
}

fn line(message: &Message, name: FieldName) -> Option<&[u8]> {
    message.field(name).map(|field| field.line.of(message.bytes()))
}

fn push(out: &mut Vec<u8>, parts: &[&[u8]]) {
    for part in parts {
        out.extend_from_slice(part);
    }
}
