//! The admin port: is it alive, is it ready and for whom does it wait, what are its numbers.

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use prometheus_client::metrics::info::Info;
use serde_json::json;

use crate::{Life, Metrics};

/// Content type of OpenMetrics text, version 1.0.0.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

pub(crate) fn router(life: &Life) -> Router {
    Router::new()
        .route("/livez", get(live))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .with_state(life.clone())
}

pub(crate) fn register_build(metrics: &Metrics, name: &'static str, version: &'static str) {
    let info = Info::new(vec![("daemon", name), ("version", version)]);
    metrics.with(|registry| registry.register("build", "Which daemon of which version this is.", info));
}

async fn live(State(life): State<Life>) -> Response {
    let stalled = life.health().stalled();
    let code = if stalled.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    answer(code, &json!({ "daemon": life.name(), "alive": stalled.is_empty(), "stalled": stalled }))
}

async fn ready(State(life): State<Life>) -> Response {
    let waiting = life.health().waiting();
    let code = if waiting.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let waiting: Vec<_> = waiting.iter().map(|(part, why)| json!({ "for": part, "why": why })).collect();
    answer(code, &json!({ "daemon": life.name(), "ready": waiting.is_empty(), "waiting": waiting }))
}

async fn metrics(State(life): State<Life>) -> Response {
    ([(header::CONTENT_TYPE, OPEN_METRICS)], life.metrics().encode()).into_response()
}

fn answer(code: StatusCode, body: &serde_json::Value) -> Response {
    (code, [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")], body.to_string())
        .into_response()
}
