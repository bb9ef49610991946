use futures::stream::BoxStream;
use tonic::{Request, Response, Status, Streaming};

use super::convert::Limits;
use super::proto;
use super::proto::training_service_server::TrainingService;
use crate::engine::{Engine, EngineError};

/// `pref.v1.TrainingService`.
#[expect(dead_code, reason = "the verbs come with training jobs")]
pub(super) struct Training {
    pub(super) engine: Engine,
    pub(super) limits: Limits,
}

#[tonic::async_trait]
impl TrainingService for Training {
    async fn import_preferences(
        &self,
        _request: Request<Streaming<proto::ImportPreferencesRequest>>,
    ) -> Result<Response<proto::ImportPreferencesResponse>, Status> {
        Err(EngineError::Unimplemented("ImportPreferences").into())
    }

    async fn train(
        &self,
        _request: Request<proto::TrainRequest>,
    ) -> Result<Response<proto::TrainResponse>, Status> {
        Err(EngineError::Unimplemented("Train").into())
    }

    async fn get_training_job(
        &self,
        _request: Request<proto::GetTrainingJobRequest>,
    ) -> Result<Response<proto::GetTrainingJobResponse>, Status> {
        Err(EngineError::Unimplemented("GetTrainingJob").into())
    }

    async fn list_training_jobs(
        &self,
        _request: Request<proto::ListTrainingJobsRequest>,
    ) -> Result<Response<proto::ListTrainingJobsResponse>, Status> {
        Err(EngineError::Unimplemented("ListTrainingJobs").into())
    }

    async fn cancel_training_job(
        &self,
        _request: Request<proto::CancelTrainingJobRequest>,
    ) -> Result<Response<proto::CancelTrainingJobResponse>, Status> {
        Err(EngineError::Unimplemented("CancelTrainingJob").into())
    }

    type WatchTrainingJobStream = BoxStream<'static, Result<proto::WatchTrainingJobResponse, Status>>;

    async fn watch_training_job(
        &self,
        _request: Request<proto::WatchTrainingJobRequest>,
    ) -> Result<Response<Self::WatchTrainingJobStream>, Status> {
        Err(EngineError::Unimplemented("WatchTrainingJob").into())
    }

    async fn list_models(
        &self,
        _request: Request<proto::ListModelsRequest>,
    ) -> Result<Response<proto::ListModelsResponse>, Status> {
        Err(EngineError::Unimplemented("ListModels").into())
    }

    async fn get_model(
        &self,
        _request: Request<proto::GetModelRequest>,
    ) -> Result<Response<proto::GetModelResponse>, Status> {
        Err(EngineError::Unimplemented("GetModel").into())
    }

    async fn activate_model(
        &self,
        _request: Request<proto::ActivateModelRequest>,
    ) -> Result<Response<proto::ActivateModelResponse>, Status> {
        Err(EngineError::Unimplemented("ActivateModel").into())
    }

    async fn describe_model(
        &self,
        _request: Request<proto::DescribeModelRequest>,
    ) -> Result<Response<proto::DescribeModelResponse>, Status> {
        Err(EngineError::Unimplemented("DescribeModel").into())
    }
}
