//! Logs go to standard error, so that standard output stays free for results. Counters of this process are kept here and shown by
//! whoever asks; a process that nobody asks keeps none.

use std::io::IsTerminal;
use std::sync::OnceLock;

use metrics_exporter_prometheus::{BuildError, PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::EnvFilter;

/// From one attempt's beginning to its outcome, in seconds.
pub const ATTEMPT_SECONDS: &str = "tidings_attempt_seconds";
/// Decisions about deliveries.
pub const SETTLED: &str = "tidings_deliveries_settled_total";
/// Received messages that were understood, and failures to.
pub const INBOUND: &str = "tidings_inbound_total";
/// What operators were told of.
pub const ALARMS: &str = "tidings_alarms_total";

/// Upper bounds of the histogram, in seconds: from a relay on loopback to the final dot's ten minutes.
const SECONDS: &[f64] =
    &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 600.0];

static COUNTERS: OnceLock<PrometheusHandle> = OnceLock::new();

/// Starts logging for this process. `TIDINGS_LOG` filters (default `info`), `TIDINGS_LOG_FORMAT=json` writes one JSON
/// object a line. A second call does nothing.
///
/// lettre is held at `warn`: at debug level it writes whole messages, and with them people's addresses. What libraries say through
/// the `log` crate is not heard at all: the IMAP one writes every command there, and with it the password.
pub fn start(default_level: &str) {
    let filter = std::env::var("TIDINGS_LOG").unwrap_or_else(|_| default_level.to_owned());
    let filter = EnvFilter::try_new(format!("{filter},lettre=warn,sqlx=warn,tokio_cron_scheduler=warn"))
        .unwrap_or_else(|_| EnvFilter::new("info,lettre=warn,sqlx=warn,tokio_cron_scheduler=warn"));
    let builder = tracing_subscriber::fmt::Subscriber::builder()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false);
    let json = std::env::var("TIDINGS_LOG_FORMAT").is_ok_and(|format| format == "json");
    // Not `try_init`, which listens to the `log` crate too.
    let started = match json {
        true => tracing::subscriber::set_global_default(builder.json().finish()),
        false => tracing::subscriber::set_global_default(builder.finish()),
    };
    drop(started);
}

/// Starts counting for this process. A second call does nothing.
///
/// # Errors
/// When something else in this process counts already.
pub fn count() -> Result<(), BuildError> {
    if COUNTERS.get().is_some() {
        return Ok(());
    }
    let handle = PrometheusBuilder::new().set_buckets(SECONDS)?.install_recorder()?;
    metrics::describe_counter!(
        SETTLED,
        "Decisions about deliveries, by state, class of the outcome and relay."
    );
    metrics::describe_histogram!(ATTEMPT_SECONDS, "From a claimed delivery to what the relay said.");
    metrics::describe_counter!(INBOUND, "Received messages by state and verdict.");
    metrics::describe_counter!(ALARMS, "Alarms, at most one per cause, subject and hour.");
    // Another thread was quicker: its handle is of the same recorder.
    drop(COUNTERS.set(handle));
    Ok(())
}

/// All counters of this process as Prometheus text; empty where nobody counts.
pub fn counters() -> String {
    COUNTERS.get().map(PrometheusHandle::render).unwrap_or_default()
}

/// Folds what the histograms have gathered; to be called now and then, or they grow until somebody asks.
pub fn fold() {
    if let Some(handle) = COUNTERS.get() {
        handle.run_upkeep();
    }
}
