//! What systemd is told (sd_notify(3)): ready, reloading, alive, stopping. Without `NOTIFY_SOCKET` nothing happens, so that the
//! daemon runs the same from a shell.

use std::time::Duration;

use sd_notify::NotifyState;

/// Everything is started; `status` is what `systemctl status` shows.
pub fn ready(status: &str) {
    notify(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// Files are read again. `ready` ends it.
pub fn reloading() {
    match NotifyState::monotonic_usec_now() {
        // Type=notify-reload wants both in one message.
        Ok(since) => notify(&[NotifyState::Reloading, since]),
        Err(error) => tracing::debug!(%error, "no monotonic clock"),
    }
}

pub fn stopping() {
    notify(&[NotifyState::Stopping, NotifyState::Status("waiting for replies of the relay")]);
}

pub fn status(text: &str) {
    notify(&[NotifyState::Status(text)]);
}

/// Every worker makes progress.
pub fn alive() {
    notify(&[NotifyState::Watchdog]);
}

/// How often `alive` is wanted; `None` where nobody watches. Half of what systemd waits, as its manual says.
pub fn watched() -> Option<Duration> {
    sd_notify::watchdog_enabled().map(|limit| limit / 2).filter(|every| !every.is_zero())
}

fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "the init system was not told");
    }
}
