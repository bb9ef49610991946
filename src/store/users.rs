use super::sql::{Row, Value, values};
use super::{
    Answer, Derived, Revision, Store, StoreError, StoredPosterior, UnixMillis, UserRow, UserSnapshot,
};
use crate::domain::{ModelVersion, Outcome, PreferenceId, TenantId, UserId, Weight};

impl Store {
    /// Makes the user if they are not there; returns their log position.
    pub async fn ensure_user(
        &self,
        tenant: &TenantId,
        user: &UserId,
        now: UnixMillis,
    ) -> Result<Revision, StoreError> {
        self.db.execute(ENSURE_USER, values![tenant, user, now]).await?;
        self.user_revision(tenant, user).await?.ok_or_else(|| missing_user(user))
    }

    /// How many users the tenant has, counted no further than `most`.
    pub async fn count_users(&self, tenant: &TenantId, most: u64) -> Result<u64, StoreError> {
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        let row = self
            .db
            .row(
                "SELECT COUNT(*) FROM (SELECT 1 FROM users WHERE tenant = $1 LIMIT $2) AS counted",
                values![tenant, most],
            )
            .await?;
        let count: i64 = row.map_or(Ok(0), |row| row.get(0))?;
        Ok(count.unsigned_abs())
    }

    /// The user's log position; nothing where they are unknown.
    pub async fn user_revision(
        &self,
        tenant: &TenantId,
        user: &UserId,
    ) -> Result<Option<Revision>, StoreError> {
        let row = self
            .db
            .row("SELECT revision FROM users WHERE tenant = $1 AND user_id = $2", values![tenant, user])
            .await?;
        row.map(|row| row.get(0)).transpose()
    }

    /// The user and their fit under `model`; nothing where they are unknown. One statement.
    pub async fn user(
        &self,
        tenant: &TenantId,
        user: &UserId,
        model: &ModelVersion,
    ) -> Result<Option<UserRow>, StoreError> {
        let row = self
            .db
            .row(
                "SELECT u.user_id, u.revision, u.created, u.updated, p.revision, p.coefficients, p.hessian, p.answers
                 FROM users u
                 LEFT JOIN user_posterior p
                   ON p.tenant = u.tenant AND p.user_id = u.user_id AND p.model_version = $3
                 WHERE u.tenant = $1 AND u.user_id = $2",
                values![tenant, user, model],
            )
            .await?;
        row.map(|row| user_row(&row)).transpose()
    }

    /// Users in the order of their names, those after `after`, at most `limit`, each with their fit under `model`.
    pub async fn list_users(
        &self,
        tenant: &TenantId,
        model: Option<&ModelVersion>,
        after: Option<&UserId>,
        limit: u32,
    ) -> Result<Vec<UserRow>, StoreError> {
        let rows = self
            .db
            .rows(
                "SELECT u.user_id, u.revision, u.created, u.updated, p.revision, p.coefficients, p.hessian, p.answers
                 FROM users u
                 LEFT JOIN user_posterior p
                   ON p.tenant = u.tenant AND p.user_id = u.user_id AND p.model_version = $2
                 WHERE u.tenant = $1 AND u.user_id > $3
                 ORDER BY u.user_id LIMIT $4",
                values![tenant, model, after.map_or("", UserId::as_str), i64::from(limit)],
            )
            .await?;
        rows.iter().map(user_row).collect()
    }

    /// All that a fit of `user` under `model` needs; nothing where they are unknown. Two statements.
    ///
    /// The fit is read first and the log second, each in one statement, so that a change in between leaves a fit
    /// whose revision is behind the log's, which the caller redoes, and never one that is ahead of it.
    pub async fn user_snapshot(
        &self,
        tenant: &TenantId,
        user: &UserId,
        model: &ModelVersion,
    ) -> Result<Option<UserSnapshot>, StoreError> {
        let posterior = self
            .db
            .row(
                "SELECT revision, coefficients, hessian, answers FROM user_posterior
                 WHERE tenant = $1 AND user_id = $2 AND model_version = $3",
                values![tenant, user, model],
            )
            .await?;
        let lines = self
            .db
            .rows(
                "SELECT u.revision, p.position, p.preference_id, p.outcome, p.weight, p.created, f.delta, u.created
                 FROM users u
                 LEFT JOIN preference p
                   ON p.tenant = u.tenant AND p.user_id = u.user_id AND p.deleted IS NULL
                 LEFT JOIN preference_feature f
                   ON f.tenant = p.tenant AND f.user_id = p.user_id AND f.position = p.position
                  AND f.model_version = $3
                 WHERE u.tenant = $1 AND u.user_id = $2
                 ORDER BY p.position",
                values![tenant, user, model],
            )
            .await?;
        let Some(first) = lines.first() else { return Ok(None) };
        let (revision, created) = (first.get(0)?, first.get(7)?);
        // A user without a live answer is one row of nulls.
        let has_answers = first.get::<Option<i64>>(1)?.is_some();
        let answers = if has_answers {
            lines.iter().map(|line| answer(line, 4)).collect::<Result<_, _>>()?
        } else {
            Vec::new()
        };
        let posterior = posterior.map(|row| stored_posterior(&row, 0)).transpose()?.flatten();
        Ok(Some(UserSnapshot { revision, created, posterior, answers }))
    }

    /// Stores a fit that was made outside a commit (a refit for an activating model, or after a lapse), with the δ
    /// it computed on the way, by log position, of the user who came at `created`.
    ///
    /// A fit of an older revision never replaces one of a newer; a user or line that went away meanwhile is passed
    /// over, whether or not somebody of the same name came since.
    pub async fn put_posterior(
        &self,
        tenant: &TenantId,
        user: &UserId,
        model: &ModelVersion,
        created: UnixMillis,
        posterior: &StoredPosterior,
        deltas: &[(Revision, Vec<f64>)],
    ) -> Result<(), StoreError> {
        let mut tx = self.db.begin().await?;
        tx.lock_user(tenant, user).await?;
        for (position, delta) in deltas {
            tx.execute(
                "INSERT INTO preference_feature (tenant, user_id, position, model_version, delta)
                 SELECT p.tenant, p.user_id, p.position, $4, $5 FROM preference p
                 JOIN users u ON u.tenant = p.tenant AND u.user_id = p.user_id AND u.created = $6
                 WHERE p.tenant = $1 AND p.user_id = $2 AND p.position = $3
                 ON CONFLICT (tenant, user_id, position, model_version) DO UPDATE SET delta = excluded.delta",
                values![tenant, user, *position, model, delta.as_slice(), created],
            )
            .await?;
        }
        tx.execute(
            "INSERT INTO user_posterior (tenant, user_id, model_version, revision, coefficients, hessian, answers)
             SELECT u.tenant, u.user_id, $3, $4, $5, $6, $7 FROM users u
             WHERE u.tenant = $1 AND u.user_id = $2 AND u.created = $8
             ON CONFLICT (tenant, user_id, model_version) DO UPDATE
             SET revision = excluded.revision, coefficients = excluded.coefficients, hessian = excluded.hessian,
                 answers = excluded.answers
             WHERE user_posterior.revision <= excluded.revision",
            values![
                tenant,
                user,
                model,
                posterior.revision,
                posterior.coefficients.as_slice(),
                posterior.hessian.as_slice(),
                posterior.answers,
                created
            ],
        )
        .await?;
        tx.commit().await
    }

    /// Users whose fit under `model` is missing or behind their log, after `after` in the order of their names, at
    /// most `limit`. A user who never answered is served by the prior and needs none.
    pub async fn lagging_users(
        &self,
        tenant: &TenantId,
        model: &ModelVersion,
        after: Option<&UserId>,
        limit: u32,
    ) -> Result<Vec<UserId>, StoreError> {
        let rows = self
            .db
            .rows(
                "SELECT u.user_id
                 FROM users u
                 LEFT JOIN user_posterior p
                   ON p.tenant = u.tenant AND p.user_id = u.user_id AND p.model_version = $2
                 WHERE u.tenant = $1 AND u.user_id > $3 AND u.revision > COALESCE(p.revision, 0)
                 ORDER BY u.user_id LIMIT $4",
                values![tenant, model, after.map_or("", UserId::as_str), i64::from(limit)],
            )
            .await?;
        rows.iter().map(|row| row.parsed(0, "users", "user_id", |name| UserId::parse(name))).collect()
    }
}

pub(super) const ENSURE_USER: &str = "INSERT INTO users (tenant, user_id, revision, created, updated)
     VALUES ($1, $2, 0, $3, $3) ON CONFLICT (tenant, user_id) DO NOTHING";

fn missing_user(user: &UserId) -> StoreError {
    StoreError::Missing { what: "user", name: user.to_string() }
}

/// The rows of `user_posterior` that a commit writes with the log.
pub(super) fn posterior_values<'a>(
    tenant: &'a TenantId,
    user: &'a UserId,
    revision: Revision,
    derived: &'a Derived,
) -> [Value<'a>; 7] {
    [
        tenant.into(),
        user.into(),
        (&derived.model_version).into(),
        revision.into(),
        derived.coefficients.as_slice().into(),
        derived.hessian.as_slice().into(),
        derived.answers.into(),
    ]
}

fn user_row(row: &Row) -> Result<UserRow, StoreError> {
    Ok(UserRow {
        user_id: row.parsed(0, "users", "user_id", |name| UserId::parse(name))?,
        revision: row.get(1)?,
        created: row.get(2)?,
        updated: row.get(3)?,
        posterior: stored_posterior(row, 4)?,
    })
}

/// revision, coefficients, hessian and answers in the four columns from `first` on; nothing where they are null.
pub(super) fn stored_posterior(row: &Row, first: usize) -> Result<Option<StoredPosterior>, StoreError> {
    let Some(revision) = row.get(first)? else { return Ok(None) };
    Ok(Some(StoredPosterior {
        revision,
        coefficients: row.numbers(first + 1)?.unwrap_or_default(),
        hessian: row.numbers(first + 2)?.unwrap_or_default(),
        answers: row.get(first + 3)?,
    }))
}

/// position, id and outcome in the columns from 1 on; weight, time and δ in those from `rest` on.
pub(super) fn answer(row: &Row, rest: usize) -> Result<Answer, StoreError> {
    Ok(Answer {
        position: row.get(1)?,
        preference_id: row.parsed(2, "preference", "preference_id", PreferenceId::parse)?,
        outcome: row.parsed(3, "preference", "outcome", Outcome::parse)?,
        weight: weight(row, rest)?,
        created: row.get(rest + 1)?,
        delta: row.numbers(rest + 2)?,
    })
}

pub(super) fn weight(row: &Row, index: usize) -> Result<Weight, StoreError> {
    Weight::parse(row.get(index)?).map_err(|invalid| StoreError::corrupt("preference", "weight", invalid))
}
