use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fmt;
use std::str::FromStr;
use utoipa::ToSchema;
use uuid::Uuid;

/// The namespace of every id that Lore derives from content rather than from chance.
const NAMESPACE: Uuid = Uuid::from_u128(0x6c6f_7265_0000_5000_8000_0000_0000_0001);

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl fmt::Display for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(out)
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Uuid::parse_str(text).map(Self)
            }
        }
    };
}

uuid_id! {
    /// Names one document: derived from its collection and its external name, so the same name is the same document.
    DocumentId
}
uuid_id! {
    /// Names one version of a document: derived from the document and the number of the version, counted from 1.
    VersionId
}
uuid_id! {
    /// Names one chunk: derived from the version and the ordinal, so indexing a version twice writes the same points.
    ChunkId
}
uuid_id! {
    /// Names one job; ids made later sort later.
    JobId
}

macro_rules! prefixed_id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(pub Uuid);

        impl $name {
            /// A new id, ordered by the time of its making.
            #[expect(clippy::new_without_default, reason = "no two are alike, so none is the default")]
            pub fn new() -> Self {
                Self(Uuid::now_v7())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(out, concat!($prefix, "{}"), self.0.simple())
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                let digits = text.strip_prefix($prefix).unwrap_or_default();
                Uuid::parse_str(digits).map(Self)
            }
        }

        impl TryFrom<String> for $name {
            type Error = uuid::Error;
            fn try_from(text: String) -> Result<Self, Self::Error> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.to_string()
            }
        }

        impl utoipa::PartialSchema for $name {
            fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::Schema> {
                <String as utoipa::PartialSchema>::schema()
            }
        }

        impl ToSchema for $name {}
    };
}

prefixed_id! {
    /// Names one uploaded file, `file-…`; ids made later sort later.
    FileId, "file-"
}
prefixed_id! {
    /// Names one fine-tuning job, `ftjob-…`; ids made later sort later.
    FineTuningId, "ftjob-"
}
prefixed_id! {
    /// Names one event of a fine-tuning job, `ftevent-…`; ids made later sort later.
    FineTuningEventId, "ftevent-"
}
prefixed_id! {
    /// Names one checkpoint of a fine-tuning job, `ftckpt-…`; ids made later sort later.
    FineTuningCheckpointId, "ftckpt-"
}

impl DocumentId {
    /// The id of the document called `name` in `collection`.
    pub fn derive(collection: &str, name: &str) -> Self {
        // A NUL cannot stand in a collection's name, so no two pairs share an input.
        Self(Uuid::new_v5(
            &NAMESPACE,
            format!("{collection}\0{name}").as_bytes(),
        ))
    }
}

impl VersionId {
    /// The id of version `number` (from 1) of `document`.
    pub fn derive(document: DocumentId, number: u32) -> Self {
        Self(Uuid::new_v5(&document.0, &number.to_be_bytes()))
    }
}

impl ChunkId {
    /// The id of the chunk at `ordinal` (from 0) of `version`.
    pub fn derive(version: VersionId, ordinal: u32) -> Self {
        Self(Uuid::new_v5(&version.0, &ordinal.to_be_bytes()))
    }
}

impl JobId {
    /// A new id, ordered by the time of its making.
    pub fn new() -> Self {
        Self(Uuid::now_v7())
    }
}

impl Default for JobId {
    fn default() -> Self {
        Self::new()
    }
}

/// The SHA-256 of some bytes, in lowercase hexadecimal (64 characters).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(transparent)]
pub struct ContentHash(pub String);

impl ContentHash {
    /// The hash of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self::from_digest(&Sha256::digest(bytes))
    }

    /// The hash whose raw digest (32 bytes) was computed elsewhere, while streaming for example.
    pub fn from_digest(digest: &[u8]) -> Self {
        Self(digest.iter().map(|byte| format!("{byte:02x}")).collect())
    }
}

impl fmt::Display for ContentHash {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}
