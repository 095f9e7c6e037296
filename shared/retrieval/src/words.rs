//! Closed word lists and the light stemmer behind [`crate::terms`].

use std::collections::HashSet;
use std::sync::LazyLock;

const STOP: &str = "a an the this that these those it its itself he him his she her hers they them their we us our you your i me my \
    is am are was were be been being do does did done have has had having will would shall should can could may might must \
    of in on at by for with about against between into through during from up down out over under again to as and or but if \
    because while than then so such there here when where why how what which who whom whose all any both each few more most \
    other some only own same too very just also one s t re ve ll d m according passage passages document documents state \
    states stated mention mentions mentioned based provided say says said following e.g i.e etc however therefore thus per \
    via upon within yes sure please";

const NEGATIONS: &str = "not no never none neither nor without cannot can't don't doesn't didn't isn't aren't wasn't weren't won't \
    wouldn't shouldn't couldn't hasn't haven't hadn't unable fail fails failed lack lacks lacking n't nobody nothing";

static STOP_WORDS: LazyLock<HashSet<&'static str>> =
    LazyLock::new(|| STOP.split_whitespace().collect());
static NEGATION_WORDS: LazyLock<HashSet<&'static str>> =
    LazyLock::new(|| NEGATIONS.split_whitespace().collect());

/// Pairs whose members exclude each other, as stems.
const OPPOSITES: [(&str, &str); 24] = [
    ("increas", "decreas"),
    ("increas", "reduc"),
    ("higher", "lower"),
    ("high", "low"),
    ("before", "after"),
    ("above", "below"),
    ("allow", "forbid"),
    ("allow", "prohibit"),
    ("permit", "prohibit"),
    ("positiv", "negativ"),
    ("minimum", "maximum"),
    ("first", "last"),
    ("activ", "inhibit"),
    ("promot", "inhibit"),
    ("enhanc", "inhibit"),
    ("gain", "lose"),
    ("earli", "lat"),
    ("增加", "减少"),
    ("提高", "降低"),
    ("允许", "禁止"),
    ("可以", "不得"),
    ("最高", "最低"),
    ("最多", "最少"),
    ("之前", "之后"),
];

/// Whether an English word, in lower case, says nothing by itself.
pub(crate) fn is_stop(word: &str) -> bool {
    STOP_WORDS.contains(word) || word.chars().all(|c| c == '_')
}

/// Whether an English word, in lower case, negates what follows.
pub(crate) fn is_negation(word: &str) -> bool {
    NEGATION_WORDS.contains(word.replace('’', "'").as_str())
}

/// Whether a Chinese character mostly serves grammar.
pub(crate) fn is_stop_char(c: char) -> bool {
    "的了是在和与及也就都而或被把从对于为之其这那们吗呢吧啊着过又还很到等有中可以上下个以所由什么哪谁几多少".contains(c)
}

/// Whether a Chinese character negates what follows.
pub(crate) fn negates(c: char) -> bool {
    "不没無无未非勿莫".contains(c)
}

/// The terms that `stem` excludes.
pub(crate) fn opposites(stem: &str) -> impl Iterator<Item = &'static str> + '_ {
    OPPOSITES.iter().filter_map(move |(one, other)| {
        if *one == stem {
            Some(*other)
        } else {
            (*other == stem).then_some(*one)
        }
    })
}

/// The word without its inflection: enough to join `refunds`, `refunded` and `refunding`, not a dictionary.
pub(crate) fn stem(word: &str) -> String {
    let word = word.replace('’', "'");
    let word = word.strip_suffix("'s").unwrap_or(&word);
    if !word.is_ascii() || word.len() < 4 {
        return word.to_owned();
    }
    const SUFFIXES: [(&str, &str); 14] = [
        ("ations", "at"),
        ("ation", "at"),
        ("ities", "iti"),
        ("ity", "iti"),
        ("ies", "i"),
        ("sses", "ss"),
        ("ings", ""),
        ("ing", ""),
        ("edly", ""),
        ("ed", ""),
        ("ly", ""),
        ("es", ""),
        ("s", ""),
        ("e", ""),
    ];
    if word.ends_with("ss") || word.ends_with("us") {
        return word.to_owned();
    }
    for (suffix, with) in SUFFIXES {
        if let Some(root) = word.strip_suffix(suffix)
            && root.len() >= 3
        {
            return undouble(&format!("{root}{with}"));
        }
    }
    word.strip_suffix('y')
        .map_or_else(|| undouble(word), |root| format!("{root}i"))
}

/// `stopp` is `stop`, but `fall` stays, as its base form has both letters.
fn undouble(root: &str) -> String {
    let mut chars: Vec<char> = root.chars().collect();
    if let [.., a, b] = chars.as_slice()
        && a == b
        && "bdgmnprt".contains(*b)
    {
        chars.pop();
    }
    if chars.last() == Some(&'e') && chars.len() > 3 {
        chars.pop();
    }
    chars.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_of_one_word_share_a_stem() {
        for family in [
            ["refund", "refunds", "refunded", "refunding"],
            ["stop", "stops", "stopped", "stopping"],
            ["increase", "increases", "increased", "increasing"],
            ["carry", "carries", "carry", "carry"],
        ] {
            let stems: HashSet<String> = family.iter().map(|word| stem(word)).collect();
            assert_eq!(stems.len(), 1, "{family:?} gave {stems:?}");
        }
    }
}
