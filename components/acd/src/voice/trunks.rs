//! Over which trunk an outside number is dialled.

use ringdown_domain::PhoneNumber;
use ringdown_events::{CompiledConfig, TrunkConfig};

/// A trunk that leads to a number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Way {
    /// As Asterisk dials it.
    pub(crate) endpoint: String,
    /// The number that is shown; none: the carrier's default.
    pub(crate) caller_id: Option<String>,
}

/// The trunks that lead to a number, the first choice first.
pub(crate) fn ways(config: &CompiledConfig, number: &PhoneNumber) -> Vec<Way> {
    let route = config.meta.outbound.iter().find(|route| number.as_str().starts_with(&route.prefix));
    let trunks: Vec<(&TrunkConfig, &str, String)> = match route {
        Some(route) => {
            let rest = number.as_str().strip_prefix(&route.strip).unwrap_or(number.as_str());
            let dialled = format!("{}{rest}", route.prepend);
            let named = route.trunks.iter().filter_map(|trunk| config.trunks.get(trunk));
            named.filter_map(|trunk| Some((trunk, trunk.destination.as_deref()?, dialled.clone()))).collect()
        }
        // Without any outbound route every trunk that names a destination leads everywhere.
        None if config.meta.outbound.is_empty() => {
            let mut all: Vec<&TrunkConfig> = config.trunks.values().collect();
            all.sort_by_key(|trunk| (trunk.name.as_str(), trunk.id));
            let number = number.as_str().to_owned();
            all.into_iter().filter_map(|trunk| Some((trunk, trunk.destination.as_deref()?, number.clone()))).collect()
        }
        None => Vec::new(),
    };
    let caller_id =
        |trunk: &TrunkConfig| route.and_then(|route| route.caller_id.clone()).or_else(|| trunk.caller_id.clone());
    trunks
        .into_iter()
        .map(|(trunk, destination, dialled)| Way {
            endpoint: format!("PJSIP/trunk-{}/sip:{dialled}@{destination}", trunk.id),
            caller_id: caller_id(trunk),
        })
        .collect()
}
