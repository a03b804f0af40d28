//! One signal for "stop taking new work". Cloned into every worker; asked, awaited, never reset.

use tokio_util::sync::CancellationToken;

/// Cloneable shutdown flag. Once asked for it stays asked for.
#[derive(Clone, Debug, Default)]
pub struct Shutdown(CancellationToken);

impl Shutdown {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn ask(&self) {
        self.0.cancel();
    }

    pub fn asked(&self) -> bool {
        self.0.is_cancelled()
    }

    /// Resolves once shutdown was asked for.
    pub async fn wait(&self) {
        self.0.cancelled().await;
    }

    /// Asks for shutdown at the first SIGTERM or SIGINT of this process.
    ///
    /// # Errors
    /// When the operating system refuses to install the signal listeners.
    pub fn on_signals(&self) -> std::io::Result<()> {
        use tokio::signal::unix::{SignalKind, signal};
        let mut term = signal(SignalKind::terminate())?;
        let mut int = signal(SignalKind::interrupt())?;
        let shutdown = self.clone();
        tokio::spawn(async move {
            tokio::select! {
                _ = term.recv() => {}
                _ = int.recv() => {}
                _ = shutdown.wait() => {}
            }
            shutdown.ask();
        });
        Ok(())
    }
}
