use super::sql::{Row, Tx, values};
use super::{Change, ModelRow, ModelState, ServingRow, Store, StoreError, UnixMillis};
use crate::domain::{Invalid, ModelVersion, TenantId};

impl Store {
    /// Registers a model of `owner` (nobody: shared by all tenants), with its manifest and the place of its files.
    /// False where the version is registered already: it then stays as it is.
    pub async fn register_model(
        &self,
        owner: Option<&TenantId>,
        model: &ModelVersion,
        manifest: &str,
        location: &str,
        now: UnixMillis,
    ) -> Result<bool, StoreError> {
        let owner = owner.map_or("", TenantId::as_str);
        let touched = self
            .db
            .execute(
                "INSERT INTO model (tenant, model_version, manifest, location, erased_users, created)
                 VALUES ($1, $2, $3, $4, 0, $5) ON CONFLICT (tenant, model_version) DO NOTHING",
                values![owner, model, manifest, location, now],
            )
            .await?;
        Ok(touched == 1)
    }

    /// A model that the tenant may use: its own, or a shared one.
    pub async fn model(
        &self,
        tenant: &TenantId,
        model: &ModelVersion,
    ) -> Result<Option<ModelRow>, StoreError> {
        let row = self
            .db
            .row(
                "SELECT m.model_version, m.tenant, s.state, m.manifest, m.location, m.erased_users, m.created, s.changed
                 FROM model m
                 LEFT JOIN model_state s ON s.tenant = $1 AND s.model_version = m.model_version
                 WHERE m.tenant IN ($1, '') AND m.model_version = $2
                 ORDER BY m.tenant DESC LIMIT 1",
                values![tenant, model],
            )
            .await?;
        row.map(|row| model_row(&row)).transpose()
    }

    /// Models that the tenant may use in the order of their versions, those after `after`, at most `limit`. A
    /// tenant's own model hides a shared one of the same version.
    pub async fn list_models(
        &self,
        tenant: &TenantId,
        after: Option<&ModelVersion>,
        limit: u32,
    ) -> Result<Vec<ModelRow>, StoreError> {
        let rows = self
            .db
            .rows(
                "SELECT m.model_version, m.tenant, s.state, m.manifest, m.location, m.erased_users, m.created, s.changed
                 FROM model m
                 LEFT JOIN model_state s ON s.tenant = $1 AND s.model_version = m.model_version
                 WHERE m.tenant IN ($1, '') AND m.model_version > $2
                   AND (m.tenant = $1 OR NOT EXISTS (SELECT 1 FROM model o
                                                     WHERE o.tenant = $1 AND o.model_version = m.model_version))
                 ORDER BY m.model_version LIMIT $3",
                values![tenant, after.map_or("", ModelVersion::as_str), i64::from(limit)],
            )
            .await?;
        rows.iter().map(model_row).collect()
    }

    /// The tenant's models that serve or are about to, `Active` first.
    pub async fn serving_models(&self, tenant: &TenantId) -> Result<Vec<ServingRow>, StoreError> {
        let rows = self
            .db
            .rows(
                "SELECT tenant, model_version, state, changed FROM model_state
                 WHERE tenant = $1 AND state IN ('ACTIVATING', 'ACTIVE') ORDER BY state DESC",
                values![tenant],
            )
            .await?;
        rows.iter().map(serving_row).collect()
    }

    /// The same for every tenant that has any: what a server opens at its start.
    pub async fn all_serving_models(&self) -> Result<Vec<ServingRow>, StoreError> {
        let rows = self
            .db
            .rows(
                "SELECT tenant, model_version, state, changed FROM model_state
                 WHERE state IN ('ACTIVATING', 'ACTIVE') ORDER BY tenant, state DESC",
                &[],
            )
            .await?;
        rows.iter().map(serving_row).collect()
    }

    /// Says that the change over to `model` is still being worked on.
    pub async fn touch_activation(
        &self,
        tenant: &TenantId,
        model: &ModelVersion,
        now: UnixMillis,
    ) -> Result<(), StoreError> {
        self.db
            .execute(
                "UPDATE model_state SET changed = $3
                 WHERE tenant = $1 AND model_version = $2 AND state = 'ACTIVATING'",
                values![tenant, model, now],
            )
            .await?;
        Ok(())
    }

    /// Begins to change over to `model`: the active one still serves while users are refitted. Another model that was
    /// activating becomes ready again. True where it is activating now; false where it is active already, so
    /// that nothing is to do.
    ///
    /// # Errors
    /// [`StoreError::Missing`] where the tenant may use no such model.
    pub async fn begin_activation(
        &self,
        tenant: &TenantId,
        model: &ModelVersion,
        now: UnixMillis,
    ) -> Result<bool, StoreError> {
        let mut tx = self.db.begin().await?;
        tx.lock_activations(tenant).await?;
        require_model(&mut tx, tenant, model).await?;
        let active = tx
            .row(
                "SELECT 1 FROM model_state WHERE tenant = $1 AND model_version = $2 AND state = 'ACTIVE'",
                values![tenant, model],
            )
            .await?;
        if active.is_some() {
            return Ok(false);
        }
        tx.execute(
            "DELETE FROM model_state WHERE tenant = $1 AND state = 'ACTIVATING' AND model_version <> $2",
            values![tenant, model],
        )
        .await?;
        set_state(&mut tx, tenant, model, ModelState::Activating, now).await?;
        tx.commit().await?;
        Ok(true)
    }

    /// Ends the change over to `model`: it serves, and the one before it is retired. False where it is not activating
    /// any more, because another activation took its place.
    pub async fn finish_activation(
        &self,
        tenant: &TenantId,
        model: &ModelVersion,
        now: UnixMillis,
    ) -> Result<bool, StoreError> {
        let mut tx = self.db.begin().await?;
        tx.lock_activations(tenant).await?;
        let activating = tx
            .execute(
                "UPDATE model_state SET changed = $3
                 WHERE tenant = $1 AND model_version = $2 AND state = 'ACTIVATING'",
                values![tenant, model, now],
            )
            .await?;
        if activating == 0 {
            return Ok(false);
        }
        tx.execute(
            "UPDATE model_state SET state = 'RETIRED', changed = $2 WHERE tenant = $1 AND state = 'ACTIVE'",
            values![tenant, now],
        )
        .await?;
        set_state(&mut tx, tenant, model, ModelState::Active, now).await?;
        tx.notify(&Change::Model(tenant.clone())).await?;
        tx.commit().await?;
        Ok(true)
    }
}

async fn require_model(tx: &mut Tx, tenant: &TenantId, model: &ModelVersion) -> Result<(), StoreError> {
    let row = tx
        .row(
            "SELECT 1 FROM model WHERE tenant IN ($1, '') AND model_version = $2 LIMIT 1",
            values![tenant, model],
        )
        .await?;
    row.map(drop).ok_or_else(|| StoreError::Missing { what: "model", name: model.to_string() })
}

async fn set_state(
    tx: &mut Tx,
    tenant: &TenantId,
    model: &ModelVersion,
    state: ModelState,
    now: UnixMillis,
) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO model_state (tenant, model_version, state, changed) VALUES ($1, $2, $3, $4)
         ON CONFLICT (tenant, model_version) DO UPDATE SET state = excluded.state, changed = excluded.changed",
        values![tenant, model, state.as_str(), now],
    )
    .await?;
    Ok(())
}

impl ModelState {
    const ALL: [Self; 4] = [Self::Ready, Self::Activating, Self::Active, Self::Retired];

    /// The name that is stored and printed.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "READY",
            Self::Activating => "ACTIVATING",
            Self::Active => "ACTIVE",
            Self::Retired => "RETIRED",
        }
    }

    fn parse(name: &str) -> Result<Self, Invalid> {
        Self::ALL
            .into_iter()
            .find(|state| state.as_str() == name)
            .ok_or_else(|| Invalid::new("state", format!("{name:?}"), "a state of a model"))
    }
}

fn serving_row(row: &Row) -> Result<ServingRow, StoreError> {
    Ok(ServingRow {
        tenant: row.parsed(0, "model_state", "tenant", |name| TenantId::parse(name))?,
        model_version: row.parsed(1, "model_state", "model_version", |name| ModelVersion::parse(name))?,
        state: row.parsed(2, "model_state", "state", ModelState::parse)?,
        changed: row.get(3)?,
    })
}

fn model_row(row: &Row) -> Result<ModelRow, StoreError> {
    let owner: String = row.get(1)?;
    let created: UnixMillis = row.get(6)?;
    Ok(ModelRow {
        model_version: row.parsed(0, "model", "model_version", |name| ModelVersion::parse(name))?,
        owner: match owner.as_str() {
            "" => None,
            owner => Some(
                TenantId::parse(owner).map_err(|invalid| StoreError::corrupt("model", "tenant", invalid))?,
            ),
        },
        state: row.parsed_option(2, "model_state", "state", ModelState::parse)?.unwrap_or(ModelState::Ready),
        manifest: row.get(3)?,
        location: row.get(4)?,
        erased_users: row.get(5)?,
        created,
        changed: row.get::<Option<UnixMillis>>(7)?.unwrap_or(created),
    })
}
