use std::time::Duration;

/// Waiting times that grow: half a second, doubled each time, at most half a minute.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    tries: u32,
}

impl Backoff {
    const FIRST: Duration = Duration::from_millis(500);
    const LONGEST: Duration = Duration::from_secs(30);

    /// How long to wait before the next try.
    pub(crate) fn next(&mut self) -> Duration {
        let wait = Self::FIRST.saturating_mul(2u32.saturating_pow(self.tries));
        self.tries = self.tries.saturating_add(1);
        wait.min(Self::LONGEST)
    }

    /// How often it was asked.
    pub(crate) fn tries(&self) -> u32 {
        self.tries
    }
}
