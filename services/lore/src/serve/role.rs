use super::lock::Part;
use super::readiness;

/// Which services a process runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// All three.
    All,
    /// Answers questions, and passes the other services' routes on to them.
    Gateway,
    /// Makes documents findable.
    Ingest,
    /// Trains adapters.
    Trainer,
}

impl Role {
    /// What it locks in the data folder.
    pub fn locks(self) -> &'static [Part] {
        match self {
            Self::All => &[Part::Ingest, Part::Trainer, Part::Gateway],
            Self::Gateway => &[Part::Gateway],
            Self::Ingest => &[Part::Ingest],
            Self::Trainer => &[Part::Trainer],
        }
    }

    /// What has to be there before it is ready.
    pub fn waits_for(self) -> &'static [&'static str] {
        match self {
            Self::All | Self::Gateway => &[
                readiness::STORAGE,
                readiness::EMBEDDER,
                readiness::GENERATOR,
            ],
            Self::Ingest => &[readiness::STORAGE, readiness::EMBEDDER],
            Self::Trainer => &[readiness::STORAGE],
        }
    }

    /// Whether documents are ingested here.
    pub fn ingests(self) -> bool {
        matches!(self, Self::All | Self::Ingest)
    }

    /// Whether adapters are trained here.
    pub fn trains(self) -> bool {
        matches!(self, Self::All | Self::Trainer)
    }

    /// Whether questions are answered here.
    pub fn answers(self) -> bool {
        matches!(self, Self::All | Self::Gateway)
    }
}
