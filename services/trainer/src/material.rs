use crate::dataset::{
    self, BadLines, Dataset, DatasetError, Part, Prepared, ReadOptions, Schedule, lengths, prepare,
};
use crate::problem::Problem;
use crate::run::files::sha256_of;
use crate::run::{Data, chain};
use lore_model::train::Example;
use lore_model::{Tokenizer, Training};
use lore_types::{
    BadLinePolicy, BadLineReport, DatasetReport, FileId, LengthReport, TrainingSettings,
};
use std::path::PathBuf;

/// Bad lines that a report names.
const NAMED: usize = 20;

/// What a file is in a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Training,
    Validation,
    Replay,
}

impl Role {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Training => "training",
            Self::Validation => "validation",
            Self::Replay => "replay",
        }
    }

    pub(crate) fn of(word: &str) -> Self {
        match word {
            "validation" => Self::Validation,
            "replay" => Self::Replay,
            _ => Self::Training,
        }
    }
}

/// A file of a job.
#[derive(Clone, Debug)]
pub(crate) struct Piece {
    pub(crate) file: FileId,
    pub(crate) filename: String,
    pub(crate) path: PathBuf,
    pub(crate) role: Role,
    /// In the mixture; of a replay file its share of all examples.
    pub(crate) weight: f64,
    /// The field of the request that names it.
    pub(crate) param: String,
}

/// Everything that a run reads, in tokens, and what is to be said of it.
#[derive(Debug)]
pub(crate) struct Material {
    pub(crate) data: Data,
    pub(crate) reports: Vec<DatasetReport>,
}

/// One file in tokens.
struct Cut {
    training: Vec<Training>,
    held_out: Vec<Training>,
    report: DatasetReport,
}

/// Reads the files of a job and cuts them into tokens; the same files and settings always give the same material.
///
/// # Errors
/// Everything that is wrong with any of them.
pub(crate) fn gather(
    pieces: &[Piece],
    tokenizer: &Tokenizer,
    settings: &TrainingSettings,
    policy: BadLinePolicy,
) -> Result<Material, Vec<Problem>> {
    let validated = pieces.iter().any(|piece| piece.role == Role::Validation);
    let mut problems = Vec::new();
    let mut cuts = Vec::new();
    for piece in pieces {
        let share = match piece.role {
            Role::Training if !validated => settings.validation_share,
            _ => 0.0,
        };
        match cut(piece, share, tokenizer, settings, policy) {
            Ok(cut) => cuts.push((piece, cut)),
            Err(error) => problems.push(Problem::new(&piece.param, chain(&error))),
        }
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    assemble(cuts, settings).map_err(|error| vec![Problem::new("training_file", chain(&error))])
}

fn cut(
    piece: &Piece,
    share: f64,
    tokenizer: &Tokenizer,
    settings: &TrainingSettings,
    policy: BadLinePolicy,
) -> Result<Cut, DatasetError> {
    let options = ReadOptions {
        name: Some(piece.filename.clone()),
        on_bad_line: policy,
        ..ReadOptions::default()
    };
    let mut dataset = dataset::read(&piece.path, &options)?;
    let conversations = std::mem::take(&mut dataset.conversations);
    let split = dataset::split(conversations, share, settings.seed);
    let most = usize::try_from(settings.max_tokens).unwrap_or(usize::MAX);
    let prepared = |conversations| prepare(&dataset, conversations, tokenizer, most, policy);
    let (training, held_out) = (prepared(&split.training)?, prepared(&split.validation)?);
    let report = report(piece, &dataset, &training, &held_out);
    Ok(Cut {
        training: training.examples,
        held_out: held_out.examples,
        report,
    })
}

fn report(
    piece: &Piece,
    dataset: &Dataset,
    training: &Prepared,
    held_out: &Prepared,
) -> DatasetReport {
    let all: Vec<Training> = training
        .examples
        .iter()
        .chain(&held_out.examples)
        .cloned()
        .collect();
    let lists = [
        &dataset.skipped,
        &training.skipped,
        &training.unreached,
        &held_out.skipped,
        &held_out.unreached,
    ];
    let named = lists
        .iter()
        .flat_map(|bad| BadLines::lines(bad))
        .map(|bad| BadLineReport {
            line: bad.line as u64,
            reason: bad.reason.clone(),
        });
    DatasetReport {
        file: Some(piece.file),
        filename: piece.filename.clone(),
        role: piece.role.word().to_owned(),
        format: dataset.format.to_string(),
        sha256: dataset.sha256.clone(),
        weight: piece.weight,
        examples: training.examples.len() as u64,
        held_out: held_out.examples.len() as u64,
        lengths: if all.is_empty() {
            LengthReport::default()
        } else {
            lengths(&all)
        },
        truncated: (training.truncated + held_out.truncated) as u64,
        skipped: lists.iter().map(|bad| bad.count() as u64).sum(),
        bad_lines: named.take(NAMED).collect(),
    }
}

fn assemble(
    cuts: Vec<(&Piece, Cut)>,
    settings: &TrainingSettings,
) -> Result<Material, DatasetError> {
    let (mut parts, mut replay) = (Vec::new(), None);
    let (mut sets, mut replayed, mut held_out) = (Vec::new(), None, Vec::new());
    let mut reports = Vec::new();
    for (piece, cut) in cuts {
        let examples = cut.training.len();
        let mut report = cut.report;
        match piece.role {
            Role::Training => {
                parts.push(Part {
                    examples,
                    weight: piece.weight,
                });
                sets.push(as_examples(&cut.training)?);
                held_out.extend(as_examples(&cut.held_out)?);
            }
            Role::Validation => {
                held_out.extend(as_examples(&cut.training)?);
                (report.examples, report.held_out) = (0, report.examples);
            }
            Role::Replay => {
                replay = Some(dataset::Replay {
                    examples,
                    share: piece.weight,
                });
                replayed = Some(as_examples(&cut.training)?);
            }
        }
        reports.push(report);
    }
    sets.extend(replayed);
    let data = Data {
        schedule: Schedule::new(&parts, replay, settings.seed)?,
        sets,
        held_out,
        digest: digest(&reports),
    };
    Ok(Material { data, reports })
}

fn as_examples(some: &[Training]) -> Result<Vec<Example>, DatasetError> {
    let examples = some.iter().map(Training::example);
    Ok(examples.collect::<Result<_, _>>()?)
}

fn digest(reports: &[DatasetReport]) -> String {
    let lines = reports.iter().map(|report| {
        let DatasetReport {
            sha256,
            role,
            weight,
            examples,
            held_out,
            skipped,
            ..
        } = report;
        format!("{sha256} {role} {weight} {examples} {held_out} {skipped}\n")
    });
    sha256_of(lines.collect::<String>().as_bytes())
}
