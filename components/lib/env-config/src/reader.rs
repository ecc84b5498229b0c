//! The environment as it was at start, and what has been asked of it.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io::Read;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::parse::{self, Number, TEXT_MAX};
use crate::{Definition, Fault, Faults, Secret, Url, Variable, spelling};

/// Largest file that `NAME_FILE` may name, in bytes: room for a key with its chain.
const FILE_MAX: u64 = 65_536;

/// A snapshot of the environment. Variables are asked for by kind; each answer is `None` when a fault has been recorded,
/// so that the caller goes on asking and all faults come out together in [`Reader::load`].
#[derive(Debug)]
pub struct Reader {
    daemon: &'static str,
    variables: BTreeMap<String, Option<String>>,
    /// Where systemd put this unit's credentials; one named like a variable is that variable's value.
    credentials: Option<PathBuf>,
    definitions: Vec<Definition>,
    faults: Vec<Fault>,
}

impl Reader {
    /// Takes the snapshot of this process' environment; called once, first thing in `main`.
    #[must_use]
    pub fn from_process(daemon: &'static str) -> Self {
        let all = std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value)));
        Self::from_os_pairs(daemon, all)
    }

    /// An environment given as pairs, for tests and for the tables (which are made from an empty one).
    #[must_use]
    pub fn from_pairs<N: Into<String>, V: Into<String>>(
        daemon: &'static str,
        pairs: impl IntoIterator<Item = (N, V)>,
    ) -> Self {
        Self::from_os_pairs(daemon, pairs.into_iter().map(|(name, value)| (name.into(), OsString::from(value.into()))))
    }

    /// An environment without variables.
    #[must_use]
    pub fn empty(daemon: &'static str) -> Self {
        Self::from_os_pairs(daemon, std::iter::empty())
    }

    /// Keeps our variables; empty is unset, and one that is not UTF-8 is remembered as unreadable.
    fn from_os_pairs(daemon: &'static str, pairs: impl Iterator<Item = (String, OsString)>) -> Self {
        let (mut variables, mut credentials) = (BTreeMap::new(), None);
        for (name, value) in pairs.filter(|(_, value)| !value.is_empty()) {
            if name == "CREDENTIALS_DIRECTORY" {
                credentials = Some(PathBuf::from(value));
            } else if name.starts_with("RINGDOWN_") {
                variables.insert(name, value.into_string().ok());
            }
        }
        Self { daemon, variables, credentials, definitions: Vec::new(), faults: Vec::new() }
    }

    /// Runs the daemon's configuration function and judges the whole: the configuration, or every fault there is.
    pub fn load<C>(mut self, read: impl FnOnce(&mut Self) -> Option<C>) -> Result<C, Faults> {
        let config = read(&mut self);
        self.find_unknown();
        match config {
            Some(config) if self.faults.is_empty() => Ok(config),
            None if self.faults.is_empty() => Err(Faults(vec![Fault {
                name: self.daemon.to_owned(),
                problem: "its configuration function gave nothing and named no fault; this is a defect of the daemon"
                    .into(),
            }])),
            Some(_) | None => Err(Faults(self.faults)),
        }
    }

    /// The definitions a configuration function makes, found by running it on an empty environment.
    pub fn definitions<C>(daemon: &'static str, read: impl FnOnce(&mut Self) -> Option<C>) -> Vec<Definition> {
        let mut reader = Self::empty(daemon);
        // The values do not matter here: needed variables are missing on purpose.
        drop(read(&mut reader));
        reader.definitions
    }

    /// Records a fault that only the daemon can see, e.g. two values that exclude each other. `problem` must not contain
    /// a value.
    pub fn fault(&mut self, name: impl Into<String>, problem: impl Into<String>) {
        self.faults.push(Fault { name: name.into(), problem: problem.into() });
    }

    /// The daemon this environment is read for, e.g. `web-api`.
    #[must_use]
    pub fn daemon(&self) -> &'static str {
        self.daemon
    }

    /// A whole number within `range`.
    pub fn number<N: Number>(&mut self, name: &'static str, range: RangeInclusive<N>) -> Variable<'_, N> {
        let accepts = format!("a number from {} to {}", range.start(), range.end());
        Variable::new(self, name, accepts, Box::new(move |text| parse::number(text, &range)))
    }

    /// A time span in whole milliseconds within `range`; the name ends in `_MS`.
    pub fn duration_ms(&mut self, name: &'static str, range: RangeInclusive<u64>) -> Variable<'_, Duration> {
        let accepts = format!("milliseconds from {} to {}", range.start(), range.end());
        let parser = move |text: &str| parse::number(text, &range).map(Duration::from_millis);
        Variable::new(self, name, accepts, Box::new(parser))
    }

    /// `true`, `yes`, `on`, `1` or `false`, `no`, `off`, `0`.
    pub fn flag(&mut self, name: &'static str) -> Variable<'_, bool> {
        Variable::new(self, name, "true or false".into(), Box::new(parse::flag))
    }

    /// One line of text.
    pub fn text(&mut self, name: &'static str) -> Variable<'_, String> {
        Variable::new(self, name, "one line of text".into(), Box::new(parse::line))
    }

    /// A secret, best given by `NAME_FILE`.
    pub fn secret(&mut self, name: &'static str) -> Variable<'_, Secret> {
        let accepts = "a secret of one line, or a file with it".into();
        Variable::new(self, name, accepts, Box::new(|text| parse::line(text).map(Secret::new))).hidden()
    }

    /// An IP address with a port, e.g. `127.0.0.1:8002` or `[::1]:8002`; port 0 lets the system choose.
    pub fn socket_address(&mut self, name: &'static str) -> Variable<'_, SocketAddr> {
        Variable::new(self, name, "an address like 127.0.0.1:8002".into(), Box::new(parse::socket_address))
    }

    /// Several addresses separated by commas, at most 64.
    pub fn socket_addresses(&mut self, name: &'static str) -> Variable<'_, Vec<SocketAddr>> {
        let parser = |text: &str| parse::list(text, parse::socket_address);
        Variable::new(self, name, "addresses like 127.0.0.1:8002, separated by commas".into(), Box::new(parser))
    }

    /// The address of a peer with one of `schemes`; it may come from a file, since it may hold a password.
    pub fn url(&mut self, name: &'static str, schemes: &'static [&'static str]) -> Variable<'_, Url> {
        let accepts = format!("a URL that starts with {}", or_list(schemes, "://"));
        Variable::new(self, name, accepts, Box::new(|text| Url::parse(text, schemes))).or_file()
    }

    /// Several addresses of peers separated by commas, at most 64. (Here a comma always begins the next URL.)
    pub fn urls(&mut self, name: &'static str, schemes: &'static [&'static str]) -> Variable<'_, Vec<Url>> {
        let accepts = format!("URLs that start with {}, separated by commas", or_list(schemes, "://"));
        let parser = |text: &str| parse::list(text, |element| Url::parse(element, schemes));
        Variable::new(self, name, accepts, Box::new(parser)).or_file()
    }

    /// Where clients reach something: a URL with one of `schemes`, or a path on the host that they asked (a load balancer leads
    /// both to their places).
    pub fn client_url(&mut self, name: &'static str, schemes: &'static [&'static str]) -> Variable<'_, String> {
        let accepts = format!(
            "a URL that starts with {}, or a path like /ws on the host that was asked",
            or_list(schemes, "://")
        );
        Variable::new(self, name, accepts, Box::new(|text| parse::client_url(text, schemes)))
    }

    /// Several of [`Reader::client_url`] separated by commas, at most 64.
    pub fn client_urls(&mut self, name: &'static str, schemes: &'static [&'static str]) -> Variable<'_, Vec<String>> {
        let accepts = format!(
            "URLs that start with {}, or paths like /sip on the host that was asked, separated by commas",
            or_list(schemes, "://")
        );
        let parser = |text: &str| parse::list(text, |element| parse::client_url(element, schemes));
        Variable::new(self, name, accepts, Box::new(parser))
    }

    /// An absolute path. Whether something is there is found out when it is opened.
    pub fn path(&mut self, name: &'static str) -> Variable<'_, PathBuf> {
        Variable::new(self, name, "an absolute path".into(), Box::new(parse::path))
    }

    /// One of some words, each with its value.
    pub fn choice<T: Clone + 'static>(
        &mut self,
        name: &'static str,
        choices: &'static [(&'static str, T)],
    ) -> Variable<'_, T> {
        let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
        Variable::new(self, name, or_list(&words, ""), Box::new(|text| parse::choice(text, choices)))
    }

    /// Anything else: `accepts` completes "it needs ...", and the parser's error completes "NAME ..." without ever
    /// repeating the text it was given.
    pub fn parsed<T>(
        &mut self,
        name: &'static str,
        accepts: impl Into<String>,
        parser: impl Fn(&str) -> Result<T, String> + 'static,
    ) -> Variable<'_, T> {
        Variable::new(self, name, accepts.into(), Box::new(parser))
    }

    /// The text of a variable, from the environment or from its file; `None` when a fault has been recorded.
    pub(crate) fn take(&mut self, definition: &Definition) -> Option<Option<String>> {
        let text = self.look_up(definition);
        match text {
            Ok(text) => Some(text),
            Err(problem) => {
                self.fault(definition.name, problem);
                self.define(definition.clone());
                None
            }
        }
    }

    /// Remembers a definition for the tables. Asked for twice, a variable keeps its first one.
    pub(crate) fn define(&mut self, definition: Definition) {
        if !self.definitions.iter().any(|known| known.name == definition.name) {
            self.definitions.push(definition);
        }
    }

    fn look_up(&self, definition: &Definition) -> Result<Option<String>, String> {
        let direct = self.raw(definition.name)?;
        let file = if definition.from_file { self.raw(&definition.file_name())? } else { None };
        let text = match (direct, file) {
            (Some(_), Some(_)) => return Err(format!("is set, and {} too; set one", definition.file_name())),
            (Some(text), None) => Some(text.to_owned()),
            (None, Some(path)) => Some(read_file(Path::new(path)).map_err(|why| file_problem(definition, &why))?),
            (None, None) => self.credential(definition)?,
        };
        if text.as_ref().is_some_and(|text| !definition.secret && text.len() > TEXT_MAX) {
            return Err(format!("is longer than {TEXT_MAX} bytes"));
        }
        Ok(text)
    }

    /// A variable that may come from a file and is not set comes from the credential of its name, where there is one.
    fn credential(&self, definition: &Definition) -> Result<Option<String>, String> {
        let Some(folder) = self.credentials.as_ref().filter(|_| definition.from_file) else { return Ok(None) };
        match read_file(&folder.join(definition.name)) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(format!("cannot be read from the credential of its name: {error}")),
        }
    }

    fn raw(&self, name: &str) -> Result<Option<&str>, String> {
        match self.variables.get(name) {
            None => Ok(None),
            Some(Some(text)) => Ok(Some(text)),
            Some(None) => Err("is not UTF-8 text".into()),
        }
    }

    /// Names nobody asked for: those with this daemon's prefix, and those that look like a misspelt variable of ours.
    fn find_unknown(&mut self) {
        let known: BTreeSet<String> = self.definitions.iter().flat_map(Definition::names).collect();
        let unknown = self.variables.keys().filter(|name| !known.contains(*name));
        let unset = || known.iter().filter(|name| !self.variables.contains_key(*name)).map(String::as_str);
        let faults: Vec<Fault> = unknown
            .filter(|name| !spelling::belongs_to_another(self.daemon, name))
            .filter_map(|name| {
                let problem = match spelling::nearest(name, unset()) {
                    Some(meant) => format!("is not known; did you mean {meant}?"),
                    None if spelling::belongs_to(self.daemon, name) => format!("is not known to {}", self.daemon),
                    None => return None,
                };
                Some(Fault { name: name.clone(), problem })
            })
            .collect();
        self.faults.extend(faults);
    }
}

fn read_file(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    let file = std::fs::File::open(path)?;
    if !file.metadata()?.is_file() {
        return Err(std::io::Error::other("is not a regular file"));
    }
    file.take(FILE_MAX + 1).read_to_string(&mut text)?;
    if text.len() as u64 > FILE_MAX {
        return Err(std::io::Error::other(format!("is longer than {FILE_MAX} bytes")));
    }
    let trimmed = text.trim();
    if trimmed.is_empty() { Err(std::io::Error::other("is empty")) } else { Ok(trimmed.to_owned()) }
}

/// The path is a value too, so only the kind of failure is told.
fn file_problem(definition: &Definition, why: &std::io::Error) -> String {
    format!("cannot be read from the file that {} names: {why}", definition.file_name())
}

fn or_list(words: &[&str], suffix: &str) -> String {
    let words: Vec<String> = words.iter().map(|word| format!("{word}{suffix}")).collect();
    match words.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        Some((last, _)) => last.clone(),
        None => String::new(),
    }
}
