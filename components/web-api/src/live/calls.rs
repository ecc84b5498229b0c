//! What agents and supervisors do with calls: hold, transfer, consult, record, supervise, call out, class.
//!
//! Each act is one command to the tenant's router, which knows whether it is possible; here it is decided who may. Agents act on
//! what is theirs, supervisors on everything in the tenant. Each act leaves a line in the log: who, what, on which interaction.

use std::collections::BTreeMap;

use axum::extract::State;
use ringdown_domain as domain;
use ringdown_domain::{AgentId, InteractionId, NodeId, PhoneNumber, QueueId, TenantId};
use ringdown_events::{
    Command, ConsultEnd, Disposition, Done, InteractionRecord, NewCall, Party, RefusalCode, SupervisionMode, Target,
};
use ringdown_redis_store::{Retry, StoreError, keys, redis};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::commands::{self, Answered, Request};
use super::interactions::{change, own_interaction};
use super::reader;
use super::views::Interaction;
use crate::answers::{self, AgentPath, Body, Id2, IdempotencyHeader, InteractionPath, TenantPath};
use crate::app::App;
use crate::auth::access::{ForAgent, InTenant, Supervise, Work};
use crate::problem::Problem;
use crate::quotas;

/// The node that stands in a call's command for whichever is chosen, so that a repeat is the same request.
const ANY_NODE: &str = "any";

/// To whom: exactly one of the three.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TargetInput {
    /// An agent, who must be free.
    #[serde(default)]
    #[schema(value_type = Option<Uuid>, nullable = false)]
    agent: Option<AgentId>,
    /// A queue.
    #[serde(default)]
    #[schema(value_type = Option<Uuid>, nullable = false)]
    queue: Option<QueueId>,
    /// An outside number.
    #[serde(default)]
    #[schema(value_type = Option<String>, nullable = false, min_length = 1, max_length = 64, pattern = "^[0-9A-Za-z+*#._-]+$")]
    number: Option<PhoneNumber>,
}

impl TargetInput {
    fn parse(self) -> Result<Target, Problem> {
        match (self.agent, self.queue, self.number) {
            (Some(agent), None, None) => Ok(Target::Agent(agent)),
            (None, Some(queue), None) => Ok(Target::Queue(queue)),
            (None, None, Some(number)) => Ok(Target::Number(number)),
            _ => Err(answers::unfit("target", "must have exactly one of agent, queue and number")),
        }
    }
}

/// Where an interaction goes, or who is asked about it.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ToInput {
    /// To whom.
    target: TargetInput,
}

/// Says in the log who did what: the record of supervisory acts until there is an audit trail.
fn audit<N>(scope: &InTenant<N>, act: &'static str, interaction: InteractionId) {
    log::info!(user:display = scope.who.user, tenant:display = scope.tenant, interaction:display, act; "an act on a call");
}

/// An act of whoever has the interaction, or of a supervisor.
async fn act(
    app: &App,
    scope: &InTenant<Work>,
    id: InteractionId,
    request: &Request,
    name: &'static str,
    command: Command,
) -> Result<Answered, Problem> {
    own_interaction(app, scope, id).await?;
    audit(scope, name, id);
    change(app, scope, id, request, command).await
}

/// Puts the customer on hold, with music.
#[utoipa::path(post, path = "/tenants/{tenant}/interactions/{interaction}/hold", tag = "calls",
    params(TenantPath, InteractionPath, IdempotencyHeader),
    responses((status = 200, description = "The interaction afterwards.", body = Interaction)))]
pub async fn hold(
    State(app): State<App>,
    scope: InTenant<Work>,
    Id2(_, id): Id2<TenantId, InteractionId>,
    request: Request,
) -> Result<Answered, Problem> {
    let command = Command::HoldInteraction { interaction: id, held: true };
    act(&app, &scope, id, &request, "hold", command).await
}

/// Takes the customer back from hold.
#[utoipa::path(post, path = "/tenants/{tenant}/interactions/{interaction}/resume", tag = "calls",
    params(TenantPath, InteractionPath, IdempotencyHeader),
    responses((status = 200, description = "The interaction afterwards.", body = Interaction)))]
pub async fn resume(
    State(app): State<App>,
    scope: InTenant<Work>,
    Id2(_, id): Id2<TenantId, InteractionId>,
    request: Request,
) -> Result<Answered, Problem> {
    let command = Command::HoldInteraction { interaction: id, held: false };
    act(&app, &scope, id, &request, "resume", command).await
}

/// Mutes the agent's leg of this interaction, for desk phones; browsers mute themselves.
#[utoipa::path(post, path = "/tenants/{tenant}/interactions/{interaction}/mute", tag = "calls",
    params(TenantPath, InteractionPath, IdempotencyHeader),
    responses((status = 200, description = "The interaction afterwards.", body = Interaction)))]
pub async fn mute(
    State(app): State<App>,
    scope: InTenant<Work>,
    Id2(_, id): Id2<TenantId, InteractionId>,
    request: Request,
) -> Result<Answered, Problem> {
    let command = Command::MuteInteraction { interaction: id, muted: true };
    act(&app, &scope, id, &request, "mute", command).await
}

/// Opens the agent's leg again.
#[utoipa::path(post, path = "/tenants/{tenant}/interactions/{interaction}/unmute", tag = "calls",
    params(TenantPath, InteractionPath, IdempotencyHeader),
    responses((status = 200, description = "The interaction afterwards.", body = Interaction)))]
pub async fn unmute(
    State(app): State<App>,
    scope: InTenant<Work>,
    Id2(_, id): Id2<TenantId, InteractionId>,
    request: Request,
) -> Result<Answered, Problem> {
    let command = Command::MuteInteraction { interaction: id, muted: false };
    act(&app, &scope, id, &request, "unmute", command).await
}

/// Digits to send.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DigitsInput {
    /// The digits, in their order.
    #[serde(deserialize_with = "digits")]
    #[schema(value_type = String, min_length = 1, max_length = 32, pattern = "^[0-9*#A-D]+$")]
    digits: String,
}

fn digits<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let text = String::deserialize(deserializer)?;
    let fits = |byte: u8| matches!(byte, b'0'..=b'9' | b'*' | b'#' | b'A'..=b'D');
    if (1..=32).contains(&text.len()) && text.bytes().all(fits) {
        Ok(text)
    } else {
        Err(serde::de::Error::custom("must be 1 to 32 of 0-9 * # A-D"))
    }
}

/// Sends digits (DTMF) to the customer.
#[utoipa::path(post, path = "/tenants/{tenant}/interactions/{interaction}/digits", tag = "calls",
    params(TenantPath, InteractionPath, IdempotencyHeader), request_body = DigitsInput,
    responses((status = 200, description = "The interaction afterwards.", body = Interaction)))]
pub async fn send_digits(
    State(app): State<App>,
    scope: InTenant<Work>,
    Id2(_, id): Id2<TenantId, InteractionId>,
    request: Request,
    Body(input): Body<DigitsInput>,
) -> Result<Answered, Problem> {
    let command = Command::SendDigits { interaction: id, digits: input.digits };
    act(&app, &scope, id, &request, "digits", command).await
}

/// Hands the interaction over without a word: its agent is out at once and wraps up. When an agent or a number does not take it,
/// it waits in its queue again, at its old place; without a queue it ends.
#[utoipa::path(post, path = "/tenants/{tenant}/interactions/{interaction}/transfer", tag = "calls",
    params(TenantPath, InteractionPath, IdempotencyHeader), request_body = ToInput,
    responses((status = 200, description = "The interaction afterwards.", body = Interaction)))]
pub async fn transfer(
    State(app): State<App>,
    scope: InTenant<Work>,
    Id2(_, id): Id2<TenantId, InteractionId>,
    request: Request,
    Body(input): Body<ToInput>,
) -> Result<Answered, Problem> {
    let command = Command::TransferInteraction { interaction: id, target: input.target.parse()? };
    act(&app, &scope, id, &request, "transfer", command).await
}

/// Asks an agent, a queue or an outside number about the call, which is on hold meanwhile. The consultation is an interaction of its
/// own.
#[utoipa::path(post, path = "/tenants/{tenant}/interactions/{interaction}/consult", tag = "calls",
    params(TenantPath, InteractionPath, IdempotencyHeader), request_body = ToInput,
    responses((status = 201, description = "The consultation.", body = Interaction)))]
pub async fn consult(
    State(app): State<App>,
    scope: InTenant<Work>,
    Id2(_, id): Id2<TenantId, InteractionId>,
    request: Request,
    Body(input): Body<ToInput>,
) -> Result<Answered, Problem> {
    let consult = request.interaction_id(&app, &scope);
    let command = Command::ConsultInteraction { interaction: id, consult, target: input.target.parse()? };
    own_interaction(&app, &scope, id).await?;
    let same = |record: &InteractionRecord| record.origin == domain::Origin::Consult && record.parent == Some(id);
    let work = async {
        quotas::check_interaction(&app, scope.tenant).await?;
        audit(&scope, "consult", id);
        create(&app, &scope, &request, consult, command.clone(), same).await
    };
    commands::once(&app, &scope, &request, &command, work).await
}

/// Sends what makes an interaction, and answers with it.
async fn create<N>(
    app: &App,
    scope: &InTenant<N>,
    request: &Request,
    id: InteractionId,
    command: Command,
    same: impl Fn(&InteractionRecord) -> bool,
) -> Result<Answered, Problem> {
    let repeated = match commands::ask(app, scope, request, command).await {
        Ok(_) => false,
        Err(commands::Failure::Refused(refusal)) if refusal.code == RefusalCode::DuplicateInteraction => true,
        Err(failure) => return Err(failure.into_problem(app, scope.tenant).await),
    };
    let record = reader::interaction(app, scope.tenant, id).await?.ok_or_else(|| answers::not_found("interaction"))?;
    if repeated && !same(&record) {
        return Err(answers::key_reused());
    }
    let location = format!("/api/v1/tenants/{}/interactions/{id}", scope.tenant);
    Answered::created(location, Interaction::from(record))
}

/// Gives the customer to who was asked; the agent is out and wraps up. Refused before that party is on the line.
#[utoipa::path(post, path = "/tenants/{tenant}/interactions/{interaction}/consult/complete", tag = "calls",
    params(TenantPath, InteractionPath, IdempotencyHeader),
    responses((status = 200, description = "The interaction afterwards.", body = Interaction)))]
pub async fn complete_consult(
    State(app): State<App>,
    scope: InTenant<Work>,
    Id2(_, id): Id2<TenantId, InteractionId>,
    request: Request,
) -> Result<Answered, Problem> {
    let command = Command::EndConsult { interaction: id, how: ConsultEnd::Complete };
    act(&app, &scope, id, &request, "complete consultation", command).await
}

/// Brings everybody together: customer, agent and who was asked.
#[utoipa::path(post, path = "/tenants/{tenant}/interactions/{interaction}/consult/conference", tag = "calls",
    params(TenantPath, InteractionPath, IdempotencyHeader),
    responses((status = 200, description = "The interaction afterwards.", body = Interaction)))]
pub async fn conference(
    State(app): State<App>,
    scope: InTenant<Work>,
    Id2(_, id): Id2<TenantId, InteractionId>,
    request: Request,
) -> Result<Answered, Problem> {
    let command = Command::EndConsult { interaction: id, how: ConsultEnd::Conference };
    act(&app, &scope, id, &request, "conference", command).await
}

/// Gives the consultation up: who was asked is out, the agent is with the customer again.
#[utoipa::path(post, path = "/tenants/{tenant}/interactions/{interaction}/consult/cancel", tag = "calls",
    params(TenantPath, InteractionPath, IdempotencyHeader),
    responses((status = 200, description = "The interaction afterwards.", body = Interaction)))]
pub async fn cancel_consult(
    State(app): State<App>,
    scope: InTenant<Work>,
    Id2(_, id): Id2<TenantId, InteractionId>,
    request: Request,
) -> Result<Answered, Problem> {
    let command = Command::EndConsult { interaction: id, how: ConsultEnd::Cancel };
    act(&app, &scope, id, &request, "cancel consultation", command).await
}

/// What becomes of the recording.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RecordingInput {
    /// The action.
    action: RecordingAction,
}

/// What becomes of a recording.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RecordingAction {
    /// From now on it is recorded.
    Start,
    /// No longer.
    Stop,
    /// Not now: card data follow.
    Pause,
    /// Again, after a pause.
    Resume,
}

/// Starts, stops, pauses or resumes the recording of the call.
#[utoipa::path(post, path = "/tenants/{tenant}/interactions/{interaction}/recording", tag = "calls",
    params(TenantPath, InteractionPath, IdempotencyHeader), request_body = RecordingInput,
    responses((status = 200, description = "The interaction afterwards.", body = Interaction)))]
pub async fn set_recording(
    State(app): State<App>,
    scope: InTenant<Work>,
    Id2(_, id): Id2<TenantId, InteractionId>,
    request: Request,
    Body(input): Body<RecordingInput>,
) -> Result<Answered, Problem> {
    let record = own_interaction(&app, &scope, id).await?;
    let (name, recording) = match input.action {
        RecordingAction::Start => ("start recording", domain::Recording::On),
        RecordingAction::Stop => ("stop recording", domain::Recording::Off),
        RecordingAction::Pause => ("pause recording", domain::Recording::Paused),
        RecordingAction::Resume if record.recording == domain::Recording::Off => {
            return Err(answers::conflict("not_recorded", "the call is not recorded, so there is nothing to resume"));
        }
        RecordingAction::Resume => ("resume recording", domain::Recording::On),
    };
    act(&app, &scope, id, &request, name, Command::SetRecording { interaction: id, recording }).await
}

/// How a supervisor takes part.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SupervisionInput {
    /// How.
    mode: SupervisionWord,
    /// The supervisor's own agent, whose phone is called.
    #[schema(value_type = Uuid)]
    agent: AgentId,
}

/// How a supervisor takes part.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SupervisionWord {
    /// Hears everybody, unheard.
    Listen,
    /// Hears everybody; only the agent hears the supervisor.
    Whisper,
    /// Talks with everybody.
    Barge,
    /// Has the call; its agent is out. As soon as the supervisor's phone is answered.
    TakeOver,
}

impl From<SupervisionWord> for SupervisionMode {
    fn from(word: SupervisionWord) -> Self {
        match word {
            SupervisionWord::Listen => Self::Listen,
            SupervisionWord::Whisper => Self::Whisper,
            SupervisionWord::Barge => Self::Barge,
            SupervisionWord::TakeOver => Self::TakeOver,
        }
    }
}

/// A supervisor takes part in the call, or changes how. The first act calls the supervisor's phone and answers 201 with the
/// supervision, an interaction of its own; a further one answers 200 with it.
#[utoipa::path(post, path = "/tenants/{tenant}/interactions/{interaction}/supervision", tag = "calls",
    params(TenantPath, InteractionPath, IdempotencyHeader), request_body = SupervisionInput,
    responses((status = 200, description = "The supervision, changed.", body = Interaction),
        (status = 201, description = "The supervision.", body = Interaction)))]
pub async fn supervise(
    State(app): State<App>,
    scope: InTenant<Supervise>,
    Id2(_, id): Id2<TenantId, InteractionId>,
    request: Request,
    Body(input): Body<SupervisionInput>,
) -> Result<Answered, Problem> {
    if scope.who.agent.is_some_and(|own| own != input.agent) {
        return Err(answers::unfit("agent", "must be the agent that the supervisor is"));
    }
    let record = reader::interaction(&app, scope.tenant, id).await?.ok_or_else(|| answers::not_found("interaction"))?;
    let open = supervision_of(&record, Some(input.agent)).map(|party| party.interaction);
    let supervision = request.interaction_id(&app, &scope);
    let (supervisor, mode) = (input.agent, input.mode.into());
    let command = Command::SuperviseInteraction { interaction: id, supervision, supervisor, mode };
    let work = async {
        audit(&scope, mode_name(mode), id);
        let done = match commands::ask(&app, &scope, &request, command.clone()).await {
            Ok(done) => done,
            Err(failure) => return Err(failure.into_problem(&app, scope.tenant).await),
        };
        let shown = match done {
            Done::Created { interaction, .. } => interaction,
            Done::Changed | Done::Unchanged => open.unwrap_or(supervision),
        };
        let record = reader::interaction(&app, scope.tenant, shown).await?;
        let view = Interaction::from(record.ok_or_else(|| answers::not_found("interaction"))?);
        match done {
            Done::Created { .. } => {
                Answered::created(format!("/api/v1/tenants/{}/interactions/{shown}", scope.tenant), view)
            }
            Done::Changed | Done::Unchanged => Answered::done(view),
        }
    };
    commands::once(&app, &scope, &request, &command, work).await
}

const fn mode_name(mode: SupervisionMode) -> &'static str {
    match mode {
        SupervisionMode::Barge => "barge in",
        SupervisionMode::Listen => "listen",
        SupervisionMode::TakeOver => "take over",
        SupervisionMode::Whisper => "whisper",
    }
}

/// The open supervision of a call, by this supervisor or the first one.
fn supervision_of(record: &InteractionRecord, supervisor: Option<AgentId>) -> Option<&Party> {
    let is = |party: &&Party| {
        party.origin == domain::Origin::Supervision && (supervisor.is_none() || party.agent == supervisor)
    };
    record.parties.iter().find(is)
}

/// The supervisor leaves the call, which goes on. Who is an agent ends the own supervision, others the first one. Leaving twice is
/// accepted.
#[utoipa::path(delete, path = "/tenants/{tenant}/interactions/{interaction}/supervision", tag = "calls",
    params(TenantPath, InteractionPath, IdempotencyHeader),
    responses((status = 200, description = "The interaction that was supervised.", body = Interaction)))]
pub async fn end_supervision(
    State(app): State<App>,
    scope: InTenant<Supervise>,
    Id2(_, id): Id2<TenantId, InteractionId>,
    request: Request,
) -> Result<Answered, Problem> {
    let record = reader::interaction(&app, scope.tenant, id).await?.ok_or_else(|| answers::not_found("interaction"))?;
    let Some(supervision) = supervision_of(&record, scope.who.agent).map(|party| party.interaction) else {
        return Answered::done(Interaction::from(record));
    };
    audit(&scope, "end supervision", id);
    let reason = domain::EndReason::Completed;
    let command = Command::EndInteraction { interaction: supervision, reason, at_ms: None };
    change(&app, &scope, id, &request, command).await
}

/// Another queue for an interaction.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MoveInput {
    /// Which queue.
    #[schema(value_type = Uuid)]
    queue: QueueId,
}

/// Puts an interaction that waits, or is offered to whoever has the skills, into another queue. It keeps its arrival.
#[utoipa::path(post, path = "/tenants/{tenant}/interactions/{interaction}/move", tag = "calls",
    params(TenantPath, InteractionPath, IdempotencyHeader), request_body = MoveInput,
    responses((status = 200, description = "The interaction afterwards.", body = Interaction)))]
pub async fn move_interaction(
    State(app): State<App>,
    scope: InTenant<Supervise>,
    Id2(_, id): Id2<TenantId, InteractionId>,
    request: Request,
    Body(input): Body<MoveInput>,
) -> Result<Answered, Problem> {
    audit(&scope, "move", id);
    change(&app, &scope, id, &request, Command::MoveInteraction { interaction: id, queue: input.queue }).await
}

/// How an interaction is classed.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DispositionInput {
    /// The code.
    #[schema(min_length = 1, max_length = 64, pattern = "^[^\\x00-\\x1f\\x7f-\\x9f]+$")]
    code: String,
    /// What the agent notes.
    #[serde(default)]
    #[schema(max_length = 4000, pattern = "^[^\\x00-\\x08\\x0b\\x0c\\x0e-\\x1f\\x7f-\\x9f]*$")]
    notes: String,
    /// The form's fields: at most 32, keys to 64 and values to 1,000 characters.
    #[serde(default)]
    #[schema(schema_with = fields_schema)]
    fields: BTreeMap<String, String>,
}

/// What [`is_text`] accepts.
const TEXT_PATTERN: &str = "^[^\\x00-\\x08\\x0b\\x0c\\x0e-\\x1f\\x7f-\\x9f]*$";

fn fields_schema() -> utoipa::openapi::Object {
    use utoipa::openapi::schema::{ObjectBuilder, Type};
    let text = || ObjectBuilder::new().schema_type(Type::String).pattern(Some(TEXT_PATTERN));
    let key = text().min_length(Some(1)).max_length(Some(64)).build();
    let value = text().max_length(Some(1_000));
    ObjectBuilder::new().property_names(Some(key)).additional_properties(Some(value)).max_properties(Some(32)).build()
}

impl DispositionInput {
    fn parse(self) -> Result<Disposition, Problem> {
        let Self { code, notes, fields } = self;
        if !(1..=64).contains(&code.chars().count()) || code.chars().any(char::is_control) {
            return Err(answers::unfit("code", "must be 1 to 64 characters, none of them a control character"));
        }
        if notes.chars().count() > 4_000 || !is_text(&notes) {
            return Err(answers::unfit("notes", "must be at most 4000 characters of text"));
        }
        let fits = |(key, value): (&String, &String)| {
            (1..=64).contains(&key.chars().count()) && is_text(key) && value.chars().count() <= 1_000 && is_text(value)
        };
        if fields.len() > 32 || !fields.iter().all(fits) {
            return Err(answers::unfit("fields", "must be at most 32, with keys to 64 and values to 1000 characters"));
        }
        Ok(Disposition { code, notes, fields })
    }
}

/// Text of several lines: no control characters but those that part lines and columns.
fn is_text(text: &str) -> bool {
    text.chars().all(|character| !character.is_control() || matches!(character, '\n' | '\r' | '\t'))
}

/// Classes an interaction, and again as often as needed: from its offer until an hour after its end, as long as it is among the
/// last 1,000 that ended in the tenant.
#[utoipa::path(put, path = "/tenants/{tenant}/interactions/{interaction}/disposition", tag = "calls",
    params(TenantPath, InteractionPath, IdempotencyHeader), request_body = DispositionInput,
    responses((status = 200, description = "The interaction afterwards.", body = Interaction)))]
pub async fn put_disposition(
    State(app): State<App>,
    scope: InTenant<Work>,
    Id2(_, id): Id2<TenantId, InteractionId>,
    request: Request,
    Body(input): Body<DispositionInput>,
) -> Result<Answered, Problem> {
    let command = Command::SetDisposition { interaction: id, disposition: input.parse()? };
    act(&app, &scope, id, &request, "disposition", command).await
}

/// A call that an agent makes.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CallInput {
    /// An outside number; this or `agent`.
    #[serde(default)]
    #[schema(value_type = Option<String>, nullable = false, min_length = 1, max_length = 64, pattern = "^[0-9A-Za-z+*#._-]+$")]
    number: Option<PhoneNumber>,
    /// Another agent; this or `number`.
    #[serde(default)]
    #[schema(value_type = Option<Uuid>, nullable = false)]
    agent: Option<AgentId>,
    /// The queue for which the agent calls: its wrap-up, recording and caller id.
    #[serde(default)]
    #[schema(value_type = Option<Uuid>)]
    queue: Option<QueueId>,
}

/// Calls a number or another agent for the agent of the path, whose own phone is called first.
#[utoipa::path(post, path = "/tenants/{tenant}/agents/{agent}/calls", tag = "calls",
    params(TenantPath, AgentPath, IdempotencyHeader), request_body = CallInput,
    responses((status = 201, description = "The call.", body = Interaction)))]
pub async fn place_call(
    State(app): State<App>,
    ForAgent { scope, agent }: ForAgent,
    request: Request,
    Body(input): Body<CallInput>,
) -> Result<Answered, Problem> {
    let target = match (input.number, input.agent) {
        (Some(number), None) => Target::Number(number),
        (None, Some(callee)) if callee == agent => return Err(answers::unfit("agent", "must be another agent")),
        (None, Some(callee)) => Target::Agent(callee),
        (Some(_), Some(_)) | (None, None) => {
            return Err(answers::unfit("number", "there must be exactly one of number and agent"));
        }
    };
    let id = request.interaction_id(&app, &scope);
    let any = ANY_NODE.parse().map_err(|error| answers::internal("name a node", &error))?;
    let new = NewCall { id, agent, target, queue: input.queue, node: any };
    let same = |record: &InteractionRecord| record.initiator == Some(agent) && record.queue == new.queue;
    let work = async {
        quotas::check_interaction(&app, scope.tenant).await?;
        let node = free_node(&app).await?;
        audit(&scope, "call", id);
        create(&app, &scope, &request, id, Command::PlaceCall(NewCall { node, ..new.clone() }), same).await
    };
    commands::once(&app, &scope, &request, &Command::PlaceCall(new.clone()), work).await
}

/// What a media node's owner says of it.
#[derive(Debug, Default, Serialize, Deserialize)]
struct NodeSign {
    #[serde(default)]
    connected: bool,
    #[serde(default)]
    calls: u64,
}

/// The node with the fewest calls among those that an acd has and that are connected.
async fn free_node(app: &App) -> Result<NodeId, Problem> {
    let problem = |error: StoreError| answers::store_problem(&error);
    let mut cmd = redis::cmd("HGETALL");
    cmd.arg(keys::NODES);
    let signs: BTreeMap<String, String> = app.redis.run("nodes", Retry::Safe, &cmd).await.map_err(problem)?;
    let mut nodes: Vec<(u64, NodeId)> = signs
        .into_iter()
        .filter_map(|(name, text)| {
            let sign: NodeSign = serde_json::from_str(&text).ok()?;
            sign.connected.then_some(())?;
            Some((sign.calls, name.parse().ok()?))
        })
        .collect();
    nodes.sort();
    for (_, node) in nodes {
        // The sign of an acd that died stays; its lease does not.
        let mut cmd = redis::cmd("EXISTS");
        cmd.arg(keys::node_lease(&node));
        if app.redis.run::<bool>("node_lease", Retry::Safe, &cmd).await.map_err(problem)? {
            return Ok(node);
        }
    }
    Err(answers::unavailable("no media node is connected, so no call can be made"))
}

/// By how long the wrap-up is extended.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ExtendInput {
    /// Milliseconds, 1,000 to 3,600,000.
    #[schema(minimum = 1000, maximum = 3_600_000)]
    by_ms: u64,
}

/// Gives the agent more time to wrap up; at most an hour from now.
#[utoipa::path(post, path = "/tenants/{tenant}/agents/{agent}/extend-wrap-up", tag = "calls",
    params(TenantPath, AgentPath, IdempotencyHeader), request_body = ExtendInput,
    responses((status = 200, description = "The agent afterwards.", body = super::views::LiveAgent)))]
pub async fn extend_wrap_up(
    State(app): State<App>,
    ForAgent { scope, agent }: ForAgent,
    request: Request,
    Body(input): Body<ExtendInput>,
) -> Result<Answered, Problem> {
    if !(1_000..=3_600_000).contains(&input.by_ms) {
        return Err(answers::unfit("by_ms", "must be 1000 to 3600000"));
    }
    super::agents::change(&app, &scope, agent, &request, Command::ExtendWrapUp { agent, by_ms: input.by_ms }).await
}
