/// English words that stand in most questions and say nothing of what is asked, as the stemmer leaves them, in order.
/// They are indexed all the same.
const EMPTY: [&str; 73] = [
    "a", "about", "am", "an", "and", "ani", "are", "as", "at", "be", "been", "but", "by", "could",
    "did", "do", "doe", "for", "from", "had", "has", "have", "he", "her", "him", "his", "how", "i",
    "if", "in", "into", "is", "it", "me", "must", "my", "of", "on", "or", "our", "shall", "she",
    "should", "so", "some", "such", "that", "the", "their", "them", "then", "there", "these",
    "they", "this", "those", "to", "was", "we", "were", "what", "when", "where", "whi", "which",
    "who", "whom", "whose", "will", "with", "would", "you", "your",
];

/// Whether a stemmed word tells anything of what a question is about.
pub(super) fn carries_meaning(word: &str) -> bool {
    !EMPTY.contains(&word)
}
