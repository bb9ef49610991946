use super::sql::{Row, Value, values};
use super::{ChoiceRow, Store, StoreError, UnixMillis, UserHash};
use crate::domain::{CompletionId, ModelVersion, TenantId, UserId};

impl Store {
    /// Keeps the choices of a completion that the user was given; whether it did. Of somebody who was erased since `created`
    /// nothing is kept: the answer was on its way then.
    pub async fn save_choices(
        &self,
        tenant: &TenantId,
        user: &UserId,
        choices: &[ChoiceRow],
        created: UnixMillis,
    ) -> Result<bool, StoreError> {
        let mut tx = self.db.begin().await?;
        let UserHash(hash) = self.user_hash(tenant, user);
        let erased = tx
            .row(
                "SELECT 1 FROM erased_user WHERE tenant = $1 AND user_hash = $2 AND erased >= $3",
                values![tenant, hash.as_slice(), created],
            )
            .await?;
        if erased.is_some() {
            return Ok(false);
        }
        let rows: Vec<[Value<'_>; 10]> = choices
            .iter()
            .map(|choice| {
                [
                    tenant.into(),
                    user.into(),
                    choice.completion_id.into(),
                    i64::from(choice.choice).into(),
                    (&choice.prompt).into(),
                    (&choice.response).into(),
                    (&choice.model_version).into(),
                    choice.features.as_slice().into(),
                    choice.created.into(),
                    choice.expires.into(),
                ]
            })
            .collect();
        tx.insert_many(
            "INSERT INTO completion (tenant, user_id, completion_id, choice, prompt, response, model_version, features,
                                     created, expires) VALUES ",
            "",
            &rows,
        )
        .await?;
        tx.commit().await?;
        Ok(true)
    }

    /// A choice that this user was given and that is still remembered at `now`.
    pub async fn choice(
        &self,
        tenant: &TenantId,
        user: &UserId,
        completion: CompletionId,
        choice: u32,
        now: UnixMillis,
    ) -> Result<Option<ChoiceRow>, StoreError> {
        let row = self
            .db
            .row(
                "SELECT completion_id, choice, prompt, response, model_version, features, created, expires
                 FROM completion
                 WHERE tenant = $1 AND user_id = $2 AND completion_id = $3 AND choice = $4 AND expires > $5",
                values![tenant, user, completion, i64::from(choice), now],
            )
            .await?;
        row.map(|row| choice_row(&row)).transpose()
    }

    /// All choices that are kept of the user, by completion and choice, those after `after`, at most `limit`.
    pub async fn all_choices(
        &self,
        tenant: &TenantId,
        user: &UserId,
        after: Option<(CompletionId, u32)>,
        limit: u32,
    ) -> Result<Vec<ChoiceRow>, StoreError> {
        let (completion, choice) =
            after.map_or((String::new(), -1), |(id, choice)| (id.to_string(), i64::from(choice)));
        let rows = self
            .db
            .rows(
                "SELECT completion_id, choice, prompt, response, model_version, features, created, expires
                 FROM completion
                 WHERE tenant = $1 AND user_id = $2 AND (completion_id, choice) > ($3, $4)
                 ORDER BY completion_id, choice LIMIT $5",
                values![tenant, user, completion.as_str(), choice, i64::from(limit)],
            )
            .await?;
        rows.iter().map(choice_row).collect()
    }
}

fn choice_row(row: &Row) -> Result<ChoiceRow, StoreError> {
    let choice: i64 = row.get(1)?;
    Ok(ChoiceRow {
        completion_id: row.parsed(0, "completion", "completion_id", CompletionId::parse)?,
        // The column's constraint and what wrote it keep it within these.
        choice: u32::try_from(choice).unwrap_or(u32::MAX),
        prompt: row.get(2)?,
        response: row.get(3)?,
        model_version: row.parsed(4, "completion", "model_version", |name| ModelVersion::parse(name))?,
        features: row.numbers(5)?.unwrap_or_default(),
        created: row.get(6)?,
        expires: row.get(7)?,
    })
}
