use std::time::Duration;

use futures::stream::BoxStream;
use futures::{Stream, StreamExt};
use tonic::{Request, Response, Status, Streaming};

use super::auth::tenant_of;
use super::convert::{self, Limits};
use super::messages::Messages;
use super::proto;
use super::proto::training_service_server::TrainingService;
use crate::domain::Judgment;
use crate::engine::Engine;

/// `pref.v1.TrainingService`.
pub(super) struct Training {
    pub(super) engine: Engine,
    pub(super) limits: Limits,
    /// How long to wait for each message of an import.
    pub(super) patience: Duration,
}

#[tonic::async_trait]
impl TrainingService for Training {
    async fn import_preferences(
        &self,
        request: Request<Streaming<proto::ImportPreferencesRequest>>,
    ) -> Result<Response<proto::ImportPreferencesResponse>, Status> {
        let tenant = tenant_of(&request)?;
        let mut messages = Messages::new(request.into_inner(), self.patience);
        let first = messages.next().await?;
        let (dataset, request_id) = convert::import_header(first)?;
        let rows = rows(messages, self.limits);
        let imported = self.engine.import_preferences::<Status>(&tenant, &dataset, request_id, rows).await?;
        Ok(Response::new(imported.into()))
    }

    async fn train(
        &self,
        request: Request<proto::TrainRequest>,
    ) -> Result<Response<proto::TrainResponse>, Status> {
        let tenant = tenant_of(&request)?;
        let job = self.engine.train(&tenant, convert::train(request.into_inner())?).await?;
        Ok(Response::new(proto::TrainResponse { job: Some(job.into()) }))
    }

    async fn get_training_job(
        &self,
        request: Request<proto::GetTrainingJobRequest>,
    ) -> Result<Response<proto::GetTrainingJobResponse>, Status> {
        let tenant = tenant_of(&request)?;
        let job = self.engine.get_training_job(&tenant, convert::job_id(&request.get_ref().job_id)?).await?;
        Ok(Response::new(proto::GetTrainingJobResponse { job: Some(job.into()) }))
    }

    async fn list_training_jobs(
        &self,
        request: Request<proto::ListTrainingJobsRequest>,
    ) -> Result<Response<proto::ListTrainingJobsResponse>, Status> {
        let tenant = tenant_of(&request)?;
        let page = convert::list_training_jobs(request.get_ref())?;
        let mut jobs = self.engine.list_training_jobs(&tenant, page.after, page.probe()).await?;
        let next_page_token = page.cut(&mut jobs, convert::job_key);
        let jobs = jobs.into_iter().map(Into::into).collect();
        Ok(Response::new(proto::ListTrainingJobsResponse { jobs, next_page_token }))
    }

    async fn cancel_training_job(
        &self,
        request: Request<proto::CancelTrainingJobRequest>,
    ) -> Result<Response<proto::CancelTrainingJobResponse>, Status> {
        let tenant = tenant_of(&request)?;
        // Harmless to repeat, so that the id is only checked.
        convert::request_id(&request.get_ref().request_id)?;
        let job =
            self.engine.cancel_training_job(&tenant, convert::job_id(&request.get_ref().job_id)?).await?;
        Ok(Response::new(proto::CancelTrainingJobResponse { job: Some(job.into()) }))
    }

    type WatchTrainingJobStream = BoxStream<'static, Result<proto::WatchTrainingJobResponse, Status>>;

    async fn watch_training_job(
        &self,
        request: Request<proto::WatchTrainingJobRequest>,
    ) -> Result<Response<Self::WatchTrainingJobStream>, Status> {
        let tenant = tenant_of(&request)?;
        let job = convert::job_id(&request.get_ref().job_id)?;
        let states = self.engine.watch_training_job(&tenant, job).await?;
        let replies = states.map(|state| Ok(proto::WatchTrainingJobResponse { job: Some(state?.into()) }));
        Ok(Response::new(replies.boxed()))
    }

    async fn list_models(
        &self,
        request: Request<proto::ListModelsRequest>,
    ) -> Result<Response<proto::ListModelsResponse>, Status> {
        let tenant = tenant_of(&request)?;
        let page = convert::list_models(request.get_ref())?;
        let mut models = self.engine.list_models(&tenant, page.after.as_ref(), page.probe()).await?;
        let next_page_token = page.cut(&mut models, |model| model.version.to_string());
        let models = models.into_iter().map(Into::into).collect();
        Ok(Response::new(proto::ListModelsResponse { models, next_page_token }))
    }

    async fn get_model(
        &self,
        request: Request<proto::GetModelRequest>,
    ) -> Result<Response<proto::GetModelResponse>, Status> {
        let tenant = tenant_of(&request)?;
        let version = convert::version(request.into_inner().version)?;
        let model = self.engine.get_model(&tenant, version.as_ref()).await?;
        Ok(Response::new(proto::GetModelResponse { model: Some(model.into()) }))
    }

    async fn activate_model(
        &self,
        request: Request<proto::ActivateModelRequest>,
    ) -> Result<Response<proto::ActivateModelResponse>, Status> {
        let tenant = tenant_of(&request)?;
        let (version, request_id) = convert::activate_model(request.into_inner())?;
        let model = self.engine.activate_model(&tenant, &version, request_id).await?;
        Ok(Response::new(proto::ActivateModelResponse { model: Some(model.into()) }))
    }

    async fn describe_model(
        &self,
        request: Request<proto::DescribeModelRequest>,
    ) -> Result<Response<proto::DescribeModelResponse>, Status> {
        let tenant = tenant_of(&request)?;
        let proto::DescribeModelRequest { version, examples } = request.into_inner();
        let (version, examples) = (convert::version(version)?, convert::examples(examples)?);
        let description = self.engine.describe_model(&tenant, version.as_ref(), examples).await?;
        Ok(Response::new(description.into()))
    }
}

/// The messages after the header as rows, each checked as it arrives.
fn rows(
    messages: Messages<proto::ImportPreferencesRequest>,
    limits: Limits,
) -> impl Stream<Item = Result<Option<Judgment>, Status>> {
    messages.into_stream().enumerate().map(move |(index, message)| {
        let row = convert::preference_row(message?, &limits);
        Ok(row.map_err(|error| error.within(&format!("rows[{index}]")))?)
    })
}
