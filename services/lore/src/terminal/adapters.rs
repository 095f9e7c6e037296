use super::{Output, Table, bytes, elapsed, moment, paint, plain, word};
use crate::exit::Failure;
use lore_types::{Adapter, AdapterVersion};
use std::time::Duration;

/// Adapters as a table.
pub fn adapter_table(adapters: &[Adapter]) -> Table {
    let mut table = Table::new(&[
        "NAME",
        "PROMOTED",
        "VERSIONS",
        "BASE",
        "KIND",
        "VALIDATION",
        "SIZE",
        "CREATED",
    ]);
    for adapter in adapters {
        let shown = adapter.promoted_version().or(adapter.versions.last());
        let promoted = adapter
            .promoted
            .map_or("-".to_owned(), |number| number.to_string());
        let loss = shown.and_then(|one| one.metrics.validation_loss);
        table.row([
            adapter.name.clone(),
            promoted,
            adapter.versions.len().to_string(),
            adapter.base.clone(),
            shown.map(|one| word(&one.kind)).unwrap_or_default(),
            loss.map(|loss| format!("{loss:.4}")).unwrap_or_default(),
            shown.map(|one| bytes(one.bytes)).unwrap_or_default(),
            moment(adapter.created_at),
        ]);
    }
    table
}

/// One adapter with its versions.
pub fn describe_adapter(output: Output, adapter: &Adapter) -> Result<(), Failure> {
    let promoted = adapter
        .promoted
        .map_or("none".to_owned(), |number| number.to_string());
    output.line(format!(
        "{}  promoted: {promoted}",
        paint(&adapter.name).bold()
    ))?;
    for version in adapter.versions.iter().rev() {
        output.line("")?;
        describe_version(output, version, adapter.promoted == Some(version.version))?;
    }
    if !adapter.promotions.is_empty() {
        output.line("")?;
    }
    for change in &adapter.promotions {
        let what = if change.rollback {
            "rolled back to"
        } else {
            "promoted"
        };
        output.line(paint(format!("{}  {what} {}", moment(change.at), change.version)).dim())?;
    }
    Ok(())
}

fn describe_version(
    output: Output,
    version: &AdapterVersion,
    promoted: bool,
) -> Result<(), Failure> {
    let mark = if promoted { "  (promoted)" } else { "" };
    output.line(format!("{}{mark}", version.reference()))?;
    let metrics = &version.metrics;
    let mut rows = vec![
        (
            "kind",
            format!("{}, {}", word(&version.kind), bytes(version.bytes)),
        ),
        ("base", version.base.clone()),
    ];
    rows.extend(version.parent.clone().map(|parent| ("continues", parent)));
    rows.extend(version.job.map(|job| ("job", job.to_string())));
    let data = version.provenance.datasets.iter();
    rows.extend(data.map(|one| {
        (
            "data",
            format!(
                "{} ({} examples, {})",
                plain(&one.filename),
                one.examples,
                one.role
            ),
        )
    }));
    rows.extend(
        version
            .provenance
            .imported_from
            .clone()
            .map(|from| ("imported", plain(&from))),
    );
    rows.extend(metrics.validation_loss.map(|loss| {
        let first = metrics
            .first_validation_loss
            .map(|first| format!(", {first:.4} before training"));
        (
            "validation",
            format!("{loss:.4}{}", first.unwrap_or_default()),
        )
    }));
    if metrics.steps > 0 {
        let time = elapsed(Duration::from_secs_f64(metrics.seconds.clamp(0.0, 1e9)));
        rows.push((
            "trained",
            format!("{} steps, {} tokens, {time}", metrics.steps, metrics.tokens),
        ));
    }
    rows.extend(version.parity.as_ref().map(|parity| {
        let outcome = if parity.passed { "passed" } else { "FAILED" };
        (
            "parity",
            format!(
                "{outcome}: largest difference {:.1e} on {} prompts",
                parity.max_difference, parity.prompts
            ),
        )
    }));
    if version.stale {
        rows.push((
            "stale",
            "documents that it was trained on have changed or gone".to_owned(),
        ));
    }
    rows.push(("created", moment(version.created_at)));
    rows.iter()
        .try_for_each(|(key, value)| output.line(format!("  {:<12} {value}", paint(key).dim())))
}
