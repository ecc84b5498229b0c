//! Interactions: create, read, end, accept and reject, and the story behind each.
//!
//! Every change is a command to the tenant's router; this module never writes live state.

use std::collections::BTreeMap;

use crate::problem::Problem;
use axum::extract::State;
use ringdown_domain as domain;
use ringdown_domain::{InteractionId, PhoneNumber, Priority, QueueId, TenantId};
use ringdown_events::{Command, Done, InteractionRecord, NewInteraction, RefusalCode};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa::openapi::schema::{ObjectBuilder, Type};

use super::commands::{self, Answered, Request};
use super::reader;
use super::views::{Delivery, Interaction, StoryEntry};
use crate::answers::{self, Body, Id2, IdempotencyHeader, InteractionPath, Json, Page, Query, TenantPath};
use crate::app::App;
use crate::auth::access::{InTenant, Supervise, Work};
use crate::quotas;
use crate::resources::skill_set::{RequirementInput, Requirements};

/// The most notes on one interaction.
const MAX_ATTRIBUTES: usize = 16;

/// A new interaction.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct InteractionInput {
    /// Its queue, whose rules apply. Without one, `requirements` must name at least one skill.
    #[serde(default)]
    #[schema(value_type = Option<Uuid>)]
    queue: Option<QueueId>,
    /// The skills it needs beyond the queue's, all of them; at most 16, each once.
    #[serde(default)]
    #[schema(value_type = Vec<RequirementInput>, max_items = 16)]
    requirements: Requirements,
    /// 0 (normal) to 100; the queue's when left out.
    #[serde(default)]
    #[schema(value_type = Option<u8>, minimum = 0, maximum = 100)]
    priority: Option<Priority>,
    /// `direct` assigns the agent at once; `ring` offers and waits for accept.
    #[serde(default)]
    delivery: Delivery,
    /// Who it comes from.
    #[serde(default)]
    #[schema(value_type = Option<String>, min_length = 1, max_length = 64, pattern = "^[0-9A-Za-z+*#._-]+$")]
    caller: Option<PhoneNumber>,
    /// What it was addressed to.
    #[serde(default)]
    #[schema(value_type = Option<String>, min_length = 1, max_length = 64, pattern = "^[0-9A-Za-z+*#._-]+$")]
    called: Option<PhoneNumber>,
    /// Free notes: at most 16, keys to 64 and values to 256 characters.
    #[serde(default, deserialize_with = "attributes")]
    #[schema(schema_with = attributes_schema)]
    attributes: BTreeMap<String, String>,
}

fn attributes_schema() -> utoipa::openapi::Object {
    let key = ObjectBuilder::new().schema_type(Type::String).min_length(Some(1)).max_length(Some(64)).build();
    let value = ObjectBuilder::new().schema_type(Type::String).max_length(Some(256));
    ObjectBuilder::new()
        .property_names(Some(key))
        .additional_properties(Some(value))
        .max_properties(Some(MAX_ATTRIBUTES))
        .build()
}

fn attributes<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, String>, D::Error> {
    use serde::de::Error;
    let attributes = BTreeMap::<String, String>::deserialize(deserializer)?;
    if attributes.len() > MAX_ATTRIBUTES {
        return Err(D::Error::custom(format!("must have at most {MAX_ATTRIBUTES} entries")));
    }
    let fits =
        |(key, value): (&String, &String)| !key.is_empty() && key.chars().count() <= 64 && value.chars().count() <= 256;
    if attributes.iter().all(fits) {
        Ok(attributes)
    } else {
        Err(D::Error::custom("must have keys of 1 to 64 and values of at most 256 characters"))
    }
}

/// Creates an interaction. It is assigned or offered at once when an agent with the skills is free, and waits otherwise.
/// A repeat with the same Idempotency-Key creates nothing and answers with the first one.
#[utoipa::path(post, path = "/tenants/{tenant}/interactions", tag = "interactions",
    params(TenantPath, IdempotencyHeader), request_body = InteractionInput,
    responses((status = 201, description = "Created.", body = Interaction)))]
pub async fn create_interaction(
    State(app): State<App>,
    scope: InTenant<Supervise>,
    request: Request,
    Body(input): Body<InteractionInput>,
) -> Result<Answered, Problem> {
    if input.queue.is_none() && input.requirements.0.is_empty() {
        return Err(answers::unfit("requirements", "must name at least one skill when there is no queue"));
    }
    let id = request.interaction_id(&app, &scope);
    let command = Command::CreateInteraction(new_interaction(id, input));
    commands::once(&app, &scope, &request, &command, create(&app, &scope, &request, id, command.clone())).await
}

async fn create(
    app: &App,
    scope: &InTenant<Supervise>,
    request: &Request,
    id: InteractionId,
    command: Command,
) -> Result<Answered, Problem> {
    quotas::check_interaction(app, scope.tenant).await?;
    let record = match commands::ask(app, scope, request, command.clone()).await {
        Ok(Done::Created { .. } | Done::Changed | Done::Unchanged) => {
            reader::interaction(app, scope.tenant, id).await?.ok_or_else(|| answers::not_found("interaction"))?
        }
        Err(commands::Failure::Refused(refusal)) if refusal.code == RefusalCode::DuplicateInteraction => {
            already_created(app, scope.tenant, &command, id).await?
        }
        Err(failure) => return Err(failure.into_problem(app, scope.tenant).await),
    };
    let location = format!("/api/v1/tenants/{}/interactions/{id}", scope.tenant);
    Answered::created(location, Interaction::from(record))
}

fn new_interaction(id: InteractionId, input: InteractionInput) -> NewInteraction {
    NewInteraction {
        id,
        media: domain::Media::Task,
        delivery: input.delivery.into(),
        queue: input.queue,
        requirements: input.requirements.0,
        priority: input.priority,
        caller: input.caller,
        called: input.called,
        node: None,
        attributes: input.attributes,
        arrived_at_ms: None,
    }
}

/// The id comes from the Idempotency-Key, so a duplicate is either a repeat the router no longer remembers, or another
/// request under a used key.
async fn already_created(
    app: &App,
    tenant: TenantId,
    command: &Command,
    id: InteractionId,
) -> Result<InteractionRecord, Problem> {
    let record = reader::interaction(app, tenant, id).await?.ok_or_else(|| answers::not_found("interaction"))?;
    let same = matches!(command, Command::CreateInteraction(new) if is_same(new, &record));
    if same { Ok(record) } else { Err(answers::key_reused()) }
}

fn is_same(new: &NewInteraction, record: &InteractionRecord) -> bool {
    new.media == record.media
        && new.delivery == record.delivery
        && new.queue == record.queue
        && new.caller == record.caller
        && new.called == record.called
        && new.attributes == record.attributes
        && new.priority.is_none_or(|priority| priority == record.priority)
        && new.requirements.iter().all(|need| record.requirements.iter().any(|has| has.skill == need.skill))
}

/// Which interactions to list.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct InteractionFilter {
    /// Only those in this state.
    #[param(inline)]
    state: Option<LiveState>,
    /// Only those of this queue.
    #[param(value_type = Option<Uuid>)]
    queue: Option<QueueId>,
    /// Most items of the answer, 1 to 500; 100 when left out.
    #[param(value_type = Option<u16>, minimum = 1, maximum = 500)]
    limit: Option<answers::Limit>,
    /// `next_cursor` of the page before, of a list with the same `state`.
    #[param(pattern = "^([0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}|[1-9][0-9]{0,17})$")]
    cursor: Option<String>,
}

/// A state to list by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum LiveState {
    /// In its queue.
    Waiting,
    /// Offered to an agent.
    Offered,
    /// With an agent.
    Connected,
    /// With an outside number.
    External,
    /// Over.
    Ended,
}

impl LiveState {
    fn matches(self, state: &domain::InteractionState) -> bool {
        match state {
            domain::InteractionState::Waiting => self == Self::Waiting,
            domain::InteractionState::Offered { .. } => self == Self::Offered,
            domain::InteractionState::Connected { .. } => self == Self::Connected,
            domain::InteractionState::External { .. } => self == Self::External,
            domain::InteractionState::Ended { .. } => self == Self::Ended,
        }
    }
}

/// Lists the interactions that have not ended, oldest first; with `state=ended` those that have, the last one first. A page may be shorter than its limit, even empty, and still have
/// a `next_cursor`: a filter looks at a bounded number per request.
#[utoipa::path(get, path = "/tenants/{tenant}/interactions", tag = "interactions",
    params(TenantPath, InteractionFilter),
    responses((status = 200, description = "A page.", body = Page<Interaction>)))]
pub async fn list_interactions(
    State(app): State<App>,
    scope: InTenant<Supervise>,
    Query(filter): Query<InteractionFilter>,
) -> Result<Json<Page<Interaction>>, Problem> {
    let limit = filter.limit.unwrap_or_default();
    let in_queue = |record: &InteractionRecord| filter.queue.is_none_or(|queue| record.queue == Some(queue));
    if filter.state == Some(LiveState::Ended) {
        return page_of_ended(&app, scope.tenant, filter.cursor.as_deref(), limit, in_queue).await;
    }
    let after = filter.cursor.as_deref().map(answers::id_cursor).transpose()?.map(InteractionId);
    let wanted = |record: &InteractionRecord| {
        filter.state.is_none_or(|state| state.matches(&record.state))
            && !matches!(record.state, domain::InteractionState::Ended { .. })
            && in_queue(record)
    };
    let page = reader::live_page(&app, scope.tenant, after, limit.value(), wanted).await?;
    Ok(Json(Page { items: page.items.into_iter().map(Interaction::from).collect(), next_cursor: page.next_cursor }))
}

/// A page of interactions that have ended, the last one first.
pub(super) async fn page_of_ended(
    app: &App,
    tenant: TenantId,
    cursor: Option<&str>,
    limit: answers::Limit,
    wanted: impl Fn(&InteractionRecord) -> bool,
) -> Result<Json<Page<Interaction>>, Problem> {
    let before = cursor.map(|text| text.parse().map_err(|_| answers::bad_cursor())).transpose()?;
    let page = reader::ended_page(app, tenant, before, limit.value(), wanted).await?;
    let items = page.items.into_iter().map(Interaction::from).collect();
    Ok(Json(Page { items, next_cursor: page.next_cursor }))
}

/// One interaction. Agents see those offered to them or with them.
#[utoipa::path(get, path = "/tenants/{tenant}/interactions/{interaction}", tag = "interactions",
    params(TenantPath, InteractionPath),
    responses((status = 200, description = "The interaction.", body = Interaction)))]
pub async fn get_interaction(
    State(app): State<App>,
    scope: InTenant<Work>,
    Id2(_, id): Id2<TenantId, InteractionId>,
) -> Result<Json<Interaction>, Problem> {
    let record = own_interaction(&app, &scope, id).await?;
    Ok(Json(record.into()))
}

/// What happened to the interaction, oldest first, with the decision behind each offer.
#[utoipa::path(get, path = "/tenants/{tenant}/interactions/{interaction}/history", tag = "interactions",
    params(TenantPath, InteractionPath),
    responses((status = 200, description = "Its story.", body = Page<StoryEntry>)))]
pub async fn get_history(
    State(app): State<App>,
    scope: InTenant<Supervise>,
    Id2(_, id): Id2<TenantId, InteractionId>,
) -> Result<Json<Page<StoryEntry>>, Problem> {
    let entries = reader::history(&app, scope.tenant, id).await?;
    if entries.is_empty() {
        return Err(answers::not_found("interaction"));
    }
    Ok(Json(Page { items: entries.into_iter().filter_map(StoryEntry::tell).collect(), next_cursor: None }))
}

/// How an interaction is ended.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct EndInput {
    /// `completed` (the default): it is done; `abandoned`: whoever waited left.
    reason: EndInputReason,
}

/// Why it is ended.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum EndInputReason {
    /// It is done.
    #[default]
    Completed,
    /// Whoever waited left.
    Abandoned,
}

/// Ends an interaction, wherever it is; its agent wraps up or is available again. Ending twice is accepted. Agents may end
/// those they have.
#[utoipa::path(post, path = "/tenants/{tenant}/interactions/{interaction}/end", tag = "interactions",
    params(TenantPath, InteractionPath, IdempotencyHeader), request_body = EndInput,
    responses((status = 200, description = "Ended.", body = Interaction)))]
pub async fn end_interaction(
    State(app): State<App>,
    scope: InTenant<Work>,
    Id2(_, id): Id2<TenantId, InteractionId>,
    request: Request,
    Body(input): Body<EndInput>,
) -> Result<Answered, Problem> {
    own_interaction(&app, &scope, id).await?;
    let reason = match input.reason {
        EndInputReason::Completed => domain::EndReason::Completed,
        EndInputReason::Abandoned => domain::EndReason::Abandoned,
    };
    let command = Command::EndInteraction { interaction: id, reason, at_ms: None };
    change(&app, &scope, id, &request, command).await
}

/// Which offer is meant.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OfferInput {
    /// The offer's id, from the interaction's state; an offer that is over is refused.
    #[schema(value_type = Uuid)]
    offer: domain::OfferId,
}

/// Accepts an offer of a task that rings on the agent's desktop. (A call is accepted by answering the phone.)
#[utoipa::path(post, path = "/tenants/{tenant}/interactions/{interaction}/accept", tag = "interactions",
    params(TenantPath, InteractionPath, IdempotencyHeader), request_body = OfferInput,
    responses((status = 200, description = "Connected.", body = Interaction)))]
pub async fn accept_offer(
    State(app): State<App>,
    scope: InTenant<Work>,
    Id2(_, id): Id2<TenantId, InteractionId>,
    request: Request,
    Body(input): Body<OfferInput>,
) -> Result<Answered, Problem> {
    desktop_offer(&app, &scope, id, input.offer).await?;
    let command = Command::AcceptOffer { interaction: id, offer: input.offer };
    change(&app, &scope, id, &request, command).await
}

/// Pushes an offer away; the interaction returns to its place and the agent becomes not ready (`rejected`).
#[utoipa::path(post, path = "/tenants/{tenant}/interactions/{interaction}/reject", tag = "interactions",
    params(TenantPath, InteractionPath, IdempotencyHeader), request_body = OfferInput,
    responses((status = 200, description = "Rejected.", body = Interaction)))]
pub async fn reject_offer(
    State(app): State<App>,
    scope: InTenant<Work>,
    Id2(_, id): Id2<TenantId, InteractionId>,
    request: Request,
    Body(input): Body<OfferInput>,
) -> Result<Answered, Problem> {
    desktop_offer(&app, &scope, id, input.offer).await?;
    let failure = domain::OfferFailure::Rejected;
    let command = Command::FailOffer { interaction: id, offer: input.offer, failure, sip_code: None };
    change(&app, &scope, id, &request, command).await
}

/// The interaction, if the caller may see it; otherwise it does not exist for them.
pub(super) async fn own_interaction(
    app: &App,
    scope: &InTenant<Work>,
    id: InteractionId,
) -> Result<InteractionRecord, Problem> {
    let record = reader::interaction(app, scope.tenant, id).await?.ok_or_else(|| answers::not_found("interaction"))?;
    let sees = scope.who.scope().is_some_and(|scope| scope.sees_interaction(&record));
    if sees {
        return Ok(record);
    }
    app.metrics.denied("object");
    log::warn!(user:display = scope.who.user, interaction:display = id; "denied: another agent's interaction");
    Err(answers::not_found("interaction"))
}

/// Refuses to answer a telephone from the desktop. Whether the offer still stands is the router's to say.
async fn desktop_offer(
    app: &App,
    scope: &InTenant<Work>,
    id: InteractionId,
    offer: domain::OfferId,
) -> Result<(), Problem> {
    let record = own_interaction(app, scope, id).await?;
    match record.media {
        domain::Media::Task => Ok(()),
        domain::Media::Voice => {
            log::debug!(interaction:display = id, offer:display; "a call's offer was answered over the API");
            Err(answers::conflict("offer_is_a_call", "a call is answered or rejected on its agent's phone"))
        }
    }
}

/// Sends a command about an interaction, and answers with it as it is afterwards.
pub(super) async fn change<N>(
    app: &App,
    scope: &InTenant<N>,
    id: InteractionId,
    request: &Request,
    command: Command,
) -> Result<Answered, Problem> {
    let work = async {
        match commands::ask(app, scope, request, command.clone()).await {
            Ok(_) => {
                let record = reader::interaction(app, scope.tenant, id).await?;
                Answered::done(Interaction::from(record.ok_or_else(|| answers::not_found("interaction"))?))
            }
            Err(failure) => Err(failure.into_problem(app, scope.tenant).await),
        }
    };
    commands::once(app, scope, request, &command, work).await
}
