//! Bencode, in which rtpengine's ng protocol is written: byte strings, numbers, lists and dictionaries.

/// Deepest nesting that is read: rtpengine's answers have five levels.
const MAX_DEPTH: usize = 16;

/// A value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// Bytes.
    Text(Vec<u8>),
    /// A whole number.
    Number(i64),
    /// Values.
    List(Vec<Value>),
    /// Values by name, in the order they are written.
    Dictionary(Vec<(Vec<u8>, Value)>),
}

impl Value {
    /// A string.
    pub fn text(text: impl AsRef<[u8]>) -> Self {
        Self::Text(text.as_ref().to_vec())
    }

    /// A list of strings.
    pub fn texts(texts: &[&str]) -> Self {
        Self::List(texts.iter().map(Self::text).collect())
    }

    /// A dictionary.
    pub fn dictionary(entries: Vec<(&str, Self)>) -> Self {
        Self::Dictionary(entries.into_iter().map(|(name, value)| (name.as_bytes().to_vec(), value)).collect())
    }

    /// A dictionary's value of this name.
    pub fn get(&self, name: &str) -> Option<&Self> {
        match self {
            Self::Dictionary(entries) => entries.iter().find(|(key, _)| key == name.as_bytes()).map(|(_, value)| value),
            Self::Text(_) | Self::Number(_) | Self::List(_) => None,
        }
    }

    /// The bytes of a string.
    pub fn bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Text(text) => Some(text),
            Self::Number(_) | Self::List(_) | Self::Dictionary(_) => None,
        }
    }

    /// As it is sent.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(1_024);
        self.write(&mut out);
        out
    }

    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Text(text) => write_text(text, out),
            Self::Number(number) => out.extend_from_slice(format!("i{number}e").as_bytes()),
            Self::List(values) => {
                out.push(b'l');
                values.iter().for_each(|value| value.write(out));
                out.push(b'e');
            }
            Self::Dictionary(entries) => {
                out.push(b'd');
                for (name, value) in entries {
                    write_text(name, out);
                    value.write(out);
                }
                out.push(b'e');
            }
        }
    }

    /// Reads one value; none when it is broken, too deep, or something follows.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut rest = bytes;
        let value = read(&mut rest, 0)?;
        rest.is_empty().then_some(value)
    }
}

fn write_text(text: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(format!("{}:", text.len()).as_bytes());
    out.extend_from_slice(text);
}

fn read(rest: &mut &[u8], depth: usize) -> Option<Value> {
    if depth > MAX_DEPTH {
        return None;
    }
    match *rest.first()? {
        b'i' => {
            let end = rest.iter().position(|&byte| byte == b'e')?;
            let number = str::from_utf8(&rest[1..end]).ok()?.parse().ok()?;
            *rest = &rest[end + 1..];
            Some(Value::Number(number))
        }
        b'l' => {
            *rest = &rest[1..];
            let mut values = Vec::new();
            while *rest.first()? != b'e' {
                values.push(read(rest, depth + 1)?);
            }
            *rest = &rest[1..];
            Some(Value::List(values))
        }
        b'd' => {
            *rest = &rest[1..];
            let mut entries = Vec::new();
            while *rest.first()? != b'e' {
                entries.push((read_text(rest)?, read(rest, depth + 1)?));
            }
            *rest = &rest[1..];
            Some(Value::Dictionary(entries))
        }
        _ => read_text(rest).map(Value::Text),
    }
}

fn read_text(rest: &mut &[u8]) -> Option<Vec<u8>> {
    let colon = rest.iter().take(7).position(|&byte| byte == b':')?;
    let length: usize = str::from_utf8(&rest[..colon]).ok()?.parse().ok()?;
    let text = rest.get(colon + 1..colon + 1 + length)?.to_vec();
    *rest = &rest[colon + 1 + length..];
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_as_written_and_broken_ones_are_none() {
        let value = Value::dictionary(vec![
            ("command", Value::text("offer")),
            ("replace", Value::texts(&["origin", "session-connection"])),
            ("n", Value::Number(-7)),
        ]);
        let bytes = value.encode();
        assert_eq!(bytes, b"d7:command5:offer7:replacel6:origin18:session-connectione1:ni-7ee");
        assert_eq!(Value::decode(&bytes), Some(value));
        for end in 0..bytes.len() {
            assert_eq!(Value::decode(&bytes[..end]), None);
        }
        for broken in [&b"5:abc"[..], b"99999999:a", b"ie", b"d1:ae", b"x", b"1:ab", &[b'l'; 100_000]] {
            assert_eq!(Value::decode(broken), None);
        }
    }
}
