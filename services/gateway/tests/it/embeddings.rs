use crate::rig::{EMBEDDER, Rig};
use serde_json::{Value, json};

fn vector(body: &Value, at: usize) -> Vec<f64> {
    body["data"][at]["embedding"]
        .as_array()
        .expect("a vector")
        .iter()
        .filter_map(Value::as_f64)
        .collect()
}

/// The numbers in the base64 of little-endian float32.
fn decoded(text: &str) -> Vec<f32> {
    let digit = |c: u8| match c {
        b'A'..=b'Z' => c - b'A',
        b'a'..=b'z' => c - b'a' + 26,
        b'0'..=b'9' => c - b'0' + 52,
        b'+' => 62,
        _ => 63,
    };
    let digits: Vec<u8> = text.bytes().filter(|c| *c != b'=').map(digit).collect();
    let bits = digits.chunks(4).flat_map(|four| {
        let number = four
            .iter()
            .fold(0u32, |number, digit| (number << 6) | u32::from(*digit))
            << (6 * (4 - four.len()));
        number.to_be_bytes()[1..four.len()].to_vec()
    });
    bits.collect::<Vec<u8>>()
        .chunks_exact(4)
        .map(|bytes| f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn vectors_are_the_same_in_both_encodings_and_alone_or_together() {
    let Some(rig) = Rig::with(None).await else {
        return;
    };
    let post = |body: Value| rig.client.post("/v1/embeddings", body);
    let both = post(json!({"model": EMBEDDER, "input": ["a short text", "一段短文"]}))
        .await
        .body;
    assert_eq!(
        (
            both["object"].as_str(),
            both["data"][1]["index"].as_u64(),
            vector(&both, 0).len()
        ),
        (Some("list"), Some(1), 384)
    );
    let length: f64 = vector(&both, 1).iter().map(|number| number * number).sum();
    assert!((length - 1.0).abs() < 1e-4, "unit vectors");
    assert!(both["usage"]["prompt_tokens"].as_u64() > Some(6));
    let coded = post(
        json!({"model": EMBEDDER, "input": "一段短文", "encoding_format": "base64", "user": "x"}),
    )
    .await
    .body;
    let coded = decoded(coded["data"][0]["embedding"].as_str().expect("base64"));
    assert_eq!(coded.len(), 384);
    let same: f64 = coded
        .iter()
        .zip(vector(&both, 1))
        .map(|(a, b)| f64::from(*a) * b)
        .sum();
    assert!(same > 0.999, "cosine {same}");
    let passage = post(json!({"model": EMBEDDER, "input": "一段短文", "input_type": "passage"}))
        .await
        .body;
    assert_ne!(
        vector(&passage, 0),
        vector(&both, 1),
        "a passage has another prefix"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_embedded_is_refused() {
    let Some(rig) = Rig::with(None).await else {
        return;
    };
    for (request, status, param) in [
        (json!({"model": EMBEDDER, "input": ""}), 400, "input"),
        (json!({"model": EMBEDDER, "input": []}), 400, "input"),
        (
            json!({"model": EMBEDDER, "input": [[1, 2, 3]]}),
            400,
            "input",
        ),
        (
            json!({"model": EMBEDDER, "input": "long ".repeat(2_000)}),
            400,
            "input",
        ),
        (
            json!({"model": EMBEDDER, "input": "x", "dimensions": 100}),
            400,
            "dimensions",
        ),
        (
            json!({"model": "text-embedding-9", "input": "x"}),
            404,
            "model",
        ),
    ] {
        let reply = rig.client.post("/v1/embeddings", request).await;
        assert_eq!(
            (reply.status, &reply.body["error"]["param"]),
            (status, &json!(param)),
            "{}",
            reply.body
        );
    }
}
