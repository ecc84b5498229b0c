//! Text without secrets and without whom customers are: what leaves the host in a support bundle.
//!
//! Three nets, each of which is enough where it applies: the values of all secrets this host knows, wherever they stand;
//! names that say that a secret follows (`PASSWORD=`, `requirepass`, `Authorization:`), and passwords in addresses; and
//! callers' numbers and SIP users. A secret shorter than [`VALUE_MIN`] is found by its name only.

use std::path::Path;

use anyhow::Context;

/// Shorter values stand in any text by chance.
pub(super) const VALUE_MIN: usize = 6;
/// What stands instead.
const MASK: &str = "***";
/// Words in a name that say that its value is a secret.
const NAMES: [&str; 11] = [
    "password",
    "passwd",
    "requirepass",
    "masterauth",
    "auth-pass",
    "auth_pass",
    "secret",
    "token",
    "authorization",
    "nonce_key",
    "private_key",
];
/// Ends of such names.
const ENDINGS: [&str; 5] = ["-pass", "_pass", "-key", "_key", "passphrase"];
/// Shortest number that can be a caller's.
const NUMBER_MIN: usize = 7;

/// What a text is of: logs can name callers, in settings a secret follows its name without a sign between.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Text {
    Log,
    Facts,
    Settings,
}

/// What must not be seen.
#[derive(Debug, Default)]
pub(super) struct Masker {
    /// Value and name, the longest first.
    secrets: Vec<(String, String)>,
}

impl Masker {
    /// A masker that knows every secret in a folder of files, one secret each, and in its folders.
    ///
    /// # Errors
    /// When one cannot be read: a bundle that may hold it is worse than none.
    pub(super) fn learn(&mut self, folder: &Path) -> anyhow::Result<()> {
        if !folder.exists() {
            return Ok(());
        }
        let entries = std::fs::read_dir(folder);
        for entry in entries.with_context(|| format!("reading {} (run it as root)", folder.display()))? {
            let path = entry.with_context(|| format!("reading {}", folder.display()))?.path();
            if path.is_dir() {
                self.learn(&path)?;
                continue;
            }
            let text = std::fs::read(&path).with_context(|| format!("reading {} (run it as root)", path.display()))?;
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            self.add(&name, &String::from_utf8_lossy(&text));
        }
        Ok(())
    }

    /// Learns one more value.
    pub(super) fn add(&mut self, name: &str, value: &str) {
        for line in value.lines().map(str::trim).filter(|line| line.len() >= VALUE_MIN) {
            for form in [line.to_owned(), percent_encoded(line)] {
                if !self.secrets.iter().any(|(known, _)| *known == form) {
                    self.secrets.push((form, name.to_owned()));
                }
            }
        }
        self.secrets.sort_by_key(|(value, _)| std::cmp::Reverse(value.len()));
    }

    /// Learns what a file of settings gives to names that say so.
    pub(super) fn learn_settings(&mut self, text: &str) {
        for line in text.lines() {
            if let Some((name, value)) = line.trim().split_once('=')
                && is_secret(name)
            {
                self.add(name, value.trim().trim_matches(['"', '\'']));
            }
        }
    }

    /// The name of a secret whose value is in the text.
    pub(super) fn found_in(&self, text: &str) -> Option<&str> {
        self.secrets.iter().find(|(value, _)| text.contains(value.as_str())).map(|(_, name)| name.as_str())
    }

    /// The text without any of it.
    pub(super) fn mask(&self, text: &str, of: Text) -> String {
        let mut masked = text.to_owned();
        for (value, name) in &self.secrets {
            if masked.contains(value.as_str()) {
                masked = masked.replace(value.as_str(), &format!("{MASK}{name}{MASK}"));
            }
        }
        let mut in_key = false;
        let mut lines = String::with_capacity(masked.len());
        for line in masked.split_inclusive('\n') {
            let begins = line.contains("-----BEGIN") && line.contains("PRIVATE KEY-----");
            in_key |= begins;
            if in_key && !begins && !line.contains("-----END") {
                continue;
            }
            in_key &= !line.contains("-----END");
            let line = mask_addresses(&mask_names(line));
            lines.push_str(&match of {
                Text::Log => mask_callers(&line),
                Text::Settings => mask_words(&line),
                Text::Facts => line,
            });
        }
        lines
    }
}

fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    // A name of a file with a secret is none.
    !name.ends_with("_file")
        && (NAMES.iter().any(|word| name.contains(word)) || ENDINGS.iter().any(|ending| name.ends_with(ending)))
}

fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.')
}

/// Values behind names that say so: `NAME=value`, `"name": "value"`, `requirepass value`, `sentinel auth-pass main value`.
fn mask_names(line: &str) -> String {
    let body = line.trim_end_matches('\n');
    let rest = &line[body.len()..];
    let first = body.trim_start().split(|c: char| !is_name(c)).next().unwrap_or_default();
    let words: Vec<_> = body.split_whitespace().collect();
    // A line of a configuration file: what follows belongs to the name, whatever is in it.
    if is_secret(first) && words.len() > 1 && words[0] == first && !body.contains(['=', ':']) {
        return format!("{first} {MASK}{rest}");
    }
    if words.first() == Some(&"sentinel") && words.get(1).is_some_and(|word| is_secret(word)) {
        return format!("{} {} {} {MASK}{rest}", words[0], words[1], words.get(2).unwrap_or(&""));
    }
    let mut masked = String::with_capacity(line.len());
    let mut left = body;
    while let Some(at) = left.find(['=', ':']) {
        let (before, after) = left.split_at(at + 1);
        masked.push_str(before);
        left = after;
        let name = before[..at].trim_end_matches([' ', '"', '\'', '\\']);
        // Behind the last character that belongs to no name, however many bytes it has.
        let before_name = name.char_indices().rfind(|(_, c)| !is_name(*c));
        let start = before_name.map_or(0, |(at, c)| at + c.len_utf8());
        // An address is not a value: its password is found as one of an address.
        if !is_secret(&name[start..]) || after.starts_with("//") {
            continue;
        }
        let value = after.trim_start_matches([' ', '"', '\'', '\\']);
        masked.push_str(&after[..after.len() - value.len()]);
        let whole =
            name[start..].len() == name.trim_start().len() || name[start..].eq_ignore_ascii_case("authorization");
        let end = if whole {
            value.len()
        } else {
            value.find(|c: char| c.is_whitespace() || "\"',;&\\".contains(c)).unwrap_or(value.len())
        };
        if end > 0 {
            masked.push_str(MASK);
        }
        left = &value[end..];
    }
    masked.push_str(left);
    masked.push_str(rest);
    masked
}

/// Words behind a name anywhere in a line of settings: `user x insecure-password y`, `stats auth admin:y`.
fn mask_words(line: &str) -> String {
    let words: Vec<_> = line.split_whitespace().collect();
    if line.trim_start().starts_with(['#', ';']) {
        return line.to_owned();
    }
    let names = |pair: &[&str]| {
        pair.iter().all(|word| word.chars().all(is_name)) && (is_secret(pair[1]) || pair == ["stats", "auth"])
    };
    let Some(at) = words.windows(2).position(names).filter(|at| words.len() > at + 2) else { return line.to_owned() };
    let kept = words[..at + 2].join(" ");
    let end = if line.ends_with('\n') { "\n" } else { "" };
    format!("{kept} {MASK}{end}")
}

/// Passwords in addresses: `redis://user:password@host`.
fn mask_addresses(line: &str) -> String {
    let mut masked = String::with_capacity(line.len());
    let mut left = line;
    while let Some(at) = left.find("://") {
        let (before, after) = left.split_at(at + 3);
        masked.push_str(before);
        let end = after.find(|c: char| c.is_whitespace() || "/\"'<>,".contains(c)).unwrap_or(after.len());
        let host = &after[..end];
        match host.rsplit_once('@') {
            Some((user, host)) => {
                let user = user.split(':').next().unwrap_or_default();
                masked.push_str(&format!("{user}:{MASK}@{host}"));
            }
            None => masked.push_str(host),
        }
        left = &after[end..];
    }
    masked.push_str(left);
    masked
}

/// Whom calls are from and to: users of SIP addresses, and numbers.
fn mask_callers(line: &str) -> String {
    let masked = ["sip:", "sips:", "tel:"].iter().fold(line.to_owned(), |line, scheme| mask_users(&line, scheme));
    mask_numbers(&masked)
}

fn mask_users(line: &str, scheme: &str) -> String {
    let mut masked = String::with_capacity(line.len());
    let mut left = line;
    while let Some(at) = left.find(scheme) {
        let (before, after) = left.split_at(at + scheme.len());
        masked.push_str(before);
        let end = after.find(|c: char| c.is_whitespace() || "@;>\"'".contains(c)).unwrap_or(after.len());
        let is_user = after[end..].starts_with('@') || scheme == "tel:";
        masked.push_str(if is_user { MASK } else { &after[..end] });
        left = &after[end..];
    }
    masked + left
}

/// Numbers of a caller's length that stand alone. What is no number of a caller: milliseconds since 1970.
fn mask_numbers(line: &str) -> String {
    let mut masked = String::with_capacity(line.len());
    let mut left = line;
    while let Some(at) = left.find(|c: char| c.is_ascii_digit()) {
        let end = left[at..].find(|c: char| !c.is_ascii_digit()).map_or(left.len(), |length| at + length);
        let (before, number, after) = (&left[..at], &left[at..end], &left[end..]);
        masked.push_str(before);
        let joins = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.');
        // What went before is in `masked`: the run may begin where the last one ended.
        let alone =
            !masked.ends_with(joins) && !after.starts_with(|c: char| c.is_alphanumeric() || c == '_' || c == '-');
        let is_time = number.len() == 13 && number.starts_with('1') && !masked.ends_with('+');
        let is_caller = number.len() >= NUMBER_MIN && alone && !is_time;
        masked.push_str(if is_caller { MASK } else { number });
        left = after;
    }
    masked + left
}

fn percent_encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masker() -> Masker {
        let mut masker = Masker::default();
        masker.add("REDIS_PASSWORD", "s3cret/value+1\n");
        masker.add("SHORT", "abc");
        masker
    }

    #[track_caller]
    fn check(input: &str, expected: &str) {
        assert_eq!(masker().mask(input, Text::Facts), expected);
    }

    #[test]
    fn text_of_any_language_is_masked_and_never_splits_a_character() {
        check("größe=7 üpassword=geheim", "größe=7 üpassword=***");
        check("ü=1 \u{1f980}: x", "ü=1 \u{1f980}: x");
    }

    #[test]
    fn a_known_secret_is_found_wherever_it_stands() {
        check(
            "it was s3cret/value+1, twice: s3cret/value+1\n",
            "it was ***REDIS_PASSWORD***, twice: ***REDIS_PASSWORD***\n",
        );
        check("?p=s3cret%2Fvalue%2B1 end", "?p=***REDIS_PASSWORD*** end");
        check("abc stays", "abc stays");
        assert_eq!(masker().found_in("x s3cret/value+1"), Some("REDIS_PASSWORD"));
        assert_eq!(masker().found_in("nothing"), None);
    }

    #[test]
    fn a_name_says_that_a_secret_follows() {
        check("RINGDOWN_REDIS_PASSWORD=other words\n", "RINGDOWN_REDIS_PASSWORD=***\n");
        check("RINGDOWN_REDIS_PASSWORD_FILE=/run/x\n", "RINGDOWN_REDIS_PASSWORD_FILE=/run/x\n");
        check("requirepass other\nmasterauth more words\n", "requirepass ***\nmasterauth ***\n");
        check("sentinel auth-pass main other", "sentinel auth-pass main ***");
        check(r#"{"token": "abcdef", "name": "x"}"#, r#"{"token": "***", "name": "x"}"#);
        check("Authorization: Bearer abc.def", "Authorization: ***");
        check("GET /x?token=abc&limit=1 took 3 ms", "GET /x?token=***&limit=1 took 3 ms");
        check("the password is wrong", "the password is wrong");
        check("repo1-cipher-pass=abc\nrepo1-s3-key=def\n", "repo1-cipher-pass=***\nrepo1-s3-key=***\n");
        check("    auth_pass 1234\n", "auth_pass ***\n");
    }

    #[test]
    fn in_settings_a_secret_follows_its_name() {
        let settings = |text: &str| masker().mask(text, Text::Settings);
        assert_eq!(settings("  user x insecure-password y\n"), "user x insecure-password ***\n");
        assert_eq!(settings("  stats auth admin:y\n"), "stats auth ***\n");
        assert_eq!(settings("# the password is elsewhere\n"), "# the password is elsewhere\n");
        assert_eq!(settings("bind :443 ssl crt x.pem\n"), "bind :443 ssl crt x.pem\n");
    }

    #[test]
    fn an_address_keeps_its_user_and_not_the_password() {
        check("redis://:pw@10.0.0.1:6379/0", "redis://:***@10.0.0.1:6379/0");
        check("RINGDOWN_POSTGRES_URL=postgres://me:p@w@db/x", "RINGDOWN_POSTGRES_URL=postgres://me:***@db/x");
        check("http://10.0.0.1:8000/ is up", "http://10.0.0.1:8000/ is up");
    }

    #[test]
    fn a_private_key_is_left_out() {
        check(
            "a\n-----BEGIN PRIVATE KEY-----\nMII\n-----END PRIVATE KEY-----\nb\n",
            "a\n-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----\nb\n",
        );
    }

    #[test]
    fn callers_are_masked_in_logs_only() {
        let log = |text: &str| masker().mask(text, Text::Log);
        assert_eq!(
            log("INVITE sip:anna@10.0.0.1;user=phone from +49301234567."),
            "INVITE sip:***@10.0.0.1;user=phone from +***."
        );
        assert_eq!(
            log("to sip:10.0.0.1:5060 took 12 ms at 1763712000123"),
            "to sip:10.0.0.1:5060 took 12 ms at 1763712000123"
        );
        assert_eq!(log("from 030123456789 (call 0193a1b2-4455667788)"), "from *** (call 0193a1b2-4455667788)");
        check("used_memory:123456789", "used_memory:123456789");
    }

    #[test]
    fn secrets_are_learnt_from_folders_and_settings() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("acd")).unwrap();
        std::fs::write(folder.path().join("acd/ARI_PASSWORD"), "asterisk's own\n").unwrap();
        let mut masker = Masker::default();
        masker.learn(folder.path()).unwrap();
        masker.learn(&folder.path().join("none")).unwrap();
        masker.learn_settings("# x\nRINGDOWN_API_TOKEN=\"of-the-file\"\nRINGDOWN_LISTEN=0.0.0.0:1\n");
        assert_eq!(
            masker.mask("asterisk's own of-the-file 0.0.0.0:1", Text::Facts),
            "***ARI_PASSWORD*** ***RINGDOWN_API_TOKEN*** 0.0.0.0:1"
        );
    }
}
