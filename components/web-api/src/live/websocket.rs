//! Where the WebSocket is, and what is said over it: for who writes a client.

use axum::extract::State;
use ringdown_live_views::{ClientMessage, ServerMessage};
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;
use utoipa::openapi::{ComponentsBuilder, OpenApiBuilder};

use crate::answers::Json;
use crate::app::App;
use crate::auth::access::{Caller, Work};
use crate::problem::Problem;

/// Where live events come from.
#[derive(Debug, Serialize, ToSchema)]
pub struct WebsocketAddress {
    /// Connect here (a path: on the host that answered, by `wss` where that was asked by `https`), and send the opening message within five seconds.
    pub url: String,
    /// What is said: an AsyncAPI document with the schemas of all messages.
    pub schema: String,
}

/// Where the WebSocket is that tells everything that happens, and where its messages are described.
#[utoipa::path(get, path = "/websocket", tag = "live",
    responses((status = 200, description = "The address.", body = WebsocketAddress)))]
pub async fn get_websocket(State(app): State<App>, _caller: Caller<Work>) -> Result<Json<WebsocketAddress>, Problem> {
    Ok(Json(WebsocketAddress { url: app.settings.websocket_url.clone(), schema: "/api/v1/asyncapi.json".to_owned() }))
}

/// The AsyncAPI document (3.0.0).
#[must_use]
pub fn document(url: &str) -> Value {
    let mut schemas = Vec::new();
    ClientMessage::schemas(&mut schemas);
    ServerMessage::schemas(&mut schemas);
    let components = ComponentsBuilder::new()
        .schemas_from_iter(schemas)
        .schema(ClientMessage::name(), <ClientMessage as utoipa::PartialSchema>::schema())
        .schema(ServerMessage::name(), <ServerMessage as utoipa::PartialSchema>::schema())
        .build();
    let schemas = OpenApiBuilder::new().components(Some(components)).build();
    // A document made of strings and numbers always becomes JSON.
    let schemas = serde_json::to_value(&schemas).unwrap_or_default();
    let (server, path) = server(url);
    let message = |name: &str, about: &str| {
        json!({ "name": name, "summary": about, "contentType": "application/json",
                "payload": { "$ref": format!("#/components/schemas/{name}") } })
    };
    json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": "Ringdown live events",
            "version": "1",
            "description": "One message opens the connection; a snapshot or `resumed` follows, then every event in order. Close codes 4000 \
                            to 4499 mean: come back with the last position; 4500 to 4999, and those of RFC 6455, mean: stop."
        },
        "servers": { "notifier": server },
        "channels": { "live": {
            "address": format!("/{path}"),
            "messages": {
                "client": message(&ClientMessage::name(), "What the client says: once, within five seconds."),
                "server": message(&ServerMessage::name(), "What the client is told.")
            }
        } },
        "operations": {
            "open": { "action": "receive", "channel": { "$ref": "#/channels/live" },
                      "messages": [{ "$ref": "#/channels/live/messages/client" }] },
            "tell": { "action": "send", "channel": { "$ref": "#/channels/live" },
                      "messages": [{ "$ref": "#/channels/live/messages/server" }] }
        },
        "components": { "schemas": schemas["components"]["schemas"] }
    })
}

/// The server of the document, and the path there.
fn server(url: &str) -> (Value, &str) {
    match url.split_once("://") {
        Some((scheme, rest)) => {
            let (host, path) = rest.split_once('/').unwrap_or((rest, "ws"));
            (json!({ "host": host, "protocol": scheme }), path)
        }
        None => {
            let about = "The host that serves this document.";
            let server =
                json!({ "host": "{host}", "protocol": "wss", "variables": { "host": { "description": about } } });
            (server, url.trim_start_matches('/'))
        }
    }
}
