//! `lore doctor`: every check tells what it found and, where that is not well, what to do.

mod check;
mod machine;
mod models;
mod network;

use crate::context::Context;
use crate::exit::{Exit, Failure};
use crate::terminal::Output;
use check::{Check, State};
use lore_config::{Config, ConfigErrors};
use lore_types::List;

/// Runs every check that the configuration allows.
pub async fn run(context: &Context) -> Result<(), Failure> {
    let mut checks = vec![machine::version()];
    match Config::load(context.load_options()) {
        Ok(config) => {
            checks.push(configured(&config));
            checks.extend(machine::checks(&config));
            checks.extend(models::checks(&config));
            checks.extend(network::checks(context, &config).await);
        }
        Err(errors) => checks.extend(misconfigured(&errors)),
    }
    let list = List::whole(checks);
    context.output.object(&list, || {
        list.data
            .iter()
            .try_for_each(|check| check.print(context.output))
    })?;
    conclude(context.output, &list.data)
}

fn configured(config: &Config) -> Check {
    let changed: Vec<String> = config
        .settings
        .iter()
        .filter(|setting| setting.origin != lore_config::Origin::Default)
        .map(|setting| format!("{} = {} ({})", setting.key, setting.value, setting.origin))
        .collect();
    let told = if changed.is_empty() {
        "every key has its default".to_owned()
    } else {
        changed.join(", ")
    };
    Check::ok("configuration", told)
}

fn misconfigured(errors: &ConfigErrors) -> Vec<Check> {
    if errors.problems().is_empty() {
        let told = crate::exit::chain(errors);
        return vec![Check::bad(
            "configuration",
            told,
            "correct the file named with --config or LORE_CONFIG",
        )];
    }
    let told = |problem: &lore_config::Problem| {
        Check::bad(
            "configuration",
            format!("{}: {}", problem.key, problem.what),
            problem.remedy.clone(),
        )
    };
    errors.problems().iter().map(told).collect()
}

fn conclude(output: Output, checks: &[Check]) -> Result<(), Failure> {
    let count = |state| checks.iter().filter(|check| check.state == state).count();
    let (bad, doubtful) = (count(State::Bad), count(State::Doubtful));
    output.note(format!(
        "{} checks: {bad} bad, {doubtful} doubtful",
        checks.len()
    ));
    if bad == 0 {
        Ok(())
    } else {
        Err(Failure::silent(Exit::Failure))
    }
}
