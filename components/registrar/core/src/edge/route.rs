//! Where a request goes (RFC 3261 16.4, 16.5).

use super::media::Towards;
use super::plan::{Change, Plan, Target};
use super::token::{PhoneEnd, Token};
use super::{Edge, HostPort};
use crate::bindings::{Aor, Binding};
use crate::flow::Flow;
use crate::message::{FieldName, Host, NameAddr, Request, Uri};

/// What the Route fields say about us.
#[derive(Debug, Default)]
pub(super) struct OwnRoute {
    pub(super) change: Change,
    pub(super) token: Option<Token>,
}

impl Edge {
    /// Reads and takes off our own Route values; a strict router's Request-URI is put right (16.4).
    pub(super) fn own_route(&self, request: &Request<'_>, trusted: bool) -> OwnRoute {
        let message = request.message;
        let mut own = OwnRoute::default();
        let routes: Vec<Uri<'_>> = message
            .items(FieldName::Route)
            .map_while(|span| NameAddr::parse(span.ok()?.of(message.bytes())).map(|route| route.uri))
            .collect();
        if let Some(token) = self.token_of(&request.uri, trusted)
            && let Some(last) = routes.last()
        {
            own.token = Some(token);
            own.change.request_uri = Some(last.raw.to_vec());
            own.change.remove_last_route = true;
        }
        for route in &routes {
            if !self.is_us(route) {
                break;
            }
            own.token = own.token.take().or_else(|| self.token_of(route, trusted));
            own.change.remove_routes += 1;
        }
        if own.change.remove_last_route && own.change.remove_routes >= routes.len() {
            // The last value is ours as well: it is removed with the others.
            own.change.remove_last_route = false;
        }
        own
    }

    /// Inside a dialog: to the end that the request does not come from.
    pub(super) fn plan_dialog(&self, request: &Request<'_>, own: OwnRoute, trusted: bool, now_ms: u64) -> Option<Plan> {
        let towards = if trusted { Towards::Browser } else { Towards::Node };
        let media = own.token.as_ref().and_then(|token| self.media_leg(request.call_id, token, towards));
        let flow = match (&own.token, trusted) {
            (Some(token), true) => self.phone_flow(token, now_ms).or_else(|| literal_flow(&request.uri)),
            (Some(token), false) => self.node_flow(token),
            (None, true) => literal_flow(&request.uri).filter(|_| !self.is_us(&request.uri)),
            (None, false) => None,
        }?;
        let target = Target { flow, request_uri: None, token: None, media };
        Some(Plan { targets: vec![target], reserve: Vec::new(), change: own.change })
    }

    /// To all bindings of an AOR at once, best first.
    pub(super) fn plan_bindings(&self, aor: &Aor, node: Flow, call_id: &[u8], change: Change, now_ms: u64) -> Plan {
        let mut bindings: Vec<&Binding> =
            self.locations.live(aor, now_ms).filter(|binding| self.is_reachable(binding)).collect();
        bindings.sort_by(|a, b| b.q.cmp(&a.q).then_with(|| a.key.cmp(&b.key)));
        let targets = bindings
            .into_iter()
            .map(|binding| {
                let web = binding.flow.transport.is_web();
                let token = Token {
                    node: Token::node_of(node.peer),
                    phone: Token::phone_of(&binding.key),
                    aor: aor.clone(),
                    media: if web { self.choose_media(call_id) } else { None },
                };
                Target {
                    flow: binding.flow,
                    request_uri: Some(binding.contact.clone().into_bytes()),
                    media: self.media_leg(call_id, &token, Towards::Browser),
                    token: Some(token),
                }
            })
            .collect();
        Plan { targets, reserve: Vec::new(), change }
    }

    /// To the Asterisk nodes in turn, the next one when one fails.
    pub(super) fn plan_nodes(&mut self, phone: Flow, aor: &Aor, call_id: &[u8], change: Change) -> Plan {
        let first = self.next_node;
        self.next_node = self.next_node.wrapping_add(1);
        let nodes = &self.settings.nodes;
        let media = if phone.transport.is_web() { self.choose_media(call_id) } else { None };
        let phone_end = match self.locations.at_flow(phone) {
            Some((owner, key)) if owner == aor => Token::phone_of(key),
            _ => PhoneEnd::Flow(phone),
        };
        let mut targets = (0..nodes.len()).map(|at| {
            let node = nodes[(first + at) % nodes.len()];
            let token = Token { node: Token::node_of(node), phone: phone_end, aor: aor.clone(), media };
            Target {
                flow: Flow::udp(0, node),
                request_uri: None,
                media: self.media_leg(call_id, &token, Towards::Node),
                token: Some(token),
            }
        });
        let first: Vec<Target> = targets.by_ref().take(1).collect();
        Plan { targets: first, reserve: targets.collect(), change }
    }

    /// The address of record that a URI names.
    pub(super) fn named(&self, uri: &Uri<'_>) -> Aor {
        Aor { realm: self.realm_of(uri), user: uri.user_text().unwrap_or_default() }
    }

    /// The realm that a URI means: its host, or where that is an address of ours the realm that owns those.
    pub(super) fn realm_of(&self, uri: &Uri<'_>) -> String {
        let host = uri.host.to_key();
        let owner =
            self.settings.address_realm.as_ref().filter(|_| {
                uri.host.address().is_some() && !self.directory.realms.contains_key(&host) && self.is_us(uri)
            });
        owner.cloned().unwrap_or(host)
    }

    /// True when this URI names us as a host, not a user.
    pub(super) fn is_us(&self, uri: &Uri<'_>) -> bool {
        if !uri.is_sip() {
            return false;
        }
        let port = uri.port.unwrap_or(5060);
        let host = match uri.host {
            Host::Address(std::net::IpAddr::V6(address)) => format!("[{address}]"),
            Host::Address(_) | Host::Name(_) => uri.host.to_key(),
        };
        self.directory.realms.contains_key(&host) || self.settings.is_ours(&HostPort { host, port })
    }

    fn token_of(&self, uri: &Uri<'_>, trusted: bool) -> Option<Token> {
        Token::read(uri.user.filter(|_| self.is_us(uri))?, &self.settings.key, trusted)
    }

    fn phone_flow(&self, token: &Token, now_ms: u64) -> Option<Flow> {
        match token.phone {
            PhoneEnd::Flow(flow) => Some(flow),
            PhoneEnd::Binding(_) => self
                .locations
                .live(&token.aor, now_ms)
                .find(|binding| Token::phone_of(&binding.key) == token.phone && self.is_reachable(binding))
                .map(|binding| binding.flow),
        }
    }

    fn node_flow(&self, token: &Token) -> Option<Flow> {
        let node = self.settings.nodes.iter().find(|node| Token::node_of(**node) == token.node)?;
        Some(Flow::udp(0, *node))
    }
}

impl super::Settings {
    /// True for a place that we listen on or are known by.
    pub(super) fn is_ours(&self, place: &HostPort) -> bool {
        let literal = || place.host.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok();
        self.udp.contains(place)
            || self.streams.values().any(|listener| listener == place)
            || self.aliases.contains(place)
            || (self.any_address_ports.contains(&place.port) && literal())
    }
}

/// The address in a URI, over UDP; never a name.
fn literal_flow(uri: &Uri<'_>) -> Option<Flow> {
    let over_udp = uri.params.value("transport").is_none_or(|transport| transport.eq_ignore_ascii_case(b"udp"));
    let address = uri.host.address().filter(|_| over_udp && uri.is_sip())?;
    Some(Flow::udp(0, (address, uri.port.unwrap_or(5060)).into()))
}
