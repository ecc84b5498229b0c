//! Finds the variable somebody meant: a misspelt name is silently a default otherwise.

/// Most edits between a misspelt name and the meant one. Two covers a swapped, lost or doubled letter and a plural.
const EDITS_MAX: usize = 2;
/// Daemons of the house: a variable of another daemon in a shared file is nobody's mistake.
const DAEMONS: [&str; 12] = [
    "ACD",
    "CARE",
    "CLI",
    "INFOMART_CONFIG",
    "INFOMART_LOAD",
    "INFOMART_STREAM",
    "NOTIFIER",
    "OUTBOUND",
    "PROVISIONER",
    "REGISTRAR",
    "UP",
    "WEB_API",
];

/// Whether `name` carries the prefix of a daemon other than `daemon` (`RINGDOWN_REGISTRAR_...` read by acd).
pub(crate) fn belongs_to_another(daemon: &str, name: &str) -> bool {
    let own = prefix_part(daemon);
    DAEMONS.iter().any(|other| *other != own && has_prefix(name, other))
}

/// Whether `name` carries the prefix of `daemon`.
pub(crate) fn belongs_to(daemon: &str, name: &str) -> bool {
    has_prefix(name, &prefix_part(daemon))
}

/// The one of `names` that is fewest edits away from `name`, when that is few enough.
pub(crate) fn nearest<'a>(name: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    names
        .map(|known| (edits(name, known), known))
        .filter(|(edits, _)| *edits <= EDITS_MAX)
        .min()
        .map(|(_, known)| known)
}

fn prefix_part(daemon: &str) -> String {
    daemon.to_ascii_uppercase().replace('-', "_")
}

fn has_prefix(name: &str, part: &str) -> bool {
    name.strip_prefix("RINGDOWN_").and_then(|rest| rest.strip_prefix(part)).is_some_and(|rest| rest.starts_with('_'))
}

/// Levenshtein's distance in bytes (names are ASCII).
fn edits(left: &str, right: &str) -> usize {
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, from) in left.bytes().enumerate() {
        let mut diagonal = i;
        row[0] = i + 1;
        for (j, to) in right.bytes().enumerate() {
            let replaced = diagonal + usize::from(from != to);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[right.len()]
}
