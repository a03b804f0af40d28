//! A wait that is shorter than the runtime's timers, which round up to a millisecond or two.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use tokio::io::unix::AsyncFd;

/// One timer of the kernel, for one waiter at a time; it is made at the first start, in a runtime.
#[derive(Debug, Default)]
pub struct ShortWait(Option<AsyncFd<OwnedFd>>);

impl ShortWait {
    /// Starts the time; [`ShortWait::over`] ends with it. Starting anew forgets what was set before.
    ///
    /// # Errors
    /// When the kernel has no such timer, or no file descriptor, to give.
    pub fn start(&mut self, wait: Duration) -> io::Result<()> {
        // Zero would mean never.
        let wait = wait.max(Duration::from_nanos(1));
        let it_value = Timespec::try_from(wait).map_err(|_| io::ErrorKind::InvalidInput)?;
        let once = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value };
        let timer = match self.0.take() {
            Some(timer) => timer,
            None => registered()?,
        };
        timerfd_settime(self.0.insert(timer).get_ref(), TimerfdTimerFlags::empty(), &once)?;
        Ok(())
    }

    /// May be dropped and asked again. What was never started is over at once.
    pub async fn over(&self) {
        let Some(timer) = &self.0 else { return };
        loop {
            // It fails where the runtime ends; nobody waits for anything then.
            let Ok(mut ready) = timer.readable().await else { return };
            let mut expirations = [0; 8];
            // What an earlier start left behind would block, and is forgotten by the try.
            match ready.try_io(|timer| Ok(rustix::io::read(timer, &mut expirations)?)) {
                Ok(_) => return,
                Err(_) => continue,
            }
        }
    }
}

#[expect(deprecated, reason = "it is unsound for what may close its descriptor early; OwnedFd does not")]
fn registered() -> io::Result<AsyncFd<OwnedFd>> {
    let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
    AsyncFd::new(timerfd_create(TimerfdClockId::Monotonic, flags)?)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::ShortWait;

    #[tokio::test]
    async fn it_ends_once_for_each_start() {
        let mut wait = ShortWait::default();
        wait.start(Duration::from_micros(50)).unwrap();
        wait.over().await;
        wait.start(Duration::ZERO).unwrap();
        wait.over().await;
        // Nothing was started since: it never ends.
        let never = tokio::time::timeout(Duration::from_millis(5), wait.over()).await;
        assert!(never.is_err());
    }

    #[tokio::test]
    async fn what_was_started_before_is_forgotten() {
        let mut wait = ShortWait::default();
        wait.start(Duration::from_micros(1)).unwrap();
        wait.over().await;
        wait.start(Duration::from_micros(1)).unwrap();
        // Over, and nobody asked; then started anew for long.
        tokio::time::sleep(Duration::from_millis(2)).await;
        wait.start(Duration::from_secs(3600)).unwrap();
        assert!(tokio::time::timeout(Duration::from_millis(5), wait.over()).await.is_err());
    }
}
