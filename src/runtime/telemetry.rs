//! Logs go to standard error, so that standard output stays free for results.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

/// Starts logging for this process. `TIDINGS_LOG` filters (default `info`), `TIDINGS_LOG_FORMAT=json` writes one JSON
/// object a line. A second call does nothing.
///
/// lettre is held at `warn`: at debug level it writes whole messages, and with them people's addresses.
pub fn start(default_level: &str) {
    let filter = std::env::var("TIDINGS_LOG").unwrap_or_else(|_| default_level.to_owned());
    let filter = EnvFilter::try_new(format!("{filter},lettre=warn,sqlx=warn,tokio_cron_scheduler=warn"))
        .unwrap_or_else(|_| EnvFilter::new("info,lettre=warn,sqlx=warn,tokio_cron_scheduler=warn"));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false);
    let json = std::env::var("TIDINGS_LOG_FORMAT").is_ok_and(|format| format == "json");
    let started = if json { builder.json().try_init() } else { builder.try_init() };
    drop(started);
}
