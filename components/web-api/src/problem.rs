//! Problem documents (RFC 9457): how every refusal looks.

use axum::http::header::{CONTENT_TYPE, HeaderName, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

/// A refusal on its way. It has no `Display` on purpose: it is answered, not logged.
#[derive(Clone, Debug)]
pub struct Problem(Box<Refusal>);

#[derive(Clone, Debug)]
struct Refusal {
    document: ProblemDocument,
    headers: Vec<(HeaderName, HeaderValue)>,
}

/// A problem document (RFC 9457).
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = Problem)]
pub struct ProblemDocument {
    /// A URI that names the kind: `urn:ringdown:problem:<code>`.
    #[serde(rename = "type")]
    #[schema(rename = "type")]
    kind: String,
    /// The kind in words; the same for every problem of this kind.
    title: String,
    /// The HTTP status.
    status: u16,
    /// The kind for programs, as `not_found`.
    code: &'static str,
    /// What happened this time, one sentence.
    detail: String,
    /// The fields at fault, if it is about fields.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<FieldProblem>,
}

/// One field at fault.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct FieldProblem {
    /// The field, as `requirements[0].skill`; a header or query parameter by its name.
    pub field: String,
    /// What is accepted there, or what is wrong.
    pub reason: String,
}

impl Problem {
    /// A problem of a kind.
    #[must_use]
    pub fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        let document = ProblemDocument {
            kind: format!("urn:ringdown:problem:{code}"),
            title: status.canonical_reason().unwrap_or("Error").to_owned(),
            status: status.as_u16(),
            code,
            detail: detail.into(),
            errors: Vec::new(),
        };
        Self(Box::new(Refusal { document, headers: Vec::new() }))
    }

    /// Names a field at fault.
    #[must_use]
    pub fn field(mut self, field: impl Into<String>, reason: impl Into<String>) -> Self {
        self.0.document.errors.push(FieldProblem { field: field.into(), reason: reason.into() });
        self
    }

    /// Says when to come back.
    #[must_use]
    pub fn retry_after(self, seconds: u64) -> Self {
        self.header(RETRY_AFTER, HeaderValue::from(seconds))
    }

    /// Says how to log in (RFC 6750 3).
    #[must_use]
    pub fn challenge(self) -> Self {
        self.header(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"ringdown\""))
    }

    fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.0.headers.push((name, value));
        self
    }

    /// The kind for programs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        self.0.document.code
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let Refusal { document, headers: further } = *self.0;
        let status = StatusCode::from_u16(document.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        // Strings and numbers always become JSON.
        let body = serde_json::to_vec(&document).unwrap_or_default();
        let mut response = (status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.extend(further);
        response
    }
}
