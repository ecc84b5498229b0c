//! `ringdown explain`: an interaction's story and the decisions in it, in words.

mod changes;

use std::collections::BTreeMap;
use std::process::ExitCode;

use anyhow::{Context, bail};
use jiff::Timestamp;
use reqwest::StatusCode;
use serde_json::Value;
use uuid::Uuid;

use crate::api::{Api, Refused};
use crate::arguments::{Explain, Place};
use crate::output;

pub(crate) async fn run(place: &Place, explain: &Explain) -> anyhow::Result<ExitCode> {
    let api = Api::of(place)?;
    let (tenant, history) = find(&api, explain).await?;
    if explain.json {
        output::json(&history)?;
        return Ok(ExitCode::SUCCESS);
    }
    let names = Names::read(&api, tenant).await?;
    for line in tell(explain.interaction, &history, &names) {
        output::say(line);
    }
    Ok(ExitCode::SUCCESS)
}

/// An interaction's story, a line per sentence.
pub(crate) async fn story(api: &Api, tenant: Uuid, interaction: Uuid) -> anyhow::Result<Vec<String>> {
    let page: Value = api.read(&format!("/tenants/{tenant}/interactions/{interaction}/history")).await?;
    let history = page["items"].as_array().cloned().unwrap_or_default();
    Ok(tell(interaction, &history, &Names::read(api, tenant).await?))
}

/// The interaction's entries, and whose it is.
async fn find(api: &Api, explain: &Explain) -> anyhow::Result<(Uuid, Vec<Value>)> {
    let tenants = match explain.tenant {
        Some(tenant) => vec![tenant],
        None => ids(&api.list("/tenants").await?),
    };
    for tenant in tenants {
        let path = format!("/tenants/{tenant}/interactions/{}/history", explain.interaction);
        match api.read::<Value>(&path).await {
            Ok(page) => return Ok((tenant, page["items"].as_array().cloned().unwrap_or_default())),
            Err(error) if not_found(&error) => {}
            Err(error) => return Err(error),
        }
    }
    bail!("no tenant has the interaction {} (ended ones are kept for an hour)", explain.interaction)
}

fn not_found(error: &anyhow::Error) -> bool {
    error.downcast_ref::<Refused>().is_some_and(|refused| refused.status == StatusCode::NOT_FOUND)
}

fn ids(items: &[Value]) -> Vec<Uuid> {
    items.iter().filter_map(|item| item["id"].as_str()?.parse().ok()).collect()
}

/// What ids are called.
#[derive(Debug, Default)]
struct Names(BTreeMap<String, String>);

impl Names {
    async fn read(api: &Api, tenant: Uuid) -> anyhow::Result<Self> {
        let mut names = BTreeMap::new();
        for kind in ["agents", "queues"] {
            let items =
                api.list(&format!("/tenants/{tenant}/{kind}")).await.with_context(|| format!("reading {kind}"))?;
            for item in items {
                if let (Some(id), Some(name)) = (item["id"].as_str(), item["name"].as_str()) {
                    names.insert(id.to_owned(), name.to_owned());
                }
            }
        }
        Ok(Self(names))
    }

    /// The name of an id; the id itself of what is gone.
    fn of(&self, id: &Value) -> String {
        let id = id.as_str().unwrap_or("?");
        self.0.get(id).cloned().unwrap_or_else(|| id.to_owned())
    }
}

/// The story, a line per sentence.
fn tell(interaction: Uuid, history: &[Value], names: &Names) -> Vec<String> {
    let mut lines = vec![format!("interaction {interaction}")];
    if let Some(first) = history.first() {
        lines.push(format!("  {}", introduce(&first["event"]["interaction"], names)));
    }
    let mut queued = false;
    let mut before = &Value::Null;
    for entry in history {
        let event = &entry["event"];
        let at = clock(entry["at_ms"].as_i64().unwrap_or_default());
        let sentences = match event["kind"].as_str() {
            Some("interaction_changed") => changes::tell(before, &event["interaction"], names),
            _ => tell_event(event, names, queued),
        };
        let mut sentences = sentences.into_iter();
        lines.extend(sentences.next().map(|sentence| format!("{at}  {sentence}")));
        lines.extend(sentences.map(|sentence| format!("                {sentence}")));
        queued |= event["kind"] == "interaction_queued";
        if event["interaction"].is_object() {
            before = &event["interaction"];
        }
    }
    lines
}

fn introduce(interaction: &Value, names: &Names) -> String {
    let media = if interaction["media"] == "voice" { "a call" } else { "a task" };
    let from = interaction["caller"].as_str().map(|caller| format!(" from {caller}")).unwrap_or_default();
    let to = interaction["called"].as_str().map(|called| format!(" to {called}")).unwrap_or_default();
    let queue = if interaction["queue"].is_string() {
        format!(" in the queue {}", names.of(&interaction["queue"]))
    } else {
        " without a queue".to_owned()
    };
    let needs: Vec<_> = interaction["requirements"].as_array().into_iter().flatten().map(requirement).collect();
    let needs = if needs.is_empty() { "any agent".to_owned() } else { needs.join(" and ") };
    format!("{media}{from}{to}{queue}; needs {needs}; priority {}", interaction["priority"])
}

fn requirement(need: &Value) -> String {
    let skill = need["skill"].as_str().unwrap_or("?");
    match need["min_level"].as_u64() {
        None | Some(1) => skill.to_owned(),
        Some(level) => format!("{skill} (level {level} or more)"),
    }
}

fn tell_event(event: &Value, names: &Names, queued: bool) -> Vec<String> {
    let interaction = &event["interaction"];
    let state = &interaction["state"];
    match event["kind"].as_str().unwrap_or_default() {
        "interaction_queued" if queued => vec!["back at its place in the queue".to_owned()],
        "interaction_queued" => vec!["arrived, and waits".to_owned()],
        "interaction_offered" => {
            let mut lines = vec![format!("offered to {}", names.of(&state["agent"]))];
            lines.extend(tell_decision(&event["decision"], &state["agent"], names));
            lines
        }
        "interaction_connected" => vec![format!("connected with {}", names.of(&state["agent"]))],
        "offer_failed" => vec![tell_failure(event, names)],
        "interaction_ended" => {
            let with = if state["agent"].is_string() {
                format!(", with {}", names.of(&state["agent"]))
            } else {
                String::new()
            };
            vec![format!("ended: {}{with}", reason(state["reason"].as_str().unwrap_or("?")))]
        }
        other => vec![other.replace('_', " ")],
    }
}

fn tell_failure(event: &Value, names: &Names) -> String {
    let agent = names.of(&event["agent"]);
    let code = event["sip_code"].as_u64().map(|code| format!(" (SIP {code})")).unwrap_or_default();
    match event["failure"].as_str() {
        Some("no_answer") => format!("{agent} did not answer in time{code}"),
        Some("rejected") => format!("{agent} rejected it{code}"),
        Some("busy") => format!("the phone of {agent} is busy{code}"),
        Some("hung_up") => format!("{agent} hung up before the caller was joined{code}"),
        Some("unreachable") => format!("the phone of {agent} cannot be reached{code}"),
        Some(other) => format!("the offer to {agent} failed: {other}{code}"),
        None => format!("the offer to {agent} was withdrawn{code}"),
    }
}

fn reason(word: &str) -> &str {
    match word {
        "busy" => "the party that was dialled was busy",
        "no_answer" => "the party that was dialled did not answer",
        "transferred" => "it went on in the call it was about",
        "unreachable" => "the party that was dialled could not be reached",
        "abandoned" => "the caller left before an agent answered",
        "agent_hangup" => "the agent hung up",
        "caller_hangup" => "the caller hung up",
        "completed" => "done",
        "failed" => "the media failed",
        "node_lost" => "the media host was lost",
        "wait_limit" => "it waited as long as its queue allows",
        other => other,
    }
}

/// Why this agent and this interaction: what caused the search, who was considered, who won.
fn tell_decision(decision: &Value, winner: &Value, names: &Names) -> Vec<String> {
    let number = |field: &str| decision[field].as_u64().unwrap_or_default();
    let cause = match decision["trigger"].as_str().unwrap_or_default() {
        "agent_available" => "an agent became available and took the best interaction they can serve",
        "config_changed" => "the configuration changed and made a match possible",
        "directed" => "it was for this agent by name",
        "interaction_arrived" => "it arrived and took the longest available agent with the skills",
        "offer_failed" => "the offer before failed and it looked for the next agent",
        other => other,
    };
    let mut lines = vec![
        format!("because {cause}"),
        format!(
            "it had waited {}, {} had been available for {}; {} available in all, {} waiting",
            span(number("waited_ms")),
            names.of(winner),
            span(number("available_ms")),
            count(number("agents_available"), "agent"),
            count(number("interactions_waiting"), "interaction"),
        ),
    ];
    let agents = decision["agents"].as_array().cloned().unwrap_or_default();
    for (place, candidate) in agents.iter().enumerate() {
        let since = clock(candidate["available_since_ms"].as_i64().unwrap_or_default());
        let verdict = if place == 0 { "won: available the longest" } else { "available for less long" };
        lines.push(format!("  {} since {since}: {verdict}", names.of(&candidate["agent"])));
    }
    let interactions = decision["interactions"].as_array().cloned().unwrap_or_default();
    for (place, candidate) in interactions.iter().enumerate() {
        let rank = clock(candidate["rank_ms"].as_i64().unwrap_or_default());
        let verdict = if place == 0 { "won: the best rank" } else { "a later rank" };
        lines.push(format!("  {} ranked {rank}: {verdict}", candidate["interaction"].as_str().unwrap_or("?")));
    }
    lines
}

fn count(number: u64, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}

fn span(ms: u64) -> String {
    if ms < 60_000 {
        format!("{:.1} s", ms as f64 / 1_000.0)
    } else {
        format!("{} min {} s", ms / 60_000, ms / 1_000 % 60)
    }
}

fn clock(ms: i64) -> String {
    Timestamp::from_millisecond(ms).map_or_else(|_| "?".to_owned(), |at| at.strftime("%H:%M:%S%.3f").to_string())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_story_is_told_in_words() {
        let (ann, ben, id) = (Uuid::from_u128(1), Uuid::from_u128(2), Uuid::from_u128(9));
        let names = Names([(ann.to_string(), "Ann".to_owned()), (ben.to_string(), "Ben".to_owned())].into());
        let body = |state: Value| {
            json!({"id": id, "media": "voice", "caller": "+100", "called": "200", "queue": null, "priority": 0,
                "requirements": [{"skill": "English", "min_level": 1}, {"skill": "Billing", "min_level": 4}], "state": state})
        };
        let mut with_party = body(json!({"kind": "connected", "agent": ann}));
        with_party["call"] = json!({"held": true, "muted": false, "recording": "paused", "parties": [
            {"interaction": id, "agent": ann, "role": "held", "since": 1},
            {"interaction": Uuid::from_u128(10), "agent": ben, "role": "consulting", "since": null}]});
        let history = [
            json!({"seq": 1, "at_ms": 1_000, "event": {"kind": "interaction_queued", "interaction": body(json!({"kind": "waiting"}))}}),
            json!({"seq": 2, "at_ms": 2_500, "event": {"kind": "interaction_offered",
                "interaction": body(json!({"kind": "offered", "agent": ann})),
                "decision": {"trigger": "interaction_arrived", "waited_ms": 1_500, "available_ms": 61_000,
                    "agents_available": 2, "interactions_waiting": 1, "interactions": [],
                    "agents": [{"agent": ann, "available_since_ms": 0}, {"agent": ben, "available_since_ms": 500}]}}}),
            json!({"seq": 3, "at_ms": 9_000, "event": {"kind": "offer_failed", "agent": ann, "failure": "no_answer", "sip_code": 480}}),
            json!({"seq": 4, "at_ms": 9_000, "event": {"kind": "interaction_queued", "interaction": body(json!({"kind": "waiting"}))}}),
            json!({"seq": 5, "at_ms": 9_500, "event": {"kind": "interaction_changed", "interaction": with_party.clone()}}),
            json!({"seq": 6, "at_ms": 10_000, "event": {"kind": "interaction_ended",
                "interaction": body(json!({"kind": "ended", "reason": "abandoned", "agent": null}))}}),
        ];
        let text = tell(id, &history, &names).join("\n");
        for part in [
            "a call from +100 to 200 without a queue; needs English and Billing (level 4 or more)",
            "00:00:01.000  arrived, and waits",
            "offered to Ann",
            "it had waited 1.5 s, Ann had been available for 1 min 1 s; 2 agents available in all, 1 interaction waiting",
            "Ann since 00:00:00.000: won: available the longest",
            "Ben since 00:00:00.500: available for less long",
            "Ann did not answer in time (SIP 480)",
            "back at its place in the queue",
            "00:00:09.500  Ben is asked to join (consulting)",
            "the customer is on hold",
            "recording: paused",
            "ended: the caller left before an agent answered",
        ] {
            assert!(text.contains(part), "{part}\nis not in\n{text}");
        }
    }
}
