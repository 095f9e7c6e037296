//! Looking again, while the server runs, whether what it needs is still there.

use super::readiness::Readiness;
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// How often is looked.
pub const EVERY: Duration = Duration::from_secs(3);
/// How long an answer may take before it counts as none.
const PATIENCE: Duration = Duration::from_secs(5);

/// Looks every so often whether `part` answers, and tells `readiness` where that changes. It never ends.
pub async fn watch<F>(
    readiness: Readiness,
    part: &'static str,
    every: Duration,
    look: impl Fn() -> F,
) where
    F: Future<Output = Result<(), String>>,
{
    let mut lost = false;
    loop {
        sleep(every).await;
        let answer = timeout(PATIENCE, look()).await;
        match answer.unwrap_or_else(|_| Err("it does not answer in time".to_owned())) {
            Ok(()) => {
                if readiness.found(part) {
                    tracing::info!(part, "answers again");
                }
                lost = false;
            }
            Err(why) => {
                if !lost {
                    tracing::warn!(part, why, "does not answer");
                }
                lost = true;
                readiness.lose(part, format!("({why})"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Instant;

    async fn until(what: impl Fn() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while !what() {
            assert!(Instant::now() < deadline, "it never came");
            sleep(Duration::from_millis(2)).await;
        }
    }

    #[tokio::test]
    async fn a_server_is_not_ready_while_a_part_is_away_and_ready_when_it_is_back() {
        let readiness = Readiness::new(&[]);
        let away = Arc::new(AtomicBool::new(true));
        let seen = Arc::clone(&away);
        let look = move || {
            let away = seen.load(Ordering::Relaxed);
            async move {
                if away {
                    Err("refused".to_owned())
                } else {
                    Ok(())
                }
            }
        };
        let watching = watch(readiness.clone(), "qdrant", Duration::from_millis(1), look);
        let watching = tokio::spawn(watching);
        until(|| !readiness.is_ready()).await;
        assert_eq!(readiness.report().waiting_for, ["qdrant (refused)"]);
        away.store(false, Ordering::Relaxed);
        until(|| readiness.is_ready()).await;
        watching.abort();
    }
}
