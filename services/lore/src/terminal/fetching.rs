use super::{Progress, bytes};
use lore_models::PullEvent;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Shows how far model downloads are: one bar for each file that is on its way.
#[derive(Clone, Default)]
pub struct Fetching {
    bars: Arc<Mutex<HashMap<String, (Phase, Progress)>>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Downloading,
    Writing,
}

impl Fetching {
    /// The listener to hand to `Store::pull`; `also` hears every event too.
    pub fn listener(
        &self,
        also: impl Fn(&PullEvent) + Send + Sync + 'static,
    ) -> lore_models::Progress {
        let fetching = self.clone();
        Arc::new(move |event| {
            also(&event);
            fetching.hear(event);
        })
    }

    fn hear(&self, event: PullEvent) {
        match event {
            PullEvent::Downloaded {
                model,
                file,
                done,
                total,
            } => {
                self.move_bar(Phase::Downloading, &model, &file, done, total);
            }
            PullEvent::Written {
                model,
                file,
                done,
                total,
            } => {
                self.move_bar(Phase::Writing, &model, &file, done, total);
            }
            PullEvent::Waiting { model } => {
                self.say(&format!("waiting for another process that fetches {model}"))
            }
            PullEvent::Failed {
                model,
                source,
                reason,
                ..
            } => {
                self.say(&format!("{model} cannot be had from {source}: {reason}"));
            }
            PullEvent::Finished {
                model,
                file,
                bytes: length,
            } => {
                self.drop_bar(&model, &file);
                self.say(&format!("fetched {model} {file} ({})", bytes(length)));
            }
            PullEvent::Trying { .. } => {}
        }
    }

    fn move_bar(&self, phase: Phase, model: &str, file: &str, done: u64, total: Option<u64>) {
        let mut bars = self.bars.lock().unwrap_or_else(PoisonError::into_inner);
        let known = bars
            .get(&key(model, file))
            .is_some_and(|(at, _)| *at == phase);
        if !known {
            bars.insert(key(model, file), (phase, bar(phase, model, total)));
        }
        let Some((_, bar)) = bars.get(&key(model, file)) else {
            return;
        };
        if let Some(total) = total {
            bar.set_length(total.max(done));
        }
        bar.set(done);
    }

    fn drop_bar(&self, model: &str, file: &str) {
        self.bars
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&key(model, file));
    }

    fn say(&self, text: &str) {
        super::Output::new(false).note(text);
    }
}

fn key(model: &str, file: &str) -> String {
    format!("{model}/{file}")
}

fn bar(phase: Phase, model: &str, total: Option<u64>) -> Progress {
    let verb = match phase {
        Phase::Downloading => "downloading",
        Phase::Writing => "unpacking",
    };
    Progress::bytes(&format!("{verb} {model}"), total.unwrap_or_default())
}
