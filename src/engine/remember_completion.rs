use nalgebra::DVector;

use super::{Choice, Engine, EngineError, ServingModel};
use crate::domain::{Comparison, CompletionId, Invalid, TenantId, UserId};
use crate::store::{ChoiceRow, UnixMillis};

/// What of a completion is kept for comparisons.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Remembered {
    /// What it is answered under.
    pub id: CompletionId,
    /// How many choices the user is given, the best ones.
    pub choices: usize,
}

/// A completion as it is given to a user.
pub(super) struct Given<'a> {
    pub(super) remembered: Remembered,
    pub(super) prompt: &'a str,
    /// Text and φ of each choice, in the order in which they are given.
    pub(super) choices: Vec<(&'a str, &'a DVector<f64>)>,
    /// The model that φ is of.
    pub(super) model: &'a ServingModel,
    /// When it was asked for.
    pub(super) created: UnixMillis,
}

impl Engine {
    /// Keeps the choices for as long as the server is told to.
    pub(super) async fn remember_completion(
        &self,
        tenant: &TenantId,
        user: &UserId,
        given: Given<'_>,
    ) -> Result<(), EngineError> {
        let lifetime = i64::try_from(self.config().completion_lifetime.as_millis()).unwrap_or(i64::MAX);
        if lifetime == 0 {
            return Ok(());
        }
        let rows: Vec<_> = (0..)
            .zip(given.choices)
            // Postgres cannot keep the character U+0000.
            .filter(|(_, (text, _))| !text.contains('\0'))
            .map(|(choice, (text, features))| ChoiceRow {
                completion_id: given.remembered.id,
                choice,
                prompt: given.prompt.to_owned(),
                response: text.to_owned(),
                model_version: given.model.version.clone(),
                features: features.as_slice().to_vec(),
                created: given.created,
                expires: given.created.saturating_add(lifetime),
            })
            .collect();
        // An erasure on this server is either before or after.
        let _turn = self.turn(tenant, user).await;
        self.store().save_choices(tenant, user, &rows, given.created).await?;
        Ok(())
    }

    /// The comparison of two choices, the first as A, with its δ where both were chosen by `model`.
    pub(super) async fn compared(
        &self,
        tenant: &TenantId,
        user: &UserId,
        choices: [Choice; 2],
        model: &ServingModel,
    ) -> Result<(Comparison, Option<Vec<f64>>), EngineError> {
        let [chosen, rejected] =
            [self.recalled(tenant, user, choices[0]).await?, self.recalled(tenant, user, choices[1]).await?];
        let refuse = |given: &str, allowed: &str| Err(Invalid::new("rejected", given, allowed).into());
        if chosen.prompt != rejected.prompt {
            return refuse("an answer to another prompt", "an answer to the prompt that `chosen` answers");
        }
        if chosen.response == rejected.response {
            return refuse("the text of `chosen`", "another text: a comparison of equal texts tells nothing");
        }
        let delta = [&chosen, &rejected]
            .iter()
            .all(|row| row.model_version == model.version)
            .then(|| chosen.features.iter().zip(&rejected.features).map(|(a, b)| a - b).collect::<Vec<_>>());
        let comparison = Comparison::parse(chosen.prompt, chosen.response, rejected.response)?;
        Ok((comparison, delta))
    }

    async fn recalled(
        &self,
        tenant: &TenantId,
        user: &UserId,
        Choice { completion, index }: Choice,
    ) -> Result<ChoiceRow, EngineError> {
        let row = self.store().choice(tenant, user, completion, index, self.now()).await?;
        match row {
            Some(row) => Ok(row),
            None if self.store().was_lately_erased(tenant, user, self.now()).await? => {
                Err(EngineError::UserErased(user.clone()))
            }
            None => Err(EngineError::CompletionNotFound { completion, choice: index }),
        }
    }
}
