//! The known name nearest to a mistyped one.

/// The candidate that is fewest edits away from `name`, at most `limit`, or nothing.
pub(crate) fn nearest<'a>(
    name: &str,
    limit: usize,
    candidates: impl Iterator<Item = &'a str>,
) -> Option<&'a str> {
    candidates
        .map(|candidate| (strsim::damerau_levenshtein(name, candidate), candidate))
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}
