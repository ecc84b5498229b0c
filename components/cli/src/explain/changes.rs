//! What happened to a call besides being offered, connected and ended: told from the difference between two pictures of it.

use serde_json::Value;

use super::Names;

/// The differences between a call as it was and as it is, a sentence each; one that says nothing when none of them is known here.
pub(super) fn tell(before: &Value, after: &Value, names: &Names) -> Vec<String> {
    let mut lines = Vec::new();
    lines.extend(tell_state(before, after));
    lines.extend(tell_parties(before, after, names));
    lines.extend(tell_switches(before, after));
    if before["disposition"] != after["disposition"] {
        lines.push(format!("classed as {}", after["disposition"]["code"].as_str().unwrap_or("nothing")));
    }
    if lines.is_empty() {
        lines.push("digits were sent, or something changed that is not shown here".to_owned());
    }
    lines
}

fn tell_state(before: &Value, after: &Value) -> Option<String> {
    let (was, is) = (&before["state"], &after["state"]);
    if is["kind"] != "external" || was == is {
        return None;
    }
    let number = is["number"].as_str().unwrap_or("?");
    Some(if is["deadline_ms"].is_null() {
        format!("the outside number {number} is on the line")
    } else {
        format!("the outside number {number} is dialled")
    })
}

/// Who came, left or takes part in another way. The first party is who has the call: other events tell of that one.
fn tell_parties(before: &Value, after: &Value, names: &Names) -> Vec<String> {
    let (was, is) = (others(before), others(after));
    let find =
        |list: &[Value], party: &Value| list.iter().find(|other| other["interaction"] == party["interaction"]).cloned();
    let came = is.iter().filter_map(|party| {
        let who = name(party, names);
        let role = party["role"].as_str().unwrap_or("?").replace('_', " ");
        match find(&was, party) {
            None => Some(format!("{who} is asked to join ({role})")),
            Some(old) if old["since"] != party["since"] => Some(format!("{who} has joined ({role})")),
            Some(old) if old["role"] != party["role"] => Some(format!("{who} is {role} now")),
            Some(old) if old["agent"] != party["agent"] => Some(format!("{who} is asked to join ({role})")),
            Some(_) => None,
        }
    });
    let left = was.iter().filter(|party| find(&is, party).is_none());
    came.chain(left.map(|party| format!("{} is out", name(party, names)))).collect()
}

/// The parties who take part through another interaction.
fn others(interaction: &Value) -> Vec<Value> {
    let parties = interaction["call"]["parties"].as_array().cloned().unwrap_or_default();
    parties.into_iter().filter(|party| party["interaction"] != interaction["id"]).collect()
}

fn name(party: &Value, names: &Names) -> String {
    match party["number"].as_str() {
        Some(number) => number.to_owned(),
        None if party["agent"].is_null() => "somebody of the queue".to_owned(),
        None => names.of(&party["agent"]),
    }
}

fn tell_switches(before: &Value, after: &Value) -> Vec<String> {
    let (was, is) = (&before["call"], &after["call"]);
    let differs = |name: &str| (was[name] == true) != (is[name] == true);
    let recording = |call: &Value| call["recording"].as_str().unwrap_or("off").to_owned();
    let mut lines = Vec::new();
    if differs("held") {
        lines.push(
            if is["held"] == true { "the customer is on hold" } else { "the customer is back from hold" }.to_owned(),
        );
    }
    if differs("muted") {
        lines.push(if is["muted"] == true { "the agent is muted" } else { "the agent is heard again" }.to_owned());
    }
    if recording(was) != recording(is) {
        lines.push(format!("recording: {}", recording(is)));
    }
    lines
}
