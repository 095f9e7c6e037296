use crate::catalog::{commit, now, run};
use crate::{Catalog, CatalogError, fine_tuning, row};
use lore_types::{Adapter, AdapterReference, AdapterVersion, ParityReport, Promotion};
use sqlx::SqliteConnection;
use sqlx::sqlite::SqliteRow;
use uuid::Uuid;

/// A version whose files are on disk. Its `version`, `stale`, `parity` and `created_at` are set by the registration.
#[derive(Clone, Debug)]
pub struct NewAdapterVersion {
    /// What stands of it; its `version` must be what [`Catalog::next_adapter_version`] said.
    pub version: AdapterVersion,
}

impl Catalog {
    /// The number that the next version of an adapter gets. Numbers are never used twice.
    ///
    /// # Errors
    /// [`CatalogError::Sql`].
    pub async fn next_adapter_version(&self, name: &str) -> Result<u32, CatalogError> {
        let found = sqlx::query("SELECT last_number FROM adapters WHERE name = $1")
            .bind(name)
            .fetch_optional(&self.reader)
            .await
            .map_err(CatalogError::sql("read an adapter"))?;
        let last = found.map(|found| row::number::<u32>(&found, "last_number"));
        Ok(last.transpose()?.unwrap_or(0) + 1)
    }

    /// Registers a version that no job made.
    ///
    /// # Errors
    /// [`CatalogError::VersionTaken`].
    pub async fn register_adapter(
        &self,
        new: &NewAdapterVersion,
    ) -> Result<AdapterVersion, CatalogError> {
        let mut transaction = self.write().await?;
        let version = register(&mut transaction, new).await?;
        commit(transaction).await?;
        Ok(version)
    }

    /// One adapter with its versions.
    ///
    /// # Errors
    /// [`CatalogError::NoAdapter`].
    pub async fn adapter(&self, name: &str) -> Result<Adapter, CatalogError> {
        let all = self.some_adapters(Some(name)).await?;
        let found = all.into_iter().next();
        found.ok_or_else(|| CatalogError::NoAdapter(name.to_owned()))
    }

    /// Every adapter with its versions, by name.
    ///
    /// # Errors
    /// [`CatalogError::Sql`].
    pub async fn adapters(&self) -> Result<Vec<Adapter>, CatalogError> {
        self.some_adapters(None).await
    }

    /// The version that a reference names: the promoted one where it names none, and where none is promoted, the newest.
    ///
    /// # Errors
    /// [`CatalogError::NoAdapter`].
    pub async fn adapter_version(
        &self,
        reference: &AdapterReference,
    ) -> Result<AdapterVersion, CatalogError> {
        let adapter = self.adapter(&reference.name).await?;
        let number = reference.version.or(adapter.promoted);
        let found = match number {
            Some(number) => adapter.version(number),
            None => adapter.versions.last(),
        };
        found
            .cloned()
            .ok_or_else(|| CatalogError::NoAdapter(reference.to_string()))
    }

    async fn some_adapters(&self, name: Option<&str>) -> Result<Vec<Adapter>, CatalogError> {
        let rows = sqlx::query(
            "SELECT a.name, a.promoted, v.number, v.body, v.parity, v.stale, v.created_at FROM adapters a \
             JOIN adapter_versions v ON v.adapter = a.name WHERE ($1 IS NULL OR a.name = $1) ORDER BY a.name, v.number",
        )
        .bind(name)
        .fetch_all(&self.reader)
        .await
        .map_err(CatalogError::sql("list adapters"))?;
        let mut adapters: Vec<Adapter> = Vec::new();
        for found in &rows {
            let version = version(found)?;
            match adapters.last_mut() {
                Some(last) if last.name == version.adapter => last.versions.push(version),
                _ => adapters.push(begin(found, version)?),
            }
        }
        for adapter in &mut adapters {
            adapter.promotions = self.promotions(&adapter.name).await?;
            let shown = adapter.promoted_version().or(adapter.versions.last());
            adapter.base = shown.map(|shown| shown.base.clone()).unwrap_or_default();
        }
        Ok(adapters)
    }

    async fn promotions(&self, name: &str) -> Result<Vec<Promotion>, CatalogError> {
        let rows = sqlx::query("SELECT * FROM promotions WHERE adapter = $1 ORDER BY id DESC")
            .bind(name)
            .fetch_all(&self.reader)
            .await
            .map_err(CatalogError::sql("list promotions"))?;
        let promotion = |found: &SqliteRow| {
            Ok(Promotion {
                version: row::number(found, "version")?,
                replaced: row::optional_number(found, "replaced")?,
                rollback: row::get::<i64>(found, "rollback")? != 0,
                at: row::time(found, "at")?,
            })
        };
        rows.iter().map(promotion).collect()
    }

    /// Keeps the outcome of a parity check.
    ///
    /// # Errors
    /// [`CatalogError::Sql`].
    pub async fn note_parity(
        &self,
        name: &str,
        number: u32,
        parity: &ParityReport,
    ) -> Result<(), CatalogError> {
        let note = sqlx::query(
            "UPDATE adapter_versions SET parity = $3 WHERE adapter = $1 AND number = $2",
        )
        .bind(name)
        .bind(i64::from(number))
        .bind(row::to_json(parity)?);
        let mut transaction = self.write().await?;
        run(&mut transaction, "keep a parity check", note).await?;
        commit(transaction).await
    }

    /// Makes a version the one that is served under the bare name. The caller has checked it. `rollback`: it is what
    /// [`Catalog::earlier_promotion`] named, and the newest promotion is taken back.
    ///
    /// # Errors
    /// [`CatalogError::NoAdapter`].
    pub async fn promote_adapter(
        &self,
        name: &str,
        number: u32,
        rollback: bool,
    ) -> Result<Adapter, CatalogError> {
        let mut transaction = self.write().await?;
        require_version(&mut transaction, name, number).await?;
        let before = promoted(&mut transaction, name).await?;
        if before != Some(number) {
            promote(&mut transaction, name, number, before, rollback).await?;
        }
        commit(transaction).await?;
        self.adapter(name).await
    }

    /// The version that a rollback would go back to: the one before the newest promotion that is still there.
    ///
    /// # Errors
    /// [`CatalogError::NoAdapter`], [`CatalogError::NoEarlierPromotion`].
    pub async fn earlier_promotion(&self, name: &str) -> Result<u32, CatalogError> {
        let adapter = self.adapter(name).await?;
        // A rollback takes a promotion back, so what is left is a stack.
        let mut stack: Vec<u32> = Vec::new();
        for change in adapter.promotions.iter().rev() {
            if change.rollback {
                stack.pop();
            } else {
                stack.push(change.version);
            }
        }
        stack.retain(|version| adapter.version(*version).is_some());
        let current = adapter.promoted;
        let earlier = stack
            .into_iter()
            .rev()
            .find(|version| Some(*version) != current);
        earlier.ok_or_else(|| CatalogError::NoEarlierPromotion(name.to_owned()))
    }

    /// Forgets a version, or all of them; says which folders can go.
    ///
    /// # Errors
    /// [`CatalogError::NoAdapter`]; [`CatalogError::AdapterInUse`] for the promoted version while others are there, for a
    /// collection's default, and for what a job that is not over goes on from.
    pub async fn delete_adapter(
        &self,
        name: &str,
        number: Option<u32>,
    ) -> Result<Vec<AdapterVersion>, CatalogError> {
        let adapter = self.adapter(name).await?;
        let gone: Vec<_> = match number {
            Some(number) => adapter.version(number).cloned().into_iter().collect(),
            None => adapter.versions.clone(),
        };
        if gone.is_empty() {
            let reference = AdapterReference {
                name: name.to_owned(),
                version: number,
            };
            return Err(CatalogError::NoAdapter(reference.to_string()));
        }
        let all = gone.len() == adapter.versions.len();
        let mut transaction = self.write().await?;
        refuse_needed(&mut transaction, &adapter, number, all).await?;
        for version in &gone {
            let delete =
                sqlx::query("DELETE FROM adapter_versions WHERE adapter = $1 AND number = $2")
                    .bind(name)
                    .bind(i64::from(version.version));
            run(&mut transaction, "forget a version", delete).await?;
        }
        if all {
            for statement in [
                "UPDATE adapters SET promoted = NULL WHERE name = $1",
                "DELETE FROM promotions WHERE adapter = $1",
            ] {
                run(
                    &mut transaction,
                    "forget an adapter",
                    sqlx::query(statement).bind(name),
                )
                .await?;
            }
        }
        commit(transaction).await?;
        Ok(gone)
    }
}

/// Refuses a deletion that would pull something away from under somebody.
async fn refuse_needed(
    connection: &mut SqliteConnection,
    adapter: &Adapter,
    number: Option<u32>,
    all: bool,
) -> Result<(), CatalogError> {
    let in_use = |reason: String| CatalogError::AdapterInUse {
        adapter: AdapterReference {
            name: adapter.name.clone(),
            version: number,
        }
        .to_string(),
        reason,
    };
    if !all && number.is_some() && number == adapter.promoted {
        return Err(in_use(
            "it is the promoted version; promote another one first".to_owned(),
        ));
    }
    let found = sqlx::query(
        "SELECT name FROM collections WHERE default_adapter = $1 AND state = 'live' LIMIT 1",
    )
    .bind(&adapter.name)
    .fetch_optional(&mut *connection)
    .await
    .map_err(CatalogError::sql("look for uses of an adapter"))?;
    if let Some(found) = found.filter(|_| all) {
        let collection: String = row::get(&found, "name")?;
        return Err(in_use(format!(
            "it is the default of collection `{collection}`"
        )));
    }
    let needed = |reference: &str| {
        reference
            .parse::<AdapterReference>()
            .is_ok_and(|reference| {
                reference.name == adapter.name && (number.is_none() || reference.version == number)
            })
    };
    for job in fine_tuning::unfinished(connection).await? {
        if job.lore.continue_from.as_deref().is_some_and(needed) {
            return Err(in_use(format!("job `{}` goes on from it", job.id)));
        }
    }
    Ok(())
}

/// Adds a version, and its adapter where that is new.
pub(crate) async fn register(
    connection: &mut SqliteConnection,
    new: &NewAdapterVersion,
) -> Result<AdapterVersion, CatalogError> {
    let mut version = new.version.clone();
    let taken = CatalogError::VersionTaken {
        adapter: version.adapter.clone(),
        number: version.version,
    };
    let at = now();
    let upsert = sqlx::query(
        "INSERT INTO adapters (name, last_number, created_at) VALUES ($1, $2, $3) \
         ON CONFLICT (name) DO UPDATE SET last_number = excluded.last_number \
         WHERE adapters.last_number = excluded.last_number - 1",
    )
    .bind(&version.adapter)
    .bind(i64::from(version.version))
    .bind(at);
    if run(connection, "name an adapter", upsert).await? == 0 {
        return Err(taken);
    }
    version.stale = false;
    let insert = sqlx::query(
        "INSERT INTO adapter_versions (adapter, number, job_id, body, created_at) VALUES ($1, $2, $3, $4, $5)",
    )
    .bind(&version.adapter)
    .bind(i64::from(version.version))
    .bind(version.job.map(|job| job.to_string()))
    .bind(row::to_json(&version)?)
    .bind(at);
    run(connection, "register a version", insert).await?;
    Ok(version)
}

/// Refuses an adapter that is not there.
pub(crate) async fn require(
    connection: &mut SqliteConnection,
    name: &str,
) -> Result<(), CatalogError> {
    let found = sqlx::query("SELECT 1 FROM adapter_versions WHERE adapter = $1 LIMIT 1")
        .bind(name)
        .fetch_optional(connection)
        .await
        .map_err(CatalogError::sql("look for an adapter"))?;
    found
        .map(drop)
        .ok_or_else(|| CatalogError::NoAdapter(name.to_owned()))
}

async fn require_version(
    connection: &mut SqliteConnection,
    name: &str,
    number: u32,
) -> Result<(), CatalogError> {
    let found = sqlx::query("SELECT 1 FROM adapter_versions WHERE adapter = $1 AND number = $2")
        .bind(name)
        .bind(i64::from(number))
        .fetch_optional(connection)
        .await
        .map_err(CatalogError::sql("look for a version"))?;
    found
        .map(drop)
        .ok_or_else(|| CatalogError::NoAdapter(format!("{name}@{number}")))
}

async fn promoted(
    connection: &mut SqliteConnection,
    name: &str,
) -> Result<Option<u32>, CatalogError> {
    let found = sqlx::query("SELECT promoted FROM adapters WHERE name = $1")
        .bind(name)
        .fetch_one(connection)
        .await
        .map_err(CatalogError::sql("read an adapter"))?;
    row::optional_number(&found, "promoted")
}

async fn promote(
    connection: &mut SqliteConnection,
    name: &str,
    number: u32,
    before: Option<u32>,
    rollback: bool,
) -> Result<(), CatalogError> {
    let set = sqlx::query("UPDATE adapters SET promoted = $2 WHERE name = $1")
        .bind(name)
        .bind(i64::from(number));
    run(connection, "promote a version", set).await?;
    let note = sqlx::query(
        "INSERT INTO promotions (id, adapter, version, replaced, rollback, at) VALUES ($1, $2, $3, $4, $5, $6)",
    )
    .bind(Uuid::now_v7().to_string())
    .bind(name)
    .bind(i64::from(number))
    .bind(before.map(i64::from))
    .bind(i64::from(rollback))
    .bind(now());
    run(connection, "note a promotion", note).await.map(drop)
}

fn begin(found: &SqliteRow, first: AdapterVersion) -> Result<Adapter, CatalogError> {
    Ok(Adapter {
        name: first.adapter.clone(),
        object: "adapter".to_owned(),
        base: String::new(),
        promoted: row::optional_number(found, "promoted")?,
        promotions: Vec::new(),
        created_at: first.created_at,
        versions: vec![first],
    })
}

fn version(found: &SqliteRow) -> Result<AdapterVersion, CatalogError> {
    let mut version: AdapterVersion = row::json(found, "body", "a version of an adapter")?;
    let stale: i64 = row::get(found, "stale")?;
    version.version = row::number(found, "number")?;
    version.stale = stale != 0;
    version.parity = row::optional_json(found, "parity", "a parity check")?;
    version.created_at = row::time(found, "created_at")?;
    Ok(version)
}
