//! A message without what proves somebody or opens somebody's media.

/// Header fields with credentials, in lower case (RFC 3261 20.7, 20.28; RFC 3329; RFC 3892's are no secrets).
const SECRET_FIELDS: [&[u8]; 3] = [b"authorization", b"proxy-authorization", b"authentication-info"];
/// Lines of a session description with keys or passwords (RFC 4568 9.1, RFC 8839 5.4, RFC 8866 5.12).
const SECRET_LINES: [&[u8]; 3] = [b"a=crypto:", b"a=ice-pwd:", b"k="];

/// The message as text, with secrets left out.
pub(super) fn redact(bytes: &[u8]) -> String {
    let mut text = Vec::with_capacity(bytes.len());
    let mut hides = false;
    let mut in_body = false;
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        in_body |= line == b"\r\n" || line == b"\n";
        // A field goes on in lines that begin with a blank (RFC 3261 7.3.1).
        if hides && !in_body && line.first().is_some_and(|byte| matches!(byte, b' ' | b'\t')) {
            continue;
        }
        let secret = if in_body { secret_in_body(line) } else { secret_in_field(line) };
        hides = secret.is_some();
        match secret {
            Some(start) => {
                text.extend_from_slice(&line[..start]);
                text.extend_from_slice(b"(left out)\r\n");
            }
            None => text.extend_from_slice(line),
        }
    }
    String::from_utf8(text).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

/// Where the secret of a header field's line begins.
fn secret_in_field(line: &[u8]) -> Option<usize> {
    let colon = line.iter().position(|byte| *byte == b':')?;
    let name = line[..colon].trim_ascii_end();
    let is_secret = SECRET_FIELDS.iter().any(|field| name.eq_ignore_ascii_case(field));
    is_secret.then(|| (colon + 2).min(line.len()))
}

/// Where the secret of a session description's line begins.
fn secret_in_body(line: &[u8]) -> Option<usize> {
    SECRET_LINES.iter().find(|prefix| line.starts_with(prefix)).map(|prefix| prefix.len())
}

#[cfg(test)]
mod tests {
    use super::redact;

    #[test]
    fn credentials_and_keys_are_left_out_and_nothing_else() {
        let message = "REGISTER sip:acme.example SIP/2.0\r\nAuthorization: Digest username=\"ada\",\r\n response=\"5ecret\"\r\n\
            proxy-AUTHORIZATION : Digest response=\"5ecret\"\r\nCSeq: 2 REGISTER\r\n\r\nv=0\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 \
            inline:5ecret\r\na=ice-pwd:5ecret\r\nk=clear:5ecret\r\na=fingerprint:sha-256 AA:BB\r\n";
        let expected = "REGISTER sip:acme.example SIP/2.0\r\nAuthorization: (left out)\r\nproxy-AUTHORIZATION : (left out)\r\n\
            CSeq: 2 REGISTER\r\n\r\nv=0\r\na=crypto:(left out)\r\na=ice-pwd:(left out)\r\nk=(left out)\r\na=fingerprint:sha-256 AA:BB\r\n";
        assert_eq!(redact(message.as_bytes()), expected);
    }

    #[test]
    fn two_secret_fields_one_after_the_other_are_both_left_out() {
        let message =
            "INVITE sip:a@b SIP/2.0\nAuthorization: 5ecret\nProxy-Authorization: 5ecret\n\tmore 5ecret\nTo: x\n\n";
        let text = redact(message.as_bytes());
        assert!(!text.contains("5ecret"), "{text}");
        assert!(text.ends_with("To: x\n\n"), "{text}");
    }

    #[test]
    fn bytes_that_are_no_text_are_replaced() {
        assert_eq!(redact(b"OPTIONS \xff SIP/2.0\r\n"), "OPTIONS \u{fffd} SIP/2.0\r\n");
    }
}
