use futures::stream::{self, BoxStream};
use futures::{Stream, StreamExt, TryStreamExt};

use super::{Engine, EngineError, Profile, Question};
use crate::domain::{DatasetId, Judgment, TenantId, UserId};
use crate::store::{ChoiceRow, PreferenceRow, UnixMillis};

/// Rows that are read at once.
const PAGE: u32 = 256;

/// One item of what is held of a user.
#[derive(Debug, Clone, PartialEq)]
pub enum Exported {
    /// What is known of them under the active model.
    Profile(Profile),
    /// A line of the log, and when it was undone.
    Preference(PreferenceRow, Option<UnixMillis>),
    /// A question that was put to them.
    Question(Question),
    /// A choice of a chat completion that they were given.
    Choice(ChoiceRow),
    /// A line of a dataset.
    Imported(DatasetId, Judgment),
}

impl Engine {
    /// All that is held of a user, read page by page as it is asked for.
    ///
    /// # Errors
    /// [`EngineError::UserNotFound`] of whom nothing is held.
    pub async fn export_user(
        &self,
        tenant: &TenantId,
        user: &UserId,
    ) -> Result<BoxStream<'static, Result<Exported, EngineError>>, EngineError> {
        let profile = match self.get_user(tenant, user, 0).await {
            Ok(profile) => Some(profile),
            Err(EngineError::NoActiveModel | EngineError::UserNotFound(_)) => None,
            Err(error) => return Err(error),
        };
        // Somebody may be known by imported judgments or chat completions alone.
        if profile.is_none()
            && self.store().user_revision(tenant, user).await?.is_none()
            && self.store().dataset_lines_of(tenant, user, None, 1).await?.is_empty()
            && self.store().all_choices(tenant, user, None, 1).await?.is_empty()
        {
            return Err(EngineError::UserNotFound(user.clone()));
        }
        let owner = || (self.clone(), tenant.clone(), user.clone());
        let (engine, tenant_id, user_id) = owner();
        let log = pages(move |after: Option<i64>| {
            let (engine, tenant, user) = (engine.clone(), tenant_id.clone(), user_id.clone());
            async move {
                let rows = engine.store().whole_log(&tenant, &user, after.unwrap_or(0), PAGE).await?;
                Ok(rows
                    .into_iter()
                    .map(|(row, undone)| (row.position, Exported::Preference(row, undone)))
                    .collect())
            }
        });
        let (engine, tenant_id, user_id) = owner();
        let questions = pages(move |after| {
            let (engine, tenant, user) = (engine.clone(), tenant_id.clone(), user_id.clone());
            async move {
                let rows = engine.store().all_queries(&tenant, &user, after, PAGE).await?;
                Ok(rows.iter().map(|row| (row.query_id, Exported::Question(row.into()))).collect())
            }
        });
        let (engine, tenant_id, user_id) = owner();
        let choices = pages(move |after| {
            let (engine, tenant, user) = (engine.clone(), tenant_id.clone(), user_id.clone());
            async move {
                let rows = engine.store().all_choices(&tenant, &user, after, PAGE).await?;
                let item = |row: ChoiceRow| ((row.completion_id, row.choice), Exported::Choice(row));
                Ok(rows.into_iter().map(item).collect())
            }
        });
        let (engine, tenant_id, user_id) = owner();
        let imported = pages(move |after| {
            let (engine, tenant, user) = (engine.clone(), tenant_id.clone(), user_id.clone());
            async move {
                let rows = engine.store().dataset_lines_of(&tenant, &user, after.as_ref(), PAGE).await?;
                let item = |(place, line): ((DatasetId, _), Judgment)| {
                    let dataset = place.0.clone();
                    (place, Exported::Imported(dataset, line))
                };
                Ok(rows.into_iter().map(item).collect())
            }
        });
        let profile = stream::iter(profile.map(|profile| Ok(Exported::Profile(profile))));
        Ok(profile.chain(log).chain(questions).chain(choices).chain(imported).boxed())
    }
}

/// The items of page after page, each page read from the key of the last item before it.
fn pages<K, F>(
    read: impl Fn(Option<K>) -> F + Send + 'static,
) -> impl Stream<Item = Result<Exported, EngineError>> + Send
where
    K: Send + 'static,
    F: Future<Output = Result<Vec<(K, Exported)>, EngineError>> + Send,
{
    stream::try_unfold((read, Some(None)), |(read, after)| async move {
        let Some(after) = after else { return Ok::<_, EngineError>(None) };
        let mut rows = read(after).await?;
        let full = rows.len() >= PAGE as usize;
        let last = if full { rows.pop() } else { None };
        let mut items: Vec<_> = rows.into_iter().map(|(_, item)| Ok(item)).collect();
        let next = last.map(|(key, item)| {
            items.push(Ok(item));
            Some(key)
        });
        Ok(Some((stream::iter(items), (read, next))))
    })
    .try_flatten()
}
