//! Which messages somebody wants to see.

use std::collections::HashSet;

use serde::Deserialize;

/// What is asked for, as the first line on the socket.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Question {
    /// A Call-ID: its messages. Or an address of record (`user@realm`, or a user): messages of the calls and registrations in
    /// which it is in From or To. Nothing: all.
    #[serde(default)]
    pub(super) of: Option<String>,
    /// Go on with what comes.
    #[serde(default)]
    pub(super) follow: bool,
}

/// Chooses messages one after the other. Of an address of record it learns the calls, so that messages in which it is not named
/// any more (a BYE by contact) are seen too.
#[derive(Debug)]
pub(super) struct Selection {
    question: Question,
    calls: HashSet<String>,
}

impl Selection {
    pub(super) fn new(question: Question) -> Self {
        Self { question, calls: HashSet::new() }
    }

    /// Whether the message is wanted.
    pub(super) fn wants(&mut self, message: &str) -> bool {
        let Some(of) = &self.question.of else { return true };
        let Some(call) = field(message, "call-id", "i") else { return false };
        if call == of {
            return true;
        }
        if self.calls.contains(call) {
            return true;
        }
        let parties = [field(message, "from", "f"), field(message, "to", "t")];
        let is_wanted = parties.into_iter().flatten().any(|party| names(party, of));
        if is_wanted {
            self.calls.insert(call.to_owned());
        }
        is_wanted
    }

    /// Whether it goes on.
    pub(super) const fn follows(&self) -> bool {
        self.question.follow
    }
}

/// The first header field of this name.
fn field<'m>(message: &'m str, name: &str, compact: &str) -> Option<&'m str> {
    let fields = message.lines().skip(1).take_while(|line| !line.is_empty());
    fields.filter_map(|line| line.split_once(':')).find_map(|(found, value)| {
        let found = found.trim_end();
        (found.eq_ignore_ascii_case(name) || found.eq_ignore_ascii_case(compact)).then(|| value.trim())
    })
}

/// Whether a From or To has this `user@realm` or user.
fn names(party: &str, aor: &str) -> bool {
    let Some(at) = party.find("sip:").map(|at| at + 4).or_else(|| party.find("sips:").map(|at| at + 5)) else {
        return false;
    };
    let address = party[at..].split(['>', ';', '?', ' ']).next().unwrap_or_default();
    let user = address.split('@').next().unwrap_or_default();
    if aor.contains('@') { address.eq_ignore_ascii_case(aor) } else { user == aor }
}

#[cfg(test)]
mod tests {
    use super::{Question, Selection};

    fn message(call: &str, to: &str) -> String {
        format!(
            "INVITE sip:x SIP/2.0\r\nf: \"Bo\" <sip:bo@acme.example>;tag=1\r\nTo: {to}\r\nCall-ID: {call}\r\n\r\nbody"
        )
    }

    #[test]
    fn a_call_is_found_by_its_id() {
        let mut selection = Selection::new(Question { of: Some("a".into()), ..Question::default() });
        assert!(selection.wants(&message("a", "<sip:ada@acme.example>")));
        assert!(!selection.wants(&message("b", "<sip:ada@acme.example>")));
        assert!(!selection.wants("no message at all"));
    }

    #[test]
    fn an_address_of_record_is_found_with_all_of_its_calls() {
        for aor in ["ada", "ada@acme.example", "ADA@ACME.example"] {
            let mut selection = Selection::new(Question { of: Some(aor.into()), ..Question::default() });
            let named = aor != "ADA";
            assert_eq!(selection.wants(&message("a", "<sip:ada@acme.example;x=1>;tag=2")), named);
            assert!(selection.wants(&message("a", "<sip:9.9.9.9>")), "the same call, by another name");
            assert!(!selection.wants(&message("b", "<sip:ada2@acme.example>")));
        }
    }

    #[test]
    fn without_a_question_everything_is_wanted() {
        assert!(Selection::new(Question::default()).wants("anything"));
    }
}
