//! Where a request is sent, and how it is changed on its way: what routing decides and forwarding carries out.

use super::media::MediaLeg;
use super::token::Token;
use crate::flow::Flow;

/// One destination of a request.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub(super) flow: Flow,
    /// The Request-URI there; none: as it came.
    pub(super) request_uri: Option<Vec<u8>>,
    /// What Record-Route remembers; none: no Record-Route (inside a dialog).
    pub(super) token: Option<Token>,
    /// The rtpengine that the session descriptions of this way go through; none: they pass as they are.
    pub(super) media: Option<MediaLeg>,
}

/// All destinations: `targets` at once, `reserve` one after the other when those failed.
#[derive(Clone, Debug, Default)]
pub(super) struct Plan {
    pub(super) targets: Vec<Target>,
    pub(super) reserve: Vec<Target>,
    pub(super) change: Change,
}

/// Changes that the Route fields ask for (RFC 3261 16.4).
#[derive(Clone, Debug, Default)]
pub(super) struct Change {
    /// How many of our own Route values are on top.
    pub(super) remove_routes: usize,
    /// The Request-URI of a dialog whose sender is a strict router.
    pub(super) request_uri: Option<Vec<u8>>,
    /// Remove the last Route value: it became the Request-URI.
    pub(super) remove_last_route: bool,
}
