//! Where log lines go: key-values to the journal when standard error is the journal, readable lines to it otherwise.

use std::str::FromStr;

use log::LevelFilter;

/// Libraries that speak of each packet below INFO; their voices are kept at INFO.
const CHATTY: [&str; 9] =
    ["axum", "bb8", "h2", "hyper", "hyper_util", "refinery_core", "reqwest", "tokio_postgres", "tungstenite"];

/// Installs the logger; the first call of a process wins (tests start several lives in one process).
pub(crate) fn init(daemon: &str, level: &str) {
    let level = LevelFilter::from_str(level).unwrap_or(LevelFilter::Info);
    if systemd_journal_logger::connected_to_journal() && to_journal(daemon) {
        log::set_max_level(level);
        return;
    }
    let mut builder = env_logger::Builder::new();
    builder.filter_level(level).format_timestamp_millis().target(env_logger::Target::Stderr);
    for library in CHATTY {
        builder.filter_module(library, level.min(LevelFilter::Info));
    }
    // An error means that a logger is installed already, which is what is wanted.
    drop(builder.try_init());
}

fn to_journal(daemon: &str) -> bool {
    let Ok(journal) = systemd_journal_logger::JournalLog::empty() else { return false };
    journal.with_syslog_identifier(format!("ringdown-{daemon}")).install().is_ok()
}

/// A panic becomes one log line with its place. What ends because of it is decided by who owns the task: a spawned task
/// stops the daemon, an HTTP request is answered with 500. (Aborting here would take every call with one bad request.)
pub(crate) fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let payload = panic.payload();
        let text = payload.downcast_ref::<&str>().copied();
        let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("no text");
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let backtrace = std::backtrace::Backtrace::capture();
        log::error!(place = place.as_str(), backtrace:% = backtrace; "panic: {text}");
    }));
}
