use sqlx::error::ErrorKind;

use super::sql::{Row, Tx, Value, values};
use super::users::{posterior_values, weight};
use super::{
    Append, Basis, Derived, Idempotent, LogRow, NewPreference, PreferenceRow, Recall, Revision, Store,
    StoreError, Undo, UnixMillis,
};
use crate::domain::{Comparison, Outcome, PreferenceId, QueryId, TenantId, UserId};

/// The RPC whose requests are kept where they only repeated what had been said.
const METHOD: &str = "SubmitPreference";

impl Store {
    /// Appends an answer to the user's log together with the fits that follow from it, in one transaction, on top of
    /// exactly `new.expected_revision`. Makes the user where that is 0 and they are not there.
    ///
    /// Once it returns `Appended` the answer is on disk. Whatever else it returns, nothing was changed.
    pub async fn append_preference(
        &self,
        tenant: &TenantId,
        user: &UserId,
        new: &NewPreference,
    ) -> Result<Append, StoreError> {
        if self.append_at_once(tenant, user, new, Basis::Read).await? {
            return Ok(Append::Appended { revision: new.expected_revision + 1 });
        }
        let mut tx = self.db.begin().await?;
        if advance_revision(&mut tx, tenant, user, new.expected_revision, new.created).await? {
            // An answer to a question cannot be from before an erasure, which took all that had been asked; any other
            // may be a late retry. Looked at under the lock of the log, behind which an erasure waits.
            if new.query_id.is_none() && self.is_lately_erased(&mut tx, tenant, user, new.created).await? {
                tx.rollback().await?;
                return Ok(Append::Erased);
            }
            if let Some(replay) = answered_alike(&mut tx, tenant, user, new).await? {
                return Ok(replay);
            }
            let revision = new.expected_revision + 1;
            match insert_line(&mut tx, tenant, user, revision, new).await {
                Ok(()) => {
                    insert_derived(&mut tx, tenant, user, revision, &new.derived).await?;
                    tx.commit().await?;
                    return Ok(Append::Appended { revision });
                }
                // Which one was violated is found by looking, below: SQLite does not tell.
                Err(error) if is_violation(&error) => {}
                Err(error) => return Err(error.into()),
            }
        }
        tx.rollback().await?;
        self.why_not_appended(tenant, user, new).await
    }

    /// Undoes an answer: it stays in the log, marked, and counts for nothing any more; its pair may be asked again,
    /// and the question it answered is open again. `derived` are the fits without it, computed from
    /// `expected_revision`; undoing is a line of the log, too, and advances the revision.
    #[expect(
        clippy::too_many_arguments,
        reason = "one commit: who, what, on top of which revision, with what"
    )]
    pub async fn delete_preference(
        &self,
        tenant: &TenantId,
        user: &UserId,
        preference: PreferenceId,
        expected_revision: Revision,
        now: UnixMillis,
        derived: &[Derived],
        request: Option<&Idempotent>,
    ) -> Result<Undo, StoreError> {
        let mut tx = self.db.begin().await?;
        if let Some(request) = request {
            match tx.remember(tenant, Some(user), request).await? {
                Recall::New => {}
                Recall::Replayed(reply) => return Ok(Undo::Replayed(reply)),
                Recall::RequestIdReused => return Ok(Undo::RequestIdReused),
            }
        }
        if advance_revision(&mut tx, tenant, user, expected_revision, now).await? {
            let undone = tx
                .execute(
                    "UPDATE preference SET deleted = $4
                     WHERE tenant = $1 AND user_id = $2 AND preference_id = $3 AND deleted IS NULL",
                    values![tenant, user, preference, now],
                )
                .await?;
            if undone == 1 {
                let revision = expected_revision + 1;
                insert_derived(&mut tx, tenant, user, revision, derived).await?;
                tx.commit().await?;
                return Ok(Undo::Undone { revision });
            }
        }
        tx.rollback().await?;
        self.why_not_undone(tenant, user, preference).await
    }

    /// One live answer.
    pub async fn preference(
        &self,
        tenant: &TenantId,
        user: &UserId,
        preference: PreferenceId,
    ) -> Result<Option<PreferenceRow>, StoreError> {
        let row = self
            .db
            .row(
                "SELECT position, preference_id, query_id, prompt, response_a, response_b, outcome, weight, created
                 FROM preference
                 WHERE tenant = $1 AND user_id = $2 AND preference_id = $3 AND deleted IS NULL",
                values![tenant, user, preference],
            )
            .await?;
        row.map(|row| preference_row(&row, 0)).transpose()
    }

    /// The user's live answers after log position `after`, in the order of the log, at most `limit`.
    pub async fn list_preferences(
        &self,
        tenant: &TenantId,
        user: &UserId,
        after: Revision,
        limit: u32,
    ) -> Result<Vec<PreferenceRow>, StoreError> {
        let rows = self
            .db
            .rows(
                "SELECT position, preference_id, query_id, prompt, response_a, response_b, outcome, weight, created
                 FROM preference
                 WHERE tenant = $1 AND user_id = $2 AND position > $3 AND deleted IS NULL
                 ORDER BY position LIMIT $4",
                values![tenant, user, after, i64::from(limit)],
            )
            .await?;
        rows.iter().map(|row| preference_row(row, 0)).collect()
    }

    /// The tenant's log as it was at the time `as_of`: lines recorded by then and not undone by then, by user and
    /// position, those after `after`, at most `limit`.
    ///
    /// The position of a whole log is a time, since a counter of all lines would make every answer of a tenant wait
    /// for every other.
    pub async fn service_log(
        &self,
        tenant: &TenantId,
        as_of: UnixMillis,
        after: Option<(&UserId, Revision)>,
        limit: u32,
    ) -> Result<Vec<LogRow>, StoreError> {
        let (after_user, after_position) =
            after.map_or(("", 0), |(user, position)| (user.as_str(), position));
        let rows = self
            .db
            .rows(
                "SELECT user_id, position, preference_id, query_id, prompt, response_a, response_b, outcome, weight,
                        created
                 FROM preference
                 WHERE tenant = $1 AND (user_id, position) > ($2, $3)
                   AND created <= $4 AND (deleted IS NULL OR deleted > $4)
                 ORDER BY user_id, position LIMIT $5",
                values![tenant, after_user, after_position, as_of, i64::from(limit)],
            )
            .await?;
        let log_row = |row: &Row| {
            Ok(LogRow {
                user_id: row.parsed(0, "preference", "user_id", |name| UserId::parse(name))?,
                preference: preference_row(row, 1)?,
            })
        };
        rows.iter().map(log_row).collect()
    }

    /// What a repeat of the request that made this answer is told: its reply, or that the id belongs to another body. Nothing
    /// where there is no such answer.
    pub async fn replayed_preference(
        &self,
        tenant: &TenantId,
        user: &UserId,
        preference: PreferenceId,
        body_hash: &[u8],
    ) -> Result<Option<Append>, StoreError> {
        let first = self
            .db
            .row(
                "SELECT body_hash, reply FROM preference
                 WHERE tenant = $1 AND user_id = $2 AND preference_id = $3",
                values![tenant, user, preference],
            )
            .await?;
        let Some(row) = first else { return Ok(None) };
        let is_same = row.get::<Vec<u8>>(0)? == body_hash;
        Ok(Some(if is_same { Append::Replayed(row.get(1)?) } else { Append::RequestIdReused }))
    }

    /// Tells the reasons apart after a commit came to nothing; in a transaction of its own, since Postgres ends one
    /// with its first error.
    async fn why_not_appended(
        &self,
        tenant: &TenantId,
        user: &UserId,
        new: &NewPreference,
    ) -> Result<Append, StoreError> {
        if let Some(replay) =
            self.replayed_preference(tenant, user, new.preference_id, &new.body_hash).await?
        {
            return Ok(replay);
        }
        let mut tx = self.db.begin().await?;
        if let Some(query) = new.query_id {
            tx.lock_user(tenant, user).await?;
            if let Some(replay) = answered_alike(&mut tx, tenant, user, new).await? {
                return Ok(replay);
            }
            let asked = tx
                .row(
                    "SELECT p.outcome, p.reply FROM query q
                     LEFT JOIN preference p
                       ON p.tenant = q.tenant AND p.user_id = q.user_id AND p.query_id = q.query_id
                      AND p.deleted IS NULL
                     WHERE q.tenant = $1 AND q.user_id = $2 AND q.query_id = $3",
                    values![tenant, user, query],
                )
                .await?;
            let Some(row) = asked else {
                let erased = self.is_lately_erased(&mut tx, tenant, user, new.created).await?;
                return Ok(if erased { Append::Erased } else { Append::QueryNotFound });
            };
            if let Some(outcome) = row.get::<Option<String>>(0)? {
                if outcome != new.outcome.as_str() {
                    return Ok(Append::QueryAlreadyAnswered);
                }
                let reply: Vec<u8> = row.get(1)?;
                // Else a repeat after an undo would be a new answer.
                if let Some(request_id) = new.request_id {
                    let request = Idempotent {
                        method: METHOD,
                        request_id,
                        body_hash: new.body_hash,
                        reply: reply.clone(),
                        created: new.created,
                        expires: new.expires,
                    };
                    tx.remember(tenant, Some(user), &request).await?;
                    tx.commit().await?;
                }
                return Ok(Append::Replayed(reply));
            }
        }
        let row = tx
            .row("SELECT revision FROM users WHERE tenant = $1 AND user_id = $2", values![tenant, user])
            .await?;
        if new.query_id.is_none() && self.is_lately_erased(&mut tx, tenant, user, new.created).await? {
            return Ok(Append::Erased);
        }
        match row {
            Some(row) => Ok(Append::Conflict { revision: row.get(0)? }),
            // They were there when the snapshot was taken, and are not any more.
            None => Ok(Append::Erased),
        }
    }

    async fn why_not_undone(
        &self,
        tenant: &TenantId,
        user: &UserId,
        preference: PreferenceId,
    ) -> Result<Undo, StoreError> {
        let row = self
            .db
            .row(
                "SELECT u.revision, p.deleted FROM preference p
                 JOIN users u ON u.tenant = p.tenant AND u.user_id = p.user_id
                 WHERE p.tenant = $1 AND p.user_id = $2 AND p.preference_id = $3",
                values![tenant, user, preference],
            )
            .await?;
        let Some(row) = row else { return Ok(Undo::NotFound) };
        match row.get::<Option<i64>>(1)? {
            Some(_) => Ok(Undo::AlreadyUndone),
            None => Ok(Undo::Conflict { revision: row.get(0)? }),
        }
    }
}

/// What a repeat is told of a request that had answered a question as another one had before it: that one's reply, whatever has
/// become of the answer since.
async fn answered_alike(
    tx: &mut Tx,
    tenant: &TenantId,
    user: &UserId,
    new: &NewPreference,
) -> Result<Option<Append>, StoreError> {
    let (Some(_), Some(request_id)) = (new.query_id, new.request_id) else { return Ok(None) };
    let recall = tx.recall(tenant, user.as_str(), METHOD, request_id, &new.body_hash, new.created).await?;
    Ok(match recall {
        Recall::New => None,
        Recall::Replayed(reply) => Some(Append::Replayed(reply)),
        Recall::RequestIdReused => Some(Append::RequestIdReused),
    })
}

/// Takes the user's log from `expected` to `expected + 1` and locks it until the transaction ends; false if it is
/// not at `expected`.
async fn advance_revision(
    tx: &mut Tx,
    tenant: &TenantId,
    user: &UserId,
    expected: Revision,
    now: UnixMillis,
) -> Result<bool, StoreError> {
    let touched = if expected == 0 {
        tx.execute(
            "INSERT INTO users (tenant, user_id, revision, created, updated) VALUES ($1, $2, 1, $3, $3)
             ON CONFLICT (tenant, user_id) DO UPDATE SET revision = 1, updated = excluded.updated
             WHERE users.revision = 0",
            values![tenant, user, now],
        )
        .await?
    } else {
        tx.execute(
            "UPDATE users SET revision = revision + 1, updated = $4
             WHERE tenant = $1 AND user_id = $2 AND revision = $3",
            values![tenant, user, expected, now],
        )
        .await?
    };
    Ok(touched == 1)
}

async fn insert_line(
    tx: &mut Tx,
    tenant: &TenantId,
    user: &UserId,
    position: Revision,
    new: &NewPreference,
) -> Result<(), sqlx::Error> {
    tx.execute(
        "INSERT INTO preference (tenant, user_id, position, preference_id, query_id, prompt, response_a, response_b,
                                 pair_key, outcome, weight, body_hash, reply, created)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)",
        values![
            tenant,
            user,
            position,
            new.preference_id,
            new.query_id,
            &new.comparison.prompt,
            &new.comparison.response_a,
            &new.comparison.response_b,
            &new.comparison.pair_key(),
            new.outcome.as_str(),
            new.weight.get(),
            new.body_hash.as_slice(),
            new.reply.as_slice(),
            new.created
        ],
    )
    .await
    .map(drop)
}

/// Writes what follows from a line of the log; an undo has no δ of its own.
async fn insert_derived(
    tx: &mut Tx,
    tenant: &TenantId,
    user: &UserId,
    revision: Revision,
    derived: &[Derived],
) -> Result<(), StoreError> {
    let features: Vec<[Value<'_>; 5]> = derived
        .iter()
        .filter_map(|derived| {
            let delta = derived.delta.as_deref()?;
            Some([tenant.into(), user.into(), revision.into(), (&derived.model_version).into(), delta.into()])
        })
        .collect();
    tx.insert_many(
        "INSERT INTO preference_feature (tenant, user_id, position, model_version, delta) VALUES ",
        "",
        &features,
    )
    .await?;
    let posteriors: Vec<_> =
        derived.iter().map(|derived| posterior_values(tenant, user, revision, derived)).collect();
    tx.insert_many(
        "INSERT INTO user_posterior (tenant, user_id, model_version, revision, coefficients, hessian, answers) VALUES ",
        " ON CONFLICT (tenant, user_id, model_version) DO UPDATE
          SET revision = excluded.revision, coefficients = excluded.coefficients, hessian = excluded.hessian,
              answers = excluded.answers",
        &posteriors,
    )
    .await?;
    Ok(())
}

pub(super) fn is_violation(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(|cause| {
        matches!(cause.kind(), ErrorKind::UniqueViolation | ErrorKind::ForeignKeyViolation)
    })
}

/// position, preference_id, query_id, prompt, response_a, response_b, outcome, weight, created from `first` on.
pub(super) fn preference_row(row: &Row, first: usize) -> Result<PreferenceRow, StoreError> {
    Ok(PreferenceRow {
        position: row.get(first)?,
        preference_id: row.parsed(first + 1, "preference", "preference_id", PreferenceId::parse)?,
        query_id: row.parsed_option(first + 2, "preference", "query_id", QueryId::parse)?,
        comparison: Comparison {
            prompt: row.get(first + 3)?,
            response_a: row.get(first + 4)?,
            response_b: row.get(first + 5)?,
        },
        outcome: row.parsed(first + 6, "preference", "outcome", Outcome::parse)?,
        weight: weight(row, first + 7)?,
        created: row.get(first + 8)?,
    })
}
