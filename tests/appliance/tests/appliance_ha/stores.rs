//! What the stores say of themselves: who is master, who is primary, whether everything is there more than once.

use ringdown_appliance::fleet::Host;

/// A word to Redis (port 6379) or its Sentinel (26379) on a host.
pub(crate) fn redis_cli(host: &Host, port: u16, words: &str) -> anyhow::Result<String> {
    host.sh(&format!(
        "REDISCLI_AUTH=$(cat /etc/ringdown/secrets/REDIS_PASSWORD) timeout 2 redis-cli -p {port} --raw {words}"
    ))
}

/// The one that says it is master of two, and of which every Sentinel says so, and would take either of the two in its place;
/// which it is by its number.
pub(crate) fn redis_master(hosts: &[Host]) -> Option<usize> {
    let masters: Vec<_> = (0..hosts.len())
        .filter(|number| {
            let said = redis_cli(&hosts[*number], 6_379, "info replication").unwrap_or_default();
            said.contains("role:master")
                && said.contains("connected_slaves:2")
                && said.matches("state=online").count() == 2
        })
        .collect();
    let [master] = <[usize; 1]>::try_from(masters).ok()?;
    let agreed = hosts.iter().all(|host| {
        let asked = |what: &str| redis_cli(host, 26_379, &format!("sentinel {what} ringdown")).unwrap_or_default();
        asked("get-master-addr-by-name").lines().next() == Some(hosts[master].address())
            && flags(&asked("replicas")) == ["slave", "slave"]
            && flags(&asked("sentinels")) == ["sentinel", "sentinel"]
    });
    agreed.then_some(master)
}

/// What a Sentinel holds of those it lists: more words than one when it has lost sight of one.
fn flags(said: &str) -> Vec<&str> {
    let lines: Vec<_> = said.lines().collect();
    lines.windows(2).filter(|pair| pair[0] == "flags").map(|pair| pair[1]).collect()
}

/// To Redis, and not to the Sentinel beside it.
pub(crate) fn redis_signal(host: &Host, signal: &str) -> anyhow::Result<()> {
    host.sh(&format!("systemctl kill --kill-whom=main --signal={signal} ringdown-redis")).map(drop)
}

/// What an operator says or asks on a host of PostgreSQL.
pub(crate) fn copies(host: &Host, words: &str) -> anyhow::Result<String> {
    host.sh(&format!("/usr/lib/ringdown/postgresql_copies {words}"))
}

/// Of two hosts the one that takes writes which the other confirms; the other knows that it is waited for.
pub(crate) fn primary(hosts: &[Host]) -> Option<usize> {
    let primaries: Vec<_> = (0..2)
        .filter(|number| {
            let said = copies(&hosts[*number], "status").unwrap_or_default();
            said.contains("streaming, quorum") && said.contains("a copy confirms every write")
        })
        .collect();
    let [primary] = <[usize; 1]>::try_from(primaries).ok()?;
    let heard = copies(&hosts[1 - primary], "status").is_ok_and(|said| said.contains("this copy was then: quorum"));
    heard.then_some(primary)
}

/// To every process of PostgreSQL on its host: one that hangs hangs as a whole.
pub(crate) fn postgres_signal(host: &Host, signal: &str) -> anyhow::Result<()> {
    host.sh(&format!("pkill -{signal} -x postgres")).map(drop)
}
