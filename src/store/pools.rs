use std::collections::HashMap;

use sha2::{Digest, Sha256};

use super::erasure::drop_embedding;
use super::sql::{Row, Value, values};
use super::{Change, Imported, PoolRow, PoolVersion, Store, StoreError, UnixMillis};
use crate::domain::{Candidates, ContentHash, PoolName, TenantId};

impl Store {
    /// Adds candidates to a pool, made where it is not there, in one transaction. A (prompt, response) that is there
    /// already is counted and changes nothing; the pool's revision advances if anything is new.
    pub async fn import_candidates(
        &self,
        tenant: &TenantId,
        pool: &PoolName,
        candidates: &[Candidates],
        now: UnixMillis,
    ) -> Result<Imported, StoreError> {
        let mut tx = self.db.begin().await?;
        // Makes the pool, and locks it: two imports into one pool follow each other.
        tx.execute(
            "INSERT INTO pool (tenant, pool, revision, prompts, responses, created, updated)
             VALUES ($1, $2, 0, 0, 0, $3, $3)
             ON CONFLICT (tenant, pool) DO UPDATE SET revision = pool.revision",
            values![tenant, pool, now],
        )
        .await?;
        let hashes: Vec<[u8; 32]> = candidates.iter().map(|each| prompt_hash(&each.prompt)).collect();
        let prompts: Vec<[Value<'_>; 4]> = candidates
            .iter()
            .zip(&hashes)
            .map(|(each, hash)| [tenant.into(), pool.into(), hash.as_slice().into(), (&each.prompt).into()])
            .collect();
        let new_prompts = tx
            .insert_many(
                "INSERT INTO pool_prompt (tenant, pool, prompt_hash, prompt) VALUES ",
                " ON CONFLICT (tenant, pool, prompt_hash) DO NOTHING",
                &prompts,
            )
            .await?;
        let contents: Vec<Vec<ContentHash>> = candidates
            .iter()
            .map(|each| {
                each.responses.iter().map(|response| ContentHash::new(&each.prompt, response)).collect()
            })
            .collect();
        let responses: Vec<[Value<'_>; 6]> = candidates
            .iter()
            .zip(&hashes)
            .zip(&contents)
            .flat_map(|((each, hash), contents)| {
                each.responses.iter().zip(contents).zip(0_i64..).map(move |((response, content), place)| {
                    [
                        tenant.into(),
                        pool.into(),
                        hash.as_slice().into(),
                        content.into(),
                        place.into(),
                        response.into(),
                    ]
                })
            })
            .collect();
        let added = tx
            .insert_many(
                "INSERT INTO candidate (tenant, pool, prompt_hash, content_hash, place, response) VALUES ",
                " ON CONFLICT (tenant, pool, prompt_hash, content_hash) DO NOTHING",
                &responses,
            )
            .await?;
        let advance = i64::from(added > 0 || new_prompts > 0);
        tx.execute(
            "UPDATE pool SET revision = revision + $3, prompts = prompts + $4, responses = responses + $5,
                             updated = CASE WHEN $3 > 0 THEN $6 ELSE updated END
             WHERE tenant = $1 AND pool = $2",
            values![tenant, pool, advance, new_prompts as i64, added as i64, now],
        )
        .await?;
        let row = tx
            .row("SELECT revision FROM pool WHERE tenant = $1 AND pool = $2", values![tenant, pool])
            .await?;
        let revision = row.map_or(Ok(0), |row| row.get(0))?;
        if advance > 0 {
            tx.notify(&Change::Pool(tenant.clone(), pool.clone())).await?;
        }
        tx.commit().await?;
        Ok(Imported { added, duplicates: responses.len() as u64 - added, revision })
    }

    /// Pools in the order of their names, those after `after`, at most `limit`.
    pub async fn list_pools(
        &self,
        tenant: &TenantId,
        after: Option<&PoolName>,
        limit: u32,
    ) -> Result<Vec<PoolRow>, StoreError> {
        let rows = self
            .db
            .rows(
                "SELECT pool, revision, prompts, responses, created, updated FROM pool
                 WHERE tenant = $1 AND pool > $2 ORDER BY pool LIMIT $3",
                values![tenant, after.map_or("", PoolName::as_str), i64::from(limit)],
            )
            .await?;
        rows.iter().map(pool_row).collect()
    }

    /// One pool; nothing where there is no such pool.
    pub async fn pool(&self, tenant: &TenantId, pool: &PoolName) -> Result<Option<PoolRow>, StoreError> {
        let row = self
            .db
            .row(
                "SELECT pool, revision, prompts, responses, created, updated FROM pool
                 WHERE tenant = $1 AND pool = $2",
                values![tenant, pool],
            )
            .await?;
        row.as_ref().map(pool_row).transpose()
    }

    /// Which contents a pool has at present; nothing where there is no such pool. What a cache compares.
    pub async fn pool_version(
        &self,
        tenant: &TenantId,
        pool: &PoolName,
    ) -> Result<Option<PoolVersion>, StoreError> {
        let row = self
            .db
            .row("SELECT created, revision FROM pool WHERE tenant = $1 AND pool = $2", values![tenant, pool])
            .await?;
        row.map(|row| Ok(PoolVersion { created: row.get(0)?, revision: row.get(1)? })).transpose()
    }

    /// All of a pool, prompts in an order that depends on their texts alone and responses in the order in which they
    /// were imported; nothing where there is no such pool.
    ///
    /// The revision is read first: candidates that are imported meanwhile may be in the answer already, and the next
    /// look at the revision then builds the cache once more, but none is ever missing from the revision it is under.
    pub async fn pool_candidates(
        &self,
        tenant: &TenantId,
        pool: &PoolName,
    ) -> Result<Option<(PoolVersion, Vec<Candidates>)>, StoreError> {
        let Some(version) = self.pool_version(tenant, pool).await? else { return Ok(None) };
        let rows = self
            .db
            .rows(
                "SELECT p.prompt_hash, p.prompt FROM pool_prompt p WHERE p.tenant = $1 AND p.pool = $2
                 ORDER BY p.prompt_hash",
                values![tenant, pool],
            )
            .await?;
        let mut candidates = Vec::with_capacity(rows.len());
        let mut place = HashMap::with_capacity(rows.len());
        for row in &rows {
            place.insert(row.get::<Vec<u8>>(0)?, candidates.len());
            candidates.push(Candidates { prompt: row.get(1)?, responses: Vec::new() });
        }
        let rows = self
            .db
            .rows(
                "SELECT prompt_hash, response FROM candidate WHERE tenant = $1 AND pool = $2
                 ORDER BY prompt_hash, place, content_hash",
                values![tenant, pool],
            )
            .await?;
        for row in &rows {
            if let Some(&place) = place.get(&row.get::<Vec<u8>>(0)?) {
                candidates[place].responses.push(row.get(1)?);
            }
        }
        Ok(Some((version, candidates)))
    }

    /// The stored candidates of one prompt, in `pool` or in whichever pools have it; empty where none does.
    pub async fn candidates_of_prompt(
        &self,
        tenant: &TenantId,
        pool: Option<&PoolName>,
        prompt: &str,
    ) -> Result<Vec<String>, StoreError> {
        let rows = self
            .db
            .rows(
                "SELECT c.response, c.place, c.content_hash FROM pool_prompt p
                 JOIN candidate c ON c.tenant = p.tenant AND c.pool = p.pool AND c.prompt_hash = p.prompt_hash
                 WHERE p.tenant = $1 AND p.prompt_hash = $2 AND ($3 = '' OR p.pool = $3)
                 ORDER BY p.pool, c.place, c.content_hash",
                values![tenant, prompt_hash(prompt).as_slice(), pool.map_or("", PoolName::as_str)],
            )
            .await?;
        let mut responses = Vec::with_capacity(rows.len());
        let mut seen = std::collections::HashSet::with_capacity(rows.len());
        for row in &rows {
            if seen.insert(row.get::<Vec<u8>>(2)?) {
                responses.push(row.get(0)?);
            }
        }
        Ok(responses)
    }

    /// Deletes a pool with its candidates and their embeddings, unless another pool has the text; false where there
    /// is no such pool.
    pub async fn delete_pool(&self, tenant: &TenantId, pool: &PoolName) -> Result<bool, StoreError> {
        let mut tx = self.db.begin().await?;
        let rows = tx
            .rows(
                "SELECT DISTINCT content_hash FROM candidate WHERE tenant = $1 AND pool = $2",
                values![tenant, pool],
            )
            .await?;
        let deleted =
            tx.execute("DELETE FROM pool WHERE tenant = $1 AND pool = $2", values![tenant, pool]).await?;
        for row in &rows {
            let content = ContentHash(row.digest(0, "candidate", "content_hash")?);
            drop_embedding(&mut tx, tenant, &content).await?;
        }
        tx.notify(&Change::Pool(tenant.clone(), pool.clone())).await?;
        tx.commit().await?;
        Ok(deleted == 1)
    }
}

fn prompt_hash(prompt: &str) -> [u8; 32] {
    Sha256::digest(prompt.as_bytes()).into()
}

fn pool_row(row: &Row) -> Result<PoolRow, StoreError> {
    Ok(PoolRow {
        pool: row.parsed(0, "pool", "pool", |name| PoolName::parse(name))?,
        revision: row.get(1)?,
        prompts: row.get(2)?,
        responses: row.get(3)?,
        created: row.get(4)?,
        updated: row.get(5)?,
    })
}
