use super::Conversation;
use sha2::{Digest, Sha256};

/// Examples to train on, and examples held out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Split {
    /// To train on, in the file's order.
    pub training: Vec<Conversation>,
    /// Held out, in the file's order.
    pub validation: Vec<Conversation>,
}

/// Holds out about `share` (0..1) of the examples.
///
/// # Guarantees
/// The side of an example follows from what it says and from `seed` alone: it is the same in every run and wherever the line
/// stands, and equal examples are on one side. Where that would leave a side without any, one example is moved there (the one
/// nearest to the border), so that a small file has something to train on and something held out; one example alone is trained on.
pub fn split(conversations: Vec<Conversation>, share: f64, seed: u64) -> Split {
    let mut split = Split::default();
    if share <= 0.0 {
        split.training = conversations;
        return split;
    }
    let places: Vec<f64> = conversations.iter().map(|one| place(one, seed)).collect();
    let border = border(&places, share);
    for (conversation, place) in conversations.into_iter().zip(places) {
        if place < border {
            split.validation.push(conversation);
        } else {
            split.training.push(conversation);
        }
    }
    split
}

/// Where an example stands between 0 and 1, by its hash.
fn place(conversation: &Conversation, seed: u64) -> f64 {
    let mut hasher = Sha256::new();
    hasher.update(seed.to_le_bytes());
    hasher.update(conversation.hash());
    let hash: [u8; 32] = hasher.finalize().into();
    let first = hash.iter().take(6);
    let number = first.fold(0u64, |number, byte| (number << 8) | u64::from(*byte));
    number as f64 / (1u64 << 48) as f64
}

/// `share`, moved just so far that neither side is empty.
fn border(places: &[f64], share: f64) -> f64 {
    let mut sorted = places.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.dedup();
    match sorted.as_slice() {
        [] | [_] => 0.0,
        [first, second, ..] if share <= *first => *second,
        [.., last] if share > *last => *last,
        _ => share,
    }
}
