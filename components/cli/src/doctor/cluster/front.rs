//! Load balancers: which servers each reaches, and which of them has the virtual address.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use super::super::Finding;
use super::daemons::{Seen, body};
use super::layout::Layout;
use super::{LET_IN, client};

const PORT: u16 = 8_404;

pub(super) async fn findings(layout: &Layout, seen: &BTreeMap<Ipv4Addr, Seen>) -> anyhow::Result<Vec<Finding>> {
    let client = client()?;
    let mut findings = Vec::new();
    for address in seen.iter().filter(|(_, host)| host.has_haproxy()).map(|(address, _)| address) {
        let figures = text(&client, &format!("http://{address}:{PORT}/metrics")).await;
        findings.extend(match figures {
            Some(figures) => servers(*address, &figures),
            None => vec![Finding::warning(&format!("load balancer {address}"), "does not tell its figures", LET_IN)],
        });
    }
    if let Some(address) = layout.virtual_address {
        let who = text(&client, &format!("http://{address}:{PORT}/who")).await;
        findings.push(holder(address, who.as_deref().map(str::trim)));
    }
    Ok(findings)
}

async fn text(client: &reqwest::Client, url: &str) -> Option<String> {
    let answer = client.get(url).send().await.ok()?.error_for_status().ok()?;
    body(answer).await
}

fn holder(address: Ipv4Addr, who: Option<&str>) -> Finding {
    let what = format!("virtual address {address}");
    match who {
        Some(who) => Finding::good(&what, format!("at {who}")),
        None => Finding::bad(
            &what,
            "no load balancer has it, or none that lets this host ask",
            "on the load balancers: systemctl status haproxy keepalived; journalctl -u keepalived says why none takes it",
        ),
    }
}

/// Servers by what HAProxy's checks say: lines as `haproxy_server_status{proxy="api",server="api-10.0.0.21-8000",state="DOWN"} 1`.
fn servers(address: Ipv4Addr, figures: &str) -> Vec<Finding> {
    let mut states: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for line in figures.lines().filter(|line| line.starts_with("haproxy_server_status{") && line.ends_with(" 1")) {
        let label = |name: &str| line.split_once(&format!("{name}=\""))?.1.split('"').next();
        if let (Some(proxy), Some(server), Some(state)) = (label("proxy"), label("server"), label("state")) {
            // Load balancers beside this one have a finding of their own; places of a name that has fewer addresses have none.
            if proxy != "others" && !(state == "MAINT" && is_place_of_a_name(server)) {
                states.entry(state).or_default().push(server.to_owned());
            }
        }
    }
    let what = format!("load balancer {address}");
    let of = |state: &str| states.get(state).map(|servers| servers.join(", "));
    let mut findings = Vec::new();
    if let Some(down) = of("DOWN") {
        findings.push(Finding::bad(
            &what,
            format!("does not reach {down}"),
            "ringdown doctor on the hosts of those servers",
        ));
    }
    for state in ["DRAIN", "MAINT", "NOLB"] {
        if let Some(servers) = of(state) {
            let found = format!("gives no new work to {servers} ({state})");
            findings.push(Finding::warning(
                &what,
                found,
                format!("when they shall work again, on {address}: /usr/lib/ringdown/front ready HOST"),
            ));
        }
    }
    if findings.is_empty() {
        findings.push(Finding::good(&what, format!("reaches {} servers", states.get("UP").map_or(0, Vec::len))));
    }
    findings
}

/// `api-<name>-3`; a server by address ends with its port.
fn is_place_of_a_name(server: &str) -> bool {
    server.rsplit('-').next().is_some_and(|last| last.len() < 4)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Verdict;

    #[test]
    fn servers_that_are_down_or_drained_are_named() {
        let figures = "haproxy_server_status{proxy=\"api\",server=\"api-10.0.0.21-8000\",state=\"DOWN\"} 1\n\
                       haproxy_server_status{proxy=\"api\",server=\"api-10.0.0.21-8000\",state=\"UP\"} 0\n\
                       haproxy_server_status{proxy=\"api\",server=\"api-10.0.0.22-8000\",state=\"DRAIN\"} 1\n\
                       haproxy_server_status{proxy=\"notifier\",server=\"notifier-10.0.0.22-8001\",state=\"UP\"} 1\n";
        let findings = servers("10.0.0.2".parse().unwrap(), figures);
        let said: Vec<_> = findings.iter().map(|finding| (finding.verdict, finding.found.as_str())).collect();
        assert_eq!(
            said,
            [
                (Verdict::Bad, "does not reach api-10.0.0.21-8000"),
                (Verdict::Warning, "gives no new work to api-10.0.0.22-8000 (DRAIN)")
            ]
        );
        let well = servers("10.0.0.2".parse().unwrap(), figures.lines().last().unwrap());
        assert_eq!(well[0].found, "reaches 1 servers");
    }

    #[test]
    fn somebody_has_the_virtual_address() {
        let address = "10.0.0.1".parse().unwrap();
        assert_eq!(holder(address, Some("10.0.0.2")).verdict, Verdict::Good);
        assert_eq!(holder(address, None).verdict, Verdict::Bad);
    }
}
