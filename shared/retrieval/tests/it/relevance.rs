use crate::handbook;
use lore_retrieval::{BACKGROUND, DenseEvidence, Relevance, declines};

fn judge(question: &str, z_score: Option<f32>) -> Relevance {
    let passages = handbook();
    let pool: Vec<&str> = passages
        .iter()
        .map(|passage| passage.text.as_str())
        .collect();
    Relevance::judge(
        question,
        &passages,
        &pool,
        z_score.map(|z_score| DenseEvidence { z_score }),
    )
}

#[test]
fn a_question_about_the_passages_is_relevant_and_another_is_not() {
    assert!(judge("How many days of leave may be carried over?", Some(3.0)).is_relevant());
    assert!(judge("差旅费在几天内报销？", Some(3.0)).is_relevant());
    assert!(!judge("Which planet has the most moons?", Some(0.5)).is_relevant());
    assert!(!judge("哪颗行星的卫星最多？", Some(0.5)).is_relevant());
}

#[test]
fn without_passages_nothing_is_relevant() {
    assert!(!Relevance::judge("How many days?", &[], &[], None).is_relevant());
}

#[test]
fn a_cosine_is_compared_with_the_background_in_the_passages_language() {
    // English texts at 0.7 and 0.8 by turns, Chinese ones far below.
    let cosines: Vec<f32> = (0..BACKGROUND.len())
        .map(|at| {
            if at >= 20 {
                0.3
            } else if at % 2 == 0 {
                0.7
            } else {
                0.8
            }
        })
        .collect();
    let evidence = DenseEvidence::new(0.9, "Employees have 28 days of leave.", &cosines)
        .expect("a background");
    assert!(
        (evidence.z_score - 2.924).abs() < 0.01,
        "{}",
        evidence.z_score
    );
    assert_eq!(
        DenseEvidence::new(0.9, "Employees have 28 days of leave.", &cosines[1..]),
        None
    );
}

#[test]
fn declining_is_told_from_answering() {
    let fixed = "I could not find an answer in the documents.";
    for text in [
        fixed,
        "I could not find an answer in the documents [1].",
        "The passages do not mention the price.",
        "段落中没有提到价格。",
        "",
        "  ",
    ] {
        assert!(declines(text, fixed), "{text}");
    }
    for text in [
        "Employees have 28 days of leave.",
        "The policy does not mention pets. Dogs are allowed on Fridays, however, in the whole building.",
    ] {
        assert!(!declines(text, fixed), "{text}");
    }
}
