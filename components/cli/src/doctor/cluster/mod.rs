//! `ringdown doctor --cluster`: what this host sees of the others over the network, without a way into them.
//!
//! ```text
//! operator.env (and --hosts): peers, members, the virtual address
//!    |-- daemons     /readyz of each host: who is ready, of which version, by which clock
//!    |-- redis       role of each member, what each Sentinel believes; tenants without a router, versions of configuration
//!    |-- postgresql  which member takes writes, how far the copies are
//!    '-- front       who has the virtual address, which servers each load balancer reaches
//! ```
//! It asks what this host may ask: ports that are open to peers, with secrets this host has. What is inside another host (its
//! disk, its units) `ringdown doctor` on that host says. Nothing here changes anything.

mod daemons;
mod front;
mod layout;
mod postgresql;
mod redis;

use std::time::Duration;

use super::Finding;
use crate::appliance::Appliance;

use layout::Layout;
pub(crate) use layout::Place;

/// For one question to one host: a peer on the same network answers in milliseconds.
const LIMIT: Duration = Duration::from_secs(2);
/// What to do where a host cannot be seen at all.
const LET_IN: &str = "is it up and on the network, and is this host among its RINGDOWN_PEERS?";
const THERE: &str = "on that host: ringdown doctor";

pub(super) async fn examine(appliance: &Appliance, given: &[Place]) -> anyhow::Result<Vec<Finding>> {
    let layout = Layout::read(appliance, given)?;
    let mut findings = layout.findings();
    let seen = daemons::ask(appliance.address, &layout).await?;
    findings.extend(daemons::findings(&layout, &seen));
    findings.extend(redis::findings(appliance, &layout).await);
    findings.extend(postgresql::findings(appliance, &layout).await?);
    findings.extend(front::findings(&layout, &seen).await?);
    Ok(findings)
}

/// For questions to hosts beside us: never through a proxy.
fn client() -> anyhow::Result<reqwest::Client> {
    Ok(reqwest::Client::builder().timeout(LIMIT).no_proxy().build()?)
}

/// Words between commas.
fn list<T: ToString>(words: impl IntoIterator<Item = T>) -> String {
    words.into_iter().map(|word| word.to_string()).collect::<Vec<_>>().join(", ")
}
