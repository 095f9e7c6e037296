use lore_types::{AdapterKind, AdapterVersion, TrainedOn};
use std::fmt::Write;

/// The model card of a version: Markdown with the metadata block that model hubs read.
pub(crate) fn card(version: &AdapterVersion) -> String {
    let mut text = head(version);
    // Writing to a string cannot fail.
    let _ = numbers(&mut text, version);
    let _ = origin(&mut text, version);
    text
}

fn head(version: &AdapterVersion) -> String {
    let (what, library, tag) = match version.kind {
        AdapterKind::Lora => (
            "An adapter for `{base}`, made by Lore. The weights are `adapter_model.safetensors`, in PEFT's format.",
            "peft",
            "lora",
        ),
        AdapterKind::Full => (
            "All weights of `{base}`, trained by Lore. The folder has the layout that transformers reads.",
            "transformers",
            "full-fine-tuning",
        ),
    };
    let what = what.replace("{base}", &version.base);
    let AdapterVersion {
        adapter,
        version: number,
        base,
        ..
    } = version;
    format!(
        "---\nbase_model: {base}\nlibrary_name: {library}\npipeline_tag: text-generation\ntags:\n- {tag}\n- lore\n---\n\n\
         # {adapter}, version {number}\n\n{what}\n"
    )
}

fn numbers(text: &mut String, version: &AdapterVersion) -> std::fmt::Result {
    let metrics = &version.metrics;
    text.push_str("\n| measured | |\n|---|---|\n");
    let mut row = |name: &str, value: Option<String>| match value {
        Some(value) => writeln!(text, "| {name} | {value} |"),
        None => Ok(()),
    };
    let loss = |value: Option<f64>| value.map(|value| format!("{value:.4}"));
    row(
        "steps",
        (metrics.steps > 0).then(|| metrics.steps.to_string()),
    )?;
    row(
        "tokens",
        (metrics.tokens > 0).then(|| metrics.tokens.to_string()),
    )?;
    row("training loss, last step", loss(metrics.train_loss))?;
    row("held-out loss before", loss(metrics.first_validation_loss))?;
    row("held-out loss after", loss(metrics.validation_loss))?;
    row(
        "seconds",
        (metrics.seconds > 0.0).then(|| format!("{:.0}", metrics.seconds)),
    )
}

fn origin(text: &mut String, version: &AdapterVersion) -> std::fmt::Result {
    let provenance = &version.provenance;
    writeln!(text, "\n## Where it comes from\n")?;
    writeln!(text, "- made {}", version.created_at.date())?;
    for (name, sum) in &provenance.base_files {
        writeln!(text, "- base file `{name}`, SHA-256 `{sum}`")?;
    }
    if let Some(parent) = &version.parent {
        writeln!(text, "- training went on from adapter `{parent}`")?;
    }
    if let Some(from) = &provenance.imported_from {
        writeln!(text, "- imported; its files named `{from}` as base")?;
    }
    for one in &provenance.datasets {
        let TrainedOn {
            filename,
            role,
            sha256,
            examples,
            weight,
            ..
        } = one;
        writeln!(
            text,
            "- {role} data `{filename}`: {examples} examples, weight {weight}, SHA-256 `{sha256}`"
        )?;
    }
    for (name, number) in &provenance.versions {
        writeln!(text, "- {name} {number}")?;
    }
    if let Some(settings) = &provenance.settings {
        let json = serde_json::to_string_pretty(settings).unwrap_or_default();
        writeln!(text, "\n## Settings\n\n```json\n{json}\n```")?;
    }
    Ok(())
}
