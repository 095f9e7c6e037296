use super::analysis::{Terms, analyse};
use crate::IndexedChunk;
use crate::terms::field_terms;
use lore_types::{ChunkId, VersionId};
use tantivy::schema::{
    BytesOptions, FAST, Field, IndexRecordOption, Schema, TextFieldIndexing, TextOptions,
};
use tantivy::{TantivyDocument, Term};
use uuid::Uuid;

/// Changes when the fields or the analysis do: an index of another format is written anew.
pub(super) const FORMAT: u32 = 1;

/// Names of the columns that hold ids, each as two numbers.
pub(super) const CHUNK: [&str; 2] = ["chunk_high", "chunk_low"];
pub(super) const VERSION: [&str; 2] = ["version_high", "version_low"];
pub(super) const DOCUMENT: [&str; 2] = ["document_high", "document_low"];

/// The fields of a lexical index. Texts are analysed before they come here: a field holds terms, joined by spaces.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fields {
    chunk: Field,
    version: Field,
    columns: [[Field; 2]; 3],
    /// Terms of the filter, see `terms`.
    pub(super) filter: Field,
    /// The text with its title and headings, words and grams.
    pub(super) text: Sides,
    /// Title and headings alone, words and grams.
    pub(super) heading: Sides,
}

/// The two fields of one text: English stems and codes, and the grams of Chinese and other scripts without spaces.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sides {
    pub(super) words: Field,
    pub(super) grams: Field,
}

impl Fields {
    /// The schema and its fields.
    pub(super) fn schema() -> (Schema, Self) {
        let mut schema = Schema::builder();
        let key = BytesOptions::default().set_indexed();
        let counted = terms_option(IndexRecordOption::WithFreqs, true, "whitespace");
        let exact = terms_option(IndexRecordOption::Basic, false, "raw");
        let fields = Self {
            chunk: schema.add_bytes_field("chunk", key.clone()),
            version: schema.add_bytes_field("version", key),
            columns: [CHUNK, VERSION, DOCUMENT]
                .map(|names| names.map(|name| schema.add_u64_field(name, FAST))),
            filter: schema.add_text_field("filter", exact),
            text: Sides {
                words: schema.add_text_field("text_words", counted.clone()),
                grams: schema.add_text_field("text_grams", counted.clone()),
            },
            heading: Sides {
                words: schema.add_text_field("heading_words", counted.clone()),
                grams: schema.add_text_field("heading_grams", counted),
            },
        };
        (schema.build(), fields)
    }

    /// What the index keeps of a chunk.
    pub(super) fn document(&self, indexed: &IndexedChunk) -> TantivyDocument {
        let chunk = &indexed.chunk;
        let mut document = TantivyDocument::new();
        document.add_bytes(self.chunk, chunk.id.0.as_bytes());
        document.add_bytes(self.version, chunk.version_id.0.as_bytes());
        let ids = [chunk.id.0, chunk.version_id.0, chunk.document_id.0];
        for (columns, id) in self.columns.iter().zip(ids) {
            let (high, low) = id.as_u64_pair();
            document.add_u64(columns[0], high);
            document.add_u64(columns[1], low);
        }
        for term in field_terms(&indexed.fields) {
            document.add_text(self.filter, term);
        }
        let heading = format!("{}\n{}", indexed.title, chunk.heading.join("\n"));
        self.text.add(
            &mut document,
            &analyse(&format!("{heading}\n{}", chunk.text)),
        );
        self.heading.add(&mut document, &analyse(&heading));
        document
    }

    /// The term that finds a chunk.
    pub(super) fn chunk_term(&self, id: ChunkId) -> Term {
        Term::from_field_bytes(self.chunk, id.0.as_bytes())
    }

    /// The term that finds all chunks of a version.
    pub(super) fn version_term(&self, id: VersionId) -> Term {
        Term::from_field_bytes(self.version, id.0.as_bytes())
    }
}

impl Sides {
    fn add(self, document: &mut TantivyDocument, terms: &Terms) {
        for (field, terms) in [(self.words, &terms.words), (self.grams, &terms.grams)] {
            if !terms.is_empty() {
                document.add_text(field, terms.join(" "));
            }
        }
    }
}

/// An id from its two numbers.
pub(super) fn uuid([high, low]: [u64; 2]) -> Uuid {
    Uuid::from_u64_pair(high, low)
}

fn terms_option(record: IndexRecordOption, lengths: bool, tokenizer: &str) -> TextOptions {
    let indexing = TextFieldIndexing::default()
        .set_index_option(record)
        .set_fieldnorms(lengths)
        .set_tokenizer(tokenizer);
    TextOptions::default().set_indexing_options(indexing)
}
