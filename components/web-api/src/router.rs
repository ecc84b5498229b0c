//! All routes, their OpenAPI document, and what surrounds every request: the body limit, a time limit, metrics, and problem
//! documents for what no handler sees (unknown path, wrong method, panic).

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::http::header::{ALLOW, CONTENT_TYPE};
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;
use crate::auth::sessions;
use crate::console::{self, session as console_session};
use crate::live::{
    acd, agents as live_agents, calls, directory, interactions, phone_credentials, provisioning, websocket,
};
use crate::problem::Problem;
use crate::resources::{agents, outbound_routes, queues, routes as did_routes, skills, tenants, tokens, trunks, users};
use crate::{answers, openapi, quotas, recordings};

/// The largest body: an agent with 64 skills has 8 KiB, an interaction with all its notes 10 KiB.
pub const MAX_BODY_BYTES: usize = 64 * 1024;

/// The longest request: beyond every wait inside (PostgreSQL 5 s, a command with its repeat 8 s, `Prefer: wait=10`).
const REQUEST_LIMIT: Duration = Duration::from_secs(30);

/// The routes under `/api/v1`, with their part of the document.
fn api() -> OpenApiRouter<App> {
    OpenApiRouter::default()
        .routes(routes!(sessions::create_session))
        .routes(routes!(sessions::get_session, sessions::delete_session))
        .routes(routes!(
            console_session::create_console_session,
            console_session::get_console_session,
            console_session::delete_console_session
        ))
        .routes(routes!(users::list_users, users::create_user))
        .routes(routes!(users::get_user, users::patch_user, users::delete_user))
        .routes(routes!(tokens::list_tokens, tokens::create_token))
        .routes(routes!(tokens::delete_token))
        .routes(routes!(tenants::list_tenants, tenants::create_tenant))
        .routes(routes!(tenants::get_tenant, tenants::patch_tenant, tenants::delete_tenant))
        .routes(routes!(agents::list_agents, agents::create_agent))
        .routes(routes!(agents::get_agent, agents::patch_agent, agents::delete_agent))
        .routes(routes!(agents::put_agent_skill, agents::delete_agent_skill))
        .routes(routes!(skills::list_skills, skills::create_skill))
        .routes(routes!(skills::get_skill, skills::patch_skill, skills::delete_skill))
        .routes(routes!(queues::list_queues, queues::create_queue))
        .routes(routes!(queues::get_queue, queues::patch_queue, queues::delete_queue))
        .routes(routes!(trunks::list_trunks, trunks::create_trunk))
        .routes(routes!(trunks::get_trunk, trunks::patch_trunk, trunks::delete_trunk))
        .routes(routes!(outbound_routes::list_outbound_routes, outbound_routes::create_outbound_route))
        .routes(routes!(
            outbound_routes::get_outbound_route,
            outbound_routes::patch_outbound_route,
            outbound_routes::delete_outbound_route
        ))
        .routes(routes!(did_routes::list_routes, did_routes::create_route))
        .routes(routes!(did_routes::get_route, did_routes::patch_route, did_routes::delete_route))
        .routes(routes!(interactions::list_interactions, interactions::create_interaction))
        .routes(routes!(interactions::get_interaction))
        .routes(routes!(interactions::get_history))
        .routes(routes!(interactions::end_interaction))
        .routes(routes!(interactions::accept_offer))
        .routes(routes!(interactions::reject_offer))
        .routes(routes!(calls::hold))
        .routes(routes!(calls::resume))
        .routes(routes!(calls::mute))
        .routes(routes!(calls::unmute))
        .routes(routes!(calls::send_digits))
        .routes(routes!(calls::transfer))
        .routes(routes!(calls::consult))
        .routes(routes!(calls::complete_consult))
        .routes(routes!(calls::conference))
        .routes(routes!(calls::cancel_consult))
        .routes(routes!(calls::set_recording))
        .routes(routes!(calls::supervise, calls::end_supervision))
        .routes(routes!(calls::move_interaction))
        .routes(routes!(calls::put_disposition))
        .routes(routes!(calls::place_call))
        .routes(routes!(calls::extend_wrap_up))
        .routes(routes!(live_agents::get_status, live_agents::put_status))
        .routes(routes!(directory::get_directory))
        .routes(routes!(directory::list_agent_interactions))
        .routes(routes!(live_agents::finish_wrap_up))
        .routes(routes!(live_agents::list_live_agents))
        .routes(routes!(phone_credentials::create_phone_credentials))
        .routes(routes!(acd::get_acd, acd::put_acd))
        .routes(routes!(acd::list_live_queues))
        .routes(routes!(acd::get_live_queue))
        .routes(routes!(provisioning::get_provisioning))
        .routes(routes!(recordings::list_recordings))
        .routes(routes!(recordings::get_recording, recordings::patch_recording, recordings::delete_recording))
        .routes(routes!(recordings::hearing::get_recording_audio))
        .routes(routes!(recordings::hearing::get_recording_outline))
        .routes(routes!(quotas::list_quotas))
        .routes(routes!(websocket::get_websocket))
}

/// The OpenAPI document.
#[must_use]
pub fn document() -> utoipa::openapi::OpenApi {
    let (_, document) = OpenApiRouter::with_openapi(openapi::base()).nest("/api/v1", api()).split_for_parts();
    openapi::complete(document)
}

/// The whole service, with `admin` (health and metrics) on the same port.
pub fn service(app: App, admin: Router) -> Router {
    let document = document();
    let surroundings = Surroundings { app: app.clone(), methods: Arc::new(openapi::methods(&document)) };
    // A document made of strings and numbers always becomes JSON.
    let document = JsonText(document.to_json().unwrap_or_default());
    let messages = JsonText(websocket::document(&app.settings.websocket_url).to_string());
    let mut connects = app.settings.phone_urls.clone();
    connects.push(app.settings.websocket_url.clone());
    let (api, _) = api().split_for_parts();
    let api = api
        .route("/asyncapi.json", get(move || std::future::ready(messages.clone())))
        .route("/openapi.json", get(move || std::future::ready(document.clone())))
        .fallback(no_such_path)
        .method_not_allowed_fallback(no_such_method)
        .layer(middleware::from_fn_with_state(surroundings, around));
    Router::new()
        .nest("/api/v1", api)
        .with_state(app)
        .merge(console::routes(&connects))
        .merge(admin)
        .fallback(no_such_path)
}

/// A JSON text made once.
#[derive(Clone)]
struct JsonText(String);

impl IntoResponse for JsonText {
    fn into_response(self) -> Response {
        ([(CONTENT_TYPE, HeaderValue::from_static("application/json"))], self.0).into_response()
    }
}

async fn no_such_path() -> Problem {
    answers::not_found("path")
}

async fn no_such_method() -> Problem {
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "this path has no such method")
}

/// What surrounds every request.
#[derive(Clone)]
struct Surroundings {
    app: App,
    /// Route pattern to its methods, for `Allow`.
    methods: Arc<HashMap<String, HeaderValue>>,
}

/// Limits, measures and names what no handler answers.
async fn around(State(surroundings): State<Surroundings>, request: Request, next: Next) -> Response {
    let started = Instant::now();
    let method = known_method(request.method());
    let route = request.extensions().get::<MatchedPath>().map_or("unmatched", MatchedPath::as_str).to_owned();
    let mut response = match tokio::time::timeout(REQUEST_LIMIT, next.run(request)).await {
        Ok(response) => response,
        Err(_) => {
            log::error!(method, route = route.as_str(); "a request took longer than its limit");
            answers::outcome_unknown().into_response()
        }
    };
    if response.status() == StatusCode::METHOD_NOT_ALLOWED
        && let Some(methods) = surroundings.methods.get(&route)
    {
        response.headers_mut().insert(ALLOW, methods.clone());
    }
    surroundings.app.metrics.answered(method, &route, response.status().as_u16(), started.elapsed());
    response
}

/// Methods are the client's words: those nobody has would make as many series as a client likes.
fn known_method(method: &axum::http::Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "PATCH" => "PATCH",
        "DELETE" => "DELETE",
        "OPTIONS" => "OPTIONS",
        _ => "other",
    }
}
