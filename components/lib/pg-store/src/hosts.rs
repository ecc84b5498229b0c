//! Several hosts of one PostgreSQL, of which one takes writes: each has its own share of the time to connect.
//!
//! The library limits only the opening of the socket. A server that hangs still opens it and then says nothing more, so that it
//! would use up the time of the others. The host that was right last is tried first.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use ringdown_service::within;
use tokio_postgres::config::Host;
use tokio_postgres::tls::NoTlsStream;
use tokio_postgres::{Client, Config, NoTls, Socket};

use crate::PgError;

/// What the library gives for a connection.
pub(crate) type Opened = (Client, tokio_postgres::Connection<Socket, NoTlsStream>);

#[derive(Debug)]
pub(crate) struct Hosts {
    each: Vec<Config>,
    limit: Duration,
    /// The host that connected last.
    right: AtomicUsize,
}

impl Hosts {
    /// The hosts of `config`, which share `limit`.
    pub(crate) fn new(config: &Config, limit: Duration) -> Self {
        let mut each = each_host(config);
        let share = limit / u32::try_from(each.len()).unwrap_or(u32::MAX).max(1);
        for config in &mut each {
            config.connect_timeout(share);
        }
        Self { each, limit: share, right: AtomicUsize::new(0) }
    }

    /// A connection to the first that is what the address wants.
    pub(crate) async fn connect(&self) -> Result<Opened, PgError> {
        let (first, mut why) = (self.right.load(Ordering::Relaxed), Vec::new());
        for number in 0..self.each.len() {
            let number = (first + number) % self.each.len();
            let connecting = self.each[number].connect(NoTls);
            match within("connecting to PostgreSQL", self.limit, connecting).await {
                Ok(Ok(opened)) => {
                    self.right.store(number, Ordering::Relaxed);
                    return Ok(opened);
                }
                Ok(Err(error)) => why.push(chain(&error)),
                Err(late) => why.push(chain(&late)),
            }
        }
        Err(PgError::Unavailable { why: why.join("; ") })
    }
}

/// The same with one host each. An address by `hostaddr` stays as it is: its parts belong together.
fn each_host(config: &Config) -> Vec<Config> {
    if config.get_hosts().len() < 2 || !config.get_hostaddrs().is_empty() {
        return vec![config.clone()];
    }
    let ports = config.get_ports();
    let of = |(number, host): (usize, &Host)| {
        let mut one = without_hosts(config);
        match host {
            Host::Tcp(name) => one.host(name),
            #[cfg(unix)]
            Host::Unix(path) => one.host_path(path),
        };
        if let Some(port) = ports.get(number).or_else(|| ports.first()) {
            one.port(*port);
        }
        one
    };
    config.get_hosts().iter().enumerate().map(of).collect()
}

fn without_hosts(config: &Config) -> Config {
    let mut one = Config::new();
    config.get_user().map(|user| one.user(user));
    config.get_password().map(|password| one.password(password));
    config.get_dbname().map(|name| one.dbname(name));
    config.get_options().map(|options| one.options(options));
    config.get_application_name().map(|name| one.application_name(name));
    config.get_tcp_user_timeout().map(|limit| one.tcp_user_timeout(*limit));
    config.get_keepalives_interval().map(|interval| one.keepalives_interval(interval));
    config.get_keepalives_retries().map(|retries| one.keepalives_retries(retries));
    one.keepalives(config.get_keepalives())
        .keepalives_idle(config.get_keepalives_idle())
        .ssl_mode(config.get_ssl_mode())
        .ssl_negotiation(config.get_ssl_negotiation())
        .channel_binding(config.get_channel_binding())
        .target_session_attrs(config.get_target_session_attrs());
    one
}

/// The whole chain of causes in one line: "error connecting to server: Connection refused".
pub(crate) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut why = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        why = format!("{why}: {cause}");
        source = cause.source();
    }
    why
}
