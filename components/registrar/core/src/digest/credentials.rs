//! A client's credentials and what they should be (RFC 7616 3.4, RFC 2617 for answers without qop).

use md5::Md5;
use sha2::Sha256;

use crate::message::unquote;

/// A hash algorithm we offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// SHA-256.
    Sha256,
    /// MD5, for phones that know nothing else.
    Md5,
}

impl Algorithm {
    /// Its name in header fields.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "SHA-256",
            Self::Md5 => "MD5",
        }
    }

    /// The hash of the parts joined by colons, in lower-case hex.
    pub fn hash(self, parts: &[&[u8]]) -> String {
        match self {
            Self::Sha256 => joined::<Sha256>(parts),
            Self::Md5 => joined::<Md5>(parts),
        }
    }
}

fn joined<D: sha2::Digest>(parts: &[&[u8]]) -> String {
    let mut hasher = D::new();
    for (at, part) in parts.iter().enumerate() {
        if at > 0 {
            hasher.update(b":");
        }
        hasher.update(part);
    }
    hex(&hasher.finalize())
}

/// What we hold of a password: `hash(user:realm:password)` by each algorithm, lower-case hex.
#[derive(Clone, PartialEq, Eq)]
pub struct Ha1 {
    /// 32 hex digits.
    pub md5: String,
    /// 64 hex digits.
    pub sha256: String,
}

/// As good as a password: stays out of logs.
impl std::fmt::Debug for Ha1 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Ha1")
    }
}

/// The `Digest` credentials of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    pub(super) user: String,
    pub(super) realm: String,
    pub(super) nonce: String,
    pub(super) response: String,
    pub(super) count: Option<u32>,
    uri: Vec<u8>,
    count_text: Vec<u8>,
    client_nonce: Vec<u8>,
    pub(super) algorithm: Algorithm,
}

/// Longest user name, realm, nonce: more is not ours.
const MAX_TEXT: usize = 255;

impl Credentials {
    /// Reads the value of an Authorization field; none for other schemes and for what we did not offer (`auth-int`,
    /// session algorithms).
    pub fn parse(value: &[u8]) -> Option<Self> {
        let (scheme, rest) = value.split_at_checked(6)?;
        if !scheme.eq_ignore_ascii_case(b"Digest") || !rest.first().is_some_and(u8::is_ascii_whitespace) {
            return None;
        }
        let fields = Fields(rest);
        let algorithm = match fields.text("algorithm")? {
            None => Algorithm::Md5,
            Some(name) if name.eq_ignore_ascii_case("MD5") => Algorithm::Md5,
            Some(name) if name.eq_ignore_ascii_case("SHA-256") => Algorithm::Sha256,
            Some(_) => return None,
        };
        let count_text = match fields.text("qop")? {
            None => None,
            Some(qop) if qop.eq_ignore_ascii_case("auth") => Some(fields.text("nc")??),
            Some(_) => return None,
        };
        let count = match &count_text {
            Some(text) if text.len() == 8 => Some(u32::from_str_radix(text, 16).ok()?),
            Some(_) => return None,
            None => None,
        };
        let client_nonce = match count {
            Some(_) => fields.text("cnonce")??,
            None => String::new(),
        };
        Some(Self {
            user: fields.text("username")??,
            realm: fields.text("realm")??,
            nonce: fields.text("nonce")??,
            response: fields.text("response")??.to_ascii_lowercase(),
            uri: fields.value("uri")?.to_vec(),
            count,
            count_text: count_text.unwrap_or_default().into_bytes(),
            client_nonce: client_nonce.into_bytes(),
            algorithm,
        })
    }

    /// The realm the credentials are for.
    pub fn realm(&self) -> &str {
        &self.realm
    }

    /// Whose they are.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// The response that the holder of `ha1` gives.
    pub(super) fn expected(&self, ha1: &Ha1, method: &[u8]) -> String {
        let ha1 = match self.algorithm {
            Algorithm::Sha256 => &ha1.sha256,
            Algorithm::Md5 => &ha1.md5,
        };
        let ha2 = self.algorithm.hash(&[method, &self.uri]);
        let (ha1, nonce, ha2) = (ha1.as_bytes(), self.nonce.as_bytes(), ha2.as_bytes());
        match self.count {
            Some(_) => self.algorithm.hash(&[ha1, nonce, &self.count_text, &self.client_nonce, b"auth", ha2]),
            None => self.algorithm.hash(&[ha1, nonce, ha2]),
        }
    }
}

/// `name=value` pairs parted by commas.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn value(&self, name: &str) -> Option<std::borrow::Cow<'a, [u8]>> {
        for span in crate::message::ListItems::new(self.0) {
            let item = span.ok()?.of(self.0);
            let equals = item.iter().position(|&byte| byte == b'=')?;
            if item[..equals].trim_ascii().eq_ignore_ascii_case(name.as_bytes()) {
                return Some(unquote(item[equals + 1..].trim_ascii()));
            }
        }
        None
    }

    /// `Some(None)` when absent, none when it is not short UTF-8.
    fn text(&self, name: &str) -> Option<Option<String>> {
        match self.value(name) {
            None => Some(None),
            Some(value) if value.len() <= MAX_TEXT => String::from_utf8(value.into_owned()).ok().map(Some),
            Some(_) => None,
        }
    }
}

/// Lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    text
}
