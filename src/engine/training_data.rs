use super::worker::JobWatch;
use super::{Engine, EngineError, Train};
use crate::domain::{DatasetId, Judgment, TenantId, UserId, Weight};
use crate::store::{LogRow, UnixMillis};
use crate::train::{Builder, Dataset};

/// Lines that are read at once.
const PAGE: u32 = 1_000;

impl Engine {
    /// Everything that a job trains on, without people who were erased. Stops early, with what it has, where the job
    /// is to stop.
    pub(super) async fn training_data(
        &self,
        tenant: &TenantId,
        request: &Train,
        watch: &JobWatch,
    ) -> Result<Dataset, EngineError> {
        let mut builder = Builder::default();
        for dataset in &request.datasets {
            self.add_dataset(tenant, dataset, &mut builder, watch).await?;
        }
        if let (true, Some(as_of)) = (request.include_service_log, request.as_of) {
            self.add_log(tenant, as_of, &mut builder, watch).await?;
        }
        Ok(builder.build())
    }

    async fn add_dataset(
        &self,
        tenant: &TenantId,
        dataset: &DatasetId,
        builder: &mut Builder,
        watch: &JobWatch,
    ) -> Result<(), EngineError> {
        let mut after = None;
        while watch.goes_on() {
            let page = self.store().dataset_lines(tenant, dataset, after.as_ref(), PAGE).await?;
            let Some((last, _)) = page.last() else { break };
            after = Some(*last);
            let lines: Vec<(Judgment, Weight)> =
                page.into_iter().map(|(_, line)| (line, Weight::ONE)).collect();
            self.add(tenant, &lines, builder).await?;
        }
        Ok(())
    }

    async fn add_log(
        &self,
        tenant: &TenantId,
        as_of: UnixMillis,
        builder: &mut Builder,
        watch: &JobWatch,
    ) -> Result<(), EngineError> {
        let mut after: Option<(UserId, i64)> = None;
        while watch.goes_on() {
            let from = after.as_ref().map(|(user, position)| (user, *position));
            let page = self.store().service_log(tenant, as_of, from, PAGE).await?;
            let Some(last) = page.last() else { break };
            after = Some((last.user_id.clone(), last.preference.position));
            let lines: Vec<(Judgment, Weight)> = page.into_iter().filter_map(judged).collect();
            self.add(tenant, &lines, builder).await?;
        }
        Ok(())
    }

    async fn add(
        &self,
        tenant: &TenantId,
        lines: &[(Judgment, Weight)],
        builder: &mut Builder,
    ) -> Result<(), EngineError> {
        let erased = self.store().erased_among(tenant, lines.iter().map(|(line, _)| &line.user_id)).await?;
        let kept = lines.iter().filter(|(line, _)| !erased.contains(&line.user_id));
        kept.for_each(|(line, weight)| builder.push_weighted(line, *weight));
        Ok(())
    }
}

/// A line of the log as a judgment; nothing for NEITHER and SKIP, which have no likelihood term.
fn judged(line: LogRow) -> Option<(Judgment, Weight)> {
    let LogRow { user_id, preference } = line;
    let outcome = preference.outcome.preference()?;
    let judgment =
        Judgment { user_id, comparison: preference.comparison, preference: outcome, group: String::new() };
    Some((judgment, preference.weight))
}
