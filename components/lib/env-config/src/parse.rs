//! From text to values that cannot be wrong inside. Each function's error says what is wrong and never repeats the text.

use crate::Url;
use std::fmt::Display;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;

/// Longest text of one variable, in bytes.
pub(crate) const TEXT_MAX: usize = 4_096;
/// Most elements of one list.
pub(crate) const LIST_MAX: usize = 64;

/// A whole number that a variable may hold.
pub trait Number: FromStr + PartialOrd + Display + Copy + 'static {}
impl Number for u8 {}
impl Number for u16 {}
impl Number for u32 {}
impl Number for u64 {}
impl Number for usize {}

pub(crate) fn number<N: Number>(text: &str, range: &RangeInclusive<N>) -> Result<N, String> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err("is not a whole number".into());
    }
    // All digits, so the only way to fail is a number too large for the type.
    match text.parse() {
        Ok(number) if range.contains(&number) => Ok(number),
        Ok(_) | Err(_) => Err("is outside the range".into()),
    }
}

pub(crate) fn flag(text: &str) -> Result<bool, String> {
    match text {
        "true" | "yes" | "on" | "1" => Ok(true),
        "false" | "no" | "off" | "0" => Ok(false),
        _ => Err("is neither true nor false".into()),
    }
}

pub(crate) fn line(text: &str) -> Result<String, String> {
    if text.chars().any(char::is_control) {
        return Err("has a control character in it".into());
    }
    Ok(text.to_owned())
}

pub(crate) fn socket_address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| "is not an IP address with a port".into())
}

pub(crate) fn path(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(line(text)?);
    if path.is_absolute() { Ok(path) } else { Err("is not an absolute path".into()) }
}

pub(crate) fn choice<T: Clone>(text: &str, choices: &[(&'static str, T)]) -> Result<T, String> {
    choices
        .iter()
        .find(|(word, _)| *word == text)
        .map(|(_, value)| value.clone())
        .ok_or_else(|| "is none of the accepted words".into())
}

/// Elements separated by commas; blanks around them are dropped, an empty element is a fault.
pub(crate) fn client_url(text: &str, schemes: &[&str]) -> Result<String, String> {
    if !text.starts_with('/') {
        return Url::parse(text, schemes).map(|url| url.expose().to_owned());
    }
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/-_.~".contains(c);
    if text.starts_with("//") || text.len() > 256 || !text.chars().all(is_plain) {
        return Err("is no path of letters, digits and /-_.~".into());
    }
    Ok(text.to_owned())
}

pub(crate) fn list<T>(text: &str, element: impl Fn(&str) -> Result<T, String>) -> Result<Vec<T>, String> {
    let parts: Vec<&str> = text.split(',').map(str::trim).collect();
    if parts.len() > LIST_MAX {
        return Err(format!("has more than {LIST_MAX} elements"));
    }
    let numbered = parts.into_iter().enumerate();
    numbered.map(|(at, part)| element(part).map_err(|why| format!("element {}: {why}", at + 1))).collect()
}
