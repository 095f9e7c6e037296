use crate::{IndexError, IndexedChunk};

/// Checks what both engines ask of vectors before anything is written: one per chunk, all of one length, every number
/// finite. Gives that length, or `None` where there is nothing to write.
pub(crate) fn check_vectors(
    chunks: &[IndexedChunk],
    vectors: &[Vec<f32>],
) -> Result<Option<u32>, IndexError> {
    if chunks.len() != vectors.len() {
        return Err(IndexError::Vectors(format!(
            "{} chunks came with {} vectors",
            chunks.len(),
            vectors.len()
        )));
    }
    let mut lengths = vectors.iter().map(Vec::len);
    let Some(first) = lengths.next() else {
        return Ok(None);
    };
    if let Some(other) = lengths.find(|length| *length != first) {
        return Err(IndexError::Vectors(format!(
            "vectors of one call have {first} and {other} numbers"
        )));
    }
    for (chunk, vector) in chunks.iter().zip(vectors) {
        if !finite(vector) {
            return Err(IndexError::Vectors(format!(
                "the vector of chunk {} holds a number that is none",
                chunk.chunk.id
            )));
        }
    }
    Ok(Some(length(vectors.first().map_or(&[], Vec::as_slice))))
}

/// Checks a vector to search for.
pub(crate) fn check_query(
    collection: &str,
    expected: u32,
    vector: &[f32],
) -> Result<(), IndexError> {
    check_length(collection, expected, length(vector))?;
    if finite(vector) {
        return Ok(());
    }
    Err(IndexError::Vectors(
        "the vector to search for holds a number that is none".to_owned(),
    ))
}

/// Refuses vectors of another length than the collection's.
pub(crate) fn check_length(collection: &str, expected: u32, actual: u32) -> Result<(), IndexError> {
    if expected == actual {
        return Ok(());
    }
    Err(IndexError::Dimensions {
        collection: collection.to_owned(),
        expected,
        actual,
    })
}

fn finite(vector: &[f32]) -> bool {
    vector.iter().all(|number| number.is_finite())
}

fn length(vector: &[f32]) -> u32 {
    u32::try_from(vector.len()).unwrap_or(u32::MAX)
}
