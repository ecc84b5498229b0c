//! The parts of the OpenAPI document that belong to every route: the service itself, the security scheme, and the refusals
//! each route can answer with.

use std::collections::HashMap;

use axum::http::HeaderValue;
use utoipa::openapi::path::{HttpMethod, Operation};
use utoipa::openapi::schema::{SchemaType, Type};
use utoipa::openapi::security::{
    ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme,
};
use utoipa::openapi::tag::TagBuilder;
use utoipa::openapi::{
    ComponentsBuilder, ContentBuilder, InfoBuilder, LicenseBuilder, OpenApi, OpenApiBuilder, PathItem, Ref, RefOr,
    Response, ResponseBuilder, Schema,
};
use utoipa::{PartialSchema, ToSchema};

use crate::console::session::COOKIE_NAME;
use crate::problem::{FieldProblem, ProblemDocument};

/// The security scheme of browsers.
const COOKIE_SCHEME: &str = "session_cookie";
/// The name of the security scheme.
const SCHEME: &str = "token";

const DESCRIPTION: &str = "\
The contact centre's REST interface. Log in with `POST /api/v1/sessions` and send the token as `Authorization: Bearer`.

- Every write accepts `Idempotency-Key`; every change of an object accepts `If-Match`.
- A change of configuration answers `Ringdown-Config-Revision` and `Ringdown-Config-Applied`; `Prefer: respond-async` does not wait \
for the router, `Prefer: wait=N` waits up to N seconds.
- Live events come over a WebSocket: `GET /api/v1/websocket` says where, `/api/v1/asyncapi.json` what is said.
- Lists have `limit` and `cursor`; times are UTC milliseconds.
- Refusals are problem documents (RFC 9457) that name the field and the reason.";

const TAGS: [(&str, &str); 12] = [
    ("sessions", "Log-in and log-out."),
    ("users", "Who can log in, and API tokens."),
    ("tenants", "Customers whose data never mix."),
    ("agents", "Who handles interactions."),
    ("skills", "What agents can do."),
    ("queues", "Where interactions wait, by which rules."),
    ("trunks", "The carriers' connections."),
    ("recordings", "What was said: found, heard, held, removed."),
    ("routes", "From dialled number to queue, and from number to trunk."),
    ("interactions", "What agents handle."),
    ("calls", "What agents and supervisors do with calls."),
    ("live", "What is going on now."),
];

/// The document without routes.
#[must_use]
pub fn base() -> OpenApi {
    let license = LicenseBuilder::new().name("Apache-2.0").identifier(Some("Apache-2.0")).build();
    let info =
        InfoBuilder::new().title("Ringdown").version("1").description(Some(DESCRIPTION)).license(Some(license)).build();
    let scheme = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .description(Some("The token of a log-in or an API token: 43 characters."))
        .build();
    let about = "The console's log-in. Writes carry `X-Ringdown-Csrf` besides.";
    let cookie = ApiKeyValue::with_description(COOKIE_NAME, about);
    let components = ComponentsBuilder::new()
        .security_scheme(SCHEME, SecurityScheme::Http(scheme))
        .security_scheme(COOKIE_SCHEME, SecurityScheme::ApiKey(ApiKey::Cookie(cookie)))
        .schema(ProblemDocument::name(), ProblemDocument::schema())
        .schema(FieldProblem::name(), FieldProblem::schema())
        .responses_from_iter(REFUSALS.map(|(_, name, about)| (name, refusal(about))))
        .build();
    let tags = TAGS.map(|(name, about)| TagBuilder::new().name(name).description(Some(about)).build());
    OpenApiBuilder::new()
        .info(info)
        .components(Some(components))
        .security(Some([SecurityRequirement::new(SCHEME, Vec::<String>::new())]))
        .tags(Some(tags))
        .build()
}

/// The document with every refusal of every route.
#[must_use]
pub fn complete(mut document: OpenApi) -> OpenApi {
    for (path, item) in &mut document.paths.paths {
        for (method, operation) in operations(item) {
            add_refusals(path, &method, operation);
            for parameter in operation.parameters.iter_mut().flatten() {
                if let RefOr::T(parameter) = parameter {
                    without_null(&mut parameter.schema);
                }
            }
        }
    }
    document
}

/// A parameter is there or left out; none can be null, as an `Option` would claim.
fn without_null(schema: &mut Option<RefOr<Schema>>) {
    if let Some(RefOr::T(Schema::Object(object))) = schema
        && let SchemaType::Array(types) = &object.schema_type
    {
        let types: Vec<Type> = types.iter().filter(|kind| **kind != Type::Null).cloned().collect();
        object.schema_type = match <[Type; 1]>::try_from(types) {
            Ok([only]) => SchemaType::Type(only),
            Err(several) => SchemaType::Array(several),
        };
    }
}

/// Each route with its methods, as `Allow` shows them.
#[must_use]
pub fn methods(document: &OpenApi) -> HashMap<String, HeaderValue> {
    let mut methods = HashMap::new();
    for path in ["/api/v1/openapi.json", "/api/v1/asyncapi.json"] {
        methods.insert(path.to_owned(), HeaderValue::from_static("GET, HEAD"));
    }
    for (path, item) in &document.paths.paths {
        let rows = [
            (item.get.is_some(), "GET, HEAD"),
            (item.post.is_some(), "POST"),
            (item.put.is_some(), "PUT"),
            (item.patch.is_some(), "PATCH"),
            (item.delete.is_some(), "DELETE"),
        ];
        let names: Vec<&str> = rows.iter().filter_map(|(there, name)| there.then_some(*name)).collect();
        if let Ok(value) = HeaderValue::from_str(&names.join(", ")) {
            methods.insert(path.clone(), value);
        }
    }
    methods
}

fn operations(item: &mut PathItem) -> Vec<(HttpMethod, &mut Operation)> {
    let PathItem { get, put, post, delete, patch, .. } = item;
    [
        (HttpMethod::Get, get),
        (HttpMethod::Put, put),
        (HttpMethod::Post, post),
        (HttpMethod::Delete, delete),
        (HttpMethod::Patch, patch),
    ]
    .into_iter()
    .filter_map(|(method, operation)| operation.as_mut().map(|operation| (method, operation)))
    .collect()
}

/// Every refusal: its status, its name in the document, what it means.
const REFUSALS: [(&str, &str, &str); 13] = [
    ("400", "BadRequest", "The request cannot be read: broken JSON, a header or a query parameter."),
    ("401", "Unauthorized", "No token, or one that is unknown, expired or revoked."),
    ("403", "Forbidden", "The role does not suffice."),
    ("404", "NotFound", "No such object, or none the caller may know of."),
    ("409", "Conflict", "The object's state, or another object, forbids it."),
    ("412", "PreconditionFailed", "The object has changed since it was read (If-Match)."),
    ("413", "ContentTooLarge", "The body is too large."),
    ("415", "UnsupportedMediaType", "The body is not declared as JSON."),
    ("416", "RangeNotSatisfiable", "The range asked for lies behind the end."),
    (
        "422",
        "Unprocessable",
        "A field is not accepted; `errors` names it. Or the Idempotency-Key stood for another request.",
    ),
    ("429", "TooMany", "Too much: log-in attempts, or waiting interactions. `Retry-After` says when to come back."),
    (
        "503",
        "Unavailable",
        "A store is away, or the configuration is on its way. `Retry-After` says when to come back.",
    ),
    ("504", "OutcomeUnknown", "Whether it was done is unknown; repeat with the same Idempotency-Key."),
];

fn add_refusals(path: &str, method: &HttpMethod, operation: &mut Operation) {
    let writes = *method != HttpMethod::Get;
    let has_body = operation.request_body.is_some();
    for (status, name, _) in REFUSALS {
        let applies = match status {
            "404" => path.contains('{'),
            "413" | "415" => has_body,
            "416" => path.ends_with("/audio"),
            "409" | "412" | "422" | "429" | "504" => writes,
            _ => true,
        };
        if applies {
            let refusal = || RefOr::Ref(Ref::from_response_name(name));
            operation.responses.responses.entry(status.to_owned()).or_insert_with(refusal);
        }
    }
}

fn refusal(about: &str) -> Response {
    let content = ContentBuilder::new().schema(Some(Ref::from_schema_name(ProblemDocument::name()))).build();
    ResponseBuilder::new().description(about).content("application/problem+json", content).build()
}
