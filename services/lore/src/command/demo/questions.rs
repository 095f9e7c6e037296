use crate::exit::Failure;
use lore_client::{Client, DocumentQuery};
use lore_types::{Document, DocumentStatus};

/// Documents looked at for headings to ask about.
const LOOKED_AT: usize = 20;

/// Questions about a folder that nobody wrote questions for: each asks what a document says under one of its headings.
pub async fn about(
    client: &Client,
    collection: &str,
    count: usize,
) -> Result<Vec<String>, Failure> {
    let query = DocumentQuery {
        limit: Some(LOOKED_AT),
        ..DocumentQuery::default()
    };
    let documents = client.documents(collection, &query).await?;
    let mut questions = Vec::new();
    for document in documents
        .data
        .iter()
        .filter(|document| document.status == DocumentStatus::Ready)
    {
        if questions.len() == count {
            break;
        }
        let topic = topic(client, collection, document).await?;
        questions.push(question(&topic, document.language.as_deref()));
    }
    Ok(questions)
}

/// The innermost heading in the middle of the document, else its title, else its name.
async fn topic(client: &Client, collection: &str, document: &Document) -> Result<String, Failure> {
    let chunks = client.chunks(collection, document.id).await?.data;
    let heading = chunks
        .get(chunks.len() / 2)
        .and_then(|chunk| chunk.heading.last().cloned());
    Ok(heading
        .or_else(|| document.title.clone())
        .unwrap_or_else(|| document.name.clone()))
}

fn question(topic: &str, language: Option<&str>) -> String {
    match language {
        Some("zh") => format!("关于“{topic}”，文档是怎么说的？"),
        _ => format!("What do the documents say about {topic}?"),
    }
}
