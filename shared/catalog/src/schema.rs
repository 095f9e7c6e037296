use crate::CatalogError;
use sqlx::{Row, SqlitePool};

/// Every change of the schema, oldest first; the number of a change is its place, from 1. Never edit one that was
/// released: add another.
const CHANGES: &[&str] = &[INITIAL, TRAINING];

/// Ids are text (UUIDs), times are microseconds since 1970 (UTC), truth values are 0 or 1.
const INITIAL: &str = "
CREATE TABLE collections (
    name        TEXT PRIMARY KEY,
    description TEXT NOT NULL,
    embedder    TEXT NOT NULL,
    dimensions  BIGINT NOT NULL,
    state       TEXT NOT NULL,
    created_at  BIGINT NOT NULL
);
CREATE TABLE documents (
    id             TEXT PRIMARY KEY,
    collection     TEXT NOT NULL REFERENCES collections (name),
    name           TEXT NOT NULL,
    last_number    BIGINT NOT NULL,
    newest_version TEXT NOT NULL,
    active_version TEXT,
    deleted        BIGINT NOT NULL DEFAULT 0,
    created_at     BIGINT NOT NULL,
    UNIQUE (collection, name)
);
CREATE TABLE versions (
    id            TEXT PRIMARY KEY,
    document_id   TEXT NOT NULL REFERENCES documents (id),
    collection    TEXT NOT NULL REFERENCES collections (name),
    number        BIGINT NOT NULL,
    state         TEXT NOT NULL,
    job_id        TEXT NOT NULL,
    content_hash  TEXT NOT NULL,
    bytes         BIGINT NOT NULL,
    media_type    TEXT,
    declared      TEXT,
    metadata      TEXT NOT NULL,
    format        TEXT,
    language      TEXT,
    title         TEXT,
    pages         BIGINT,
    chunk_count   BIGINT NOT NULL DEFAULT 0,
    parsed        BIGINT NOT NULL DEFAULT 0,
    touched       BIGINT NOT NULL DEFAULT 0,
    created_at    BIGINT NOT NULL,
    UNIQUE (document_id, number)
);
CREATE INDEX versions_by_state ON versions (state, collection);
CREATE INDEX versions_by_collection ON versions (collection, state, chunk_count);
CREATE INDEX versions_by_content ON versions (content_hash);
CREATE TABLE texts (
    version_id TEXT PRIMARY KEY REFERENCES versions (id) ON DELETE CASCADE,
    body       TEXT NOT NULL
);
CREATE TABLE chunks (
    id         TEXT PRIMARY KEY,
    version_id TEXT NOT NULL REFERENCES versions (id) ON DELETE CASCADE,
    ordinal    BIGINT NOT NULL,
    span_start BIGINT NOT NULL,
    span_end   BIGINT NOT NULL,
    page       BIGINT,
    heading    TEXT NOT NULL,
    body       TEXT NOT NULL,
    tokens     BIGINT NOT NULL,
    UNIQUE (version_id, ordinal)
);
CREATE TABLE jobs (
    id             TEXT PRIMARY KEY,
    kind           TEXT NOT NULL,
    status         TEXT NOT NULL,
    stage          TEXT NOT NULL,
    progress       DOUBLE PRECISION NOT NULL DEFAULT 0,
    collection     TEXT,
    document_id    TEXT,
    document_name  TEXT,
    version_id     TEXT,
    version_number BIGINT,
    warnings       TEXT NOT NULL DEFAULT '[]',
    error          TEXT,
    attempts       BIGINT NOT NULL DEFAULT 0,
    crashes        BIGINT NOT NULL DEFAULT 0,
    lease_owner    TEXT,
    lease_until    BIGINT,
    created_at     BIGINT NOT NULL,
    updated_at     BIGINT NOT NULL
);
CREATE INDEX jobs_by_turn ON jobs (status, crashes, id);
CREATE INDEX jobs_by_collection ON jobs (collection, id);
CREATE INDEX jobs_by_document ON jobs (document_id, status);
";

/// Files, fine-tuning jobs and adapters; what no statement asks for stands in `body`, as JSON.
const TRAINING: &str = "
ALTER TABLE collections ADD COLUMN default_adapter TEXT;
CREATE TABLE files (
    id           TEXT PRIMARY KEY,
    filename     TEXT NOT NULL,
    purpose      TEXT NOT NULL,
    content_hash TEXT NOT NULL,
    bytes        BIGINT NOT NULL,
    created_at   BIGINT NOT NULL
);
CREATE INDEX files_by_content ON files (content_hash);
CREATE TABLE fine_tuning_jobs (
    id          TEXT PRIMARY KEY,
    status      TEXT NOT NULL,
    adapter     TEXT NOT NULL,
    body        TEXT NOT NULL,
    progress    TEXT,
    error       TEXT,
    attempts    BIGINT NOT NULL DEFAULT 0,
    crashes     BIGINT NOT NULL DEFAULT 0,
    lease_owner TEXT,
    lease_until BIGINT,
    created_at  BIGINT NOT NULL,
    updated_at  BIGINT NOT NULL,
    finished_at BIGINT
);
CREATE INDEX fine_tuning_jobs_by_turn ON fine_tuning_jobs (status, id);
CREATE TABLE fine_tuning_events (
    id         TEXT PRIMARY KEY,
    job_id     TEXT NOT NULL REFERENCES fine_tuning_jobs (id) ON DELETE CASCADE,
    level      TEXT NOT NULL,
    kind       TEXT NOT NULL,
    message    TEXT NOT NULL,
    data       TEXT,
    created_at BIGINT NOT NULL
);
CREATE INDEX fine_tuning_events_by_job ON fine_tuning_events (job_id, id);
CREATE TABLE fine_tuning_checkpoints (
    id         TEXT PRIMARY KEY,
    job_id     TEXT NOT NULL REFERENCES fine_tuning_jobs (id) ON DELETE CASCADE,
    step       BIGINT NOT NULL,
    best       BIGINT NOT NULL,
    metrics    TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    UNIQUE (job_id, step)
);
CREATE TABLE adapters (
    name        TEXT PRIMARY KEY,
    last_number BIGINT NOT NULL,
    promoted    BIGINT,
    created_at  BIGINT NOT NULL
);
CREATE TABLE adapter_versions (
    adapter    TEXT NOT NULL REFERENCES adapters (name),
    number     BIGINT NOT NULL,
    job_id     TEXT UNIQUE,
    body       TEXT NOT NULL,
    parity     TEXT,
    stale      BIGINT NOT NULL DEFAULT 0,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (adapter, number)
);
CREATE TABLE promotions (
    id       TEXT PRIMARY KEY,
    adapter  TEXT NOT NULL REFERENCES adapters (name),
    version  BIGINT,
    replaced BIGINT,
    rollback BIGINT NOT NULL,
    at       BIGINT NOT NULL
);
CREATE INDEX promotions_by_adapter ON promotions (adapter, id);
";

/// Brings the database to the newest schema. Processes that start together take turns.
pub(crate) async fn migrate(pool: &SqlitePool) -> Result<(), CatalogError> {
    let failed = CatalogError::sql;
    let mut transaction = pool
        .begin_with("BEGIN IMMEDIATE")
        .await
        .map_err(failed("begin a migration"))?;
    sqlx::query("CREATE TABLE IF NOT EXISTS lore_schema (version BIGINT NOT NULL)")
        .execute(&mut *transaction)
        .await
        .map_err(failed("make the schema table"))?;
    let row = sqlx::query("SELECT coalesce(max(version), 0) AS version FROM lore_schema")
        .fetch_one(&mut *transaction)
        .await
        .map_err(failed("read its schema"))?;
    let found: i64 = row.try_get("version").map_err(failed("read its schema"))?;
    let known = CHANGES.len() as i64;
    if found > known {
        return Err(CatalogError::NewerSchema { found, known });
    }
    for (change, number) in CHANGES
        .iter()
        .zip(1..)
        .filter(|(_, number)| *number > found)
    {
        sqlx::raw_sql(*change)
            .execute(&mut *transaction)
            .await
            .map_err(failed("change its schema"))?;
        sqlx::query("INSERT INTO lore_schema (version) VALUES ($1)")
            .bind(number)
            .execute(&mut *transaction)
            .await
            .map_err(failed("note its schema"))?;
    }
    transaction
        .commit()
        .await
        .map_err(failed("commit a migration"))
}
