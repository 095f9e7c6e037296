use lore_model::Training;
use lore_types::LengthReport;

/// How long examples are, in tokens; percentiles are of the nearest rank.
pub fn lengths(examples: &[Training]) -> LengthReport {
    let mut each: Vec<u64> = examples
        .iter()
        .map(|example| example.tokens.len() as u64)
        .collect();
    each.sort_unstable();
    let rank = |percent: usize| {
        let rank = (each.len() * percent).div_ceil(100);
        each.get(rank.saturating_sub(1)).copied().unwrap_or(0)
    };
    LengthReport {
        tokens: each.iter().sum(),
        target_tokens: examples
            .iter()
            .map(|example| example.targets() as u64)
            .sum(),
        min: rank(0),
        median: rank(50),
        p95: rank(95),
        max: rank(100),
    }
}
