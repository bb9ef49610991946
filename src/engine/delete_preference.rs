use serde::Serialize;

use super::idempotency::Call;
use super::refit::{ATTEMPTS, Counted, derived, fit};
use super::{Engine, EngineError, Profile};
use crate::domain::{PreferenceId, RequestId, TenantId, UserId};
use crate::store::Undo;

/// Takes an answer back.
#[derive(Debug, Clone, Serialize)]
pub struct DeletePreference {
    /// Whose answer.
    pub user: UserId,
    /// Which one.
    pub preference_id: PreferenceId,
    /// The caller's key; the reply is given again to a repeat.
    #[serde(skip)]
    pub request_id: Option<RequestId>,
}

impl Engine {
    /// Takes an answer back: the user is fitted from the answers that remain, exactly as if it had never been given.
    /// Taking it back twice changes nothing more.
    pub async fn delete_preference(
        &self,
        tenant: &TenantId,
        request: DeletePreference,
    ) -> Result<Profile, EngineError> {
        let model = self.models().active(tenant)?;
        let DeletePreference { user, preference_id, request_id } = &request;
        let call = Call::new("DeletePreference", *request_id, &request)?;
        if let Some(reply) = self.recall(tenant, Some(user), &call).await? {
            return Ok(reply);
        }

        let converged = self.is_converged(tenant, user).await?;
        let _turn = self.turn(tenant, user).await;
        for _ in 0..ATTEMPTS {
            let snapshot = self.fitted_snapshot(tenant, user, &model).await?;
            let mut snapshot = snapshot.ok_or_else(|| EngineError::UserNotFound(user.clone()))?;
            snapshot.answers.retain(|answer| answer.preference_id != *preference_id);
            let counted = Counted::of(snapshot.answers, model.tie_weight);
            let answers = counted.answers();
            let posterior = fit(&counted, &model).await?;

            let revision = snapshot.revision + 1;
            let profile = Profile::new(user, &model, &posterior, (answers, revision), converged);
            let derived = [derived(&model, &posterior, answers, None)];
            let remembered = self.remembered(&call, &profile)?;
            let now = self.now();
            let undo = self
                .store()
                .delete_preference(
                    tenant,
                    user,
                    *preference_id,
                    snapshot.revision,
                    now,
                    &derived,
                    remembered.as_ref(),
                )
                .await?;
            match undo {
                Undo::Undone { .. } => {
                    self.shared.recent.forget(&self.store().user_hash(tenant, user));
                    return Ok(profile);
                }
                Undo::AlreadyUndone => return self.get_user(tenant, user, 0).await,
                Undo::Conflict { .. } => {}
                Undo::NotFound => return Err(EngineError::PreferenceNotFound(*preference_id)),
                Undo::Replayed(reply) => return Ok(serde_json::from_slice(&reply)?),
                Undo::RequestIdReused => return Err(EngineError::RequestIdReused),
            }
        }
        Err(EngineError::LostRace)
    }
}
