use futures::stream::{self, BoxStream, StreamExt};
use tonic::{Request, Response, Status};

use super::auth::{tenant_about, tenant_of};
use super::convert::{self, Limits};
use super::proto;
use super::proto::personalization_service_server::PersonalizationService;
use super::tenant_limits::TenantLimits;
use crate::engine::Engine;

/// `pref.v1.PersonalizationService`: each handler validates, converts, calls one verb of the engine, converts back.
pub(super) struct Personalization {
    pub(super) engine: Engine,
    pub(super) limits: Limits,
    pub(super) tenants: TenantLimits,
}

#[tonic::async_trait]
impl PersonalizationService for Personalization {
    async fn next_query(
        &self,
        mut request: Request<proto::NextQueryRequest>,
    ) -> Result<Response<proto::NextQueryResponse>, Status> {
        let tenant = tenant_about(&mut request)?;
        let request = convert::next_query(request.into_inner(), &self.limits)?;
        Ok(Response::new(self.engine.next_query(&tenant, request).await?.into()))
    }

    async fn submit_preference(
        &self,
        mut request: Request<proto::SubmitPreferenceRequest>,
    ) -> Result<Response<proto::SubmitPreferenceResponse>, Status> {
        let tenant = tenant_about(&mut request)?;
        let request = convert::submit_preference(request.into_inner(), &self.limits)?;
        Ok(Response::new(self.engine.submit_preference(&tenant, request).await?.into()))
    }

    type GenerateStream = BoxStream<'static, Result<proto::GenerateResponse, Status>>;

    async fn generate(
        &self,
        mut request: Request<proto::GenerateRequest>,
    ) -> Result<Response<Self::GenerateStream>, Status> {
        let tenant = tenant_about(&mut request)?;
        let with_candidates = request.get_ref().include_candidates;
        let request = convert::generate(request.into_inner(), &self.limits)?;
        let place = self.tenants.generation(&tenant)?;
        let generation = self.engine.generate(&tenant, request).await?;
        let started = stream::iter([Ok(convert::started(&generation))]);
        let events = stream::unfold((generation, place), move |(mut generation, place)| async move {
            let event = generation.next().await?;
            let event = event.map(|event| convert::generation_event(event, with_candidates));
            Some((event.map_err(Status::from), (generation, place)))
        });
        Ok(Response::new(started.chain(events).boxed()))
    }

    async fn score(
        &self,
        mut request: Request<proto::ScoreRequest>,
    ) -> Result<Response<proto::ScoreResponse>, Status> {
        let tenant = tenant_about(&mut request)?;
        let request = convert::score(request.into_inner(), &self.limits)?;
        Ok(Response::new(self.engine.score(&tenant, request).await?.into()))
    }

    async fn get_user(
        &self,
        mut request: Request<proto::GetUserRequest>,
    ) -> Result<Response<proto::GetUserResponse>, Status> {
        let tenant = tenant_about(&mut request)?;
        let (user, min_revision) = convert::get_user(request.into_inner())?;
        let profile = self.engine.get_user(&tenant, &user, min_revision).await?;
        Ok(Response::new(proto::GetUserResponse { profile: Some(profile.into()) }))
    }

    async fn list_users(
        &self,
        request: Request<proto::ListUsersRequest>,
    ) -> Result<Response<proto::ListUsersResponse>, Status> {
        let tenant = tenant_of(&request)?;
        let page = convert::list_users(request.get_ref())?;
        let mut users = self.engine.list_users(&tenant, page.after.as_ref(), page.probe()).await?;
        let next_page_token = page.cut(&mut users, |user| user.user_id.to_string());
        let users = users.into_iter().map(Into::into).collect();
        Ok(Response::new(proto::ListUsersResponse { users, next_page_token }))
    }

    async fn delete_user(
        &self,
        mut request: Request<proto::DeleteUserRequest>,
    ) -> Result<Response<proto::DeleteUserResponse>, Status> {
        let tenant = tenant_about(&mut request)?;
        let user = convert::delete_user(request.into_inner())?;
        self.engine.delete_user(&tenant, &user).await?;
        Ok(Response::new(proto::DeleteUserResponse {}))
    }

    type ExportUserStream = BoxStream<'static, Result<proto::ExportUserResponse, Status>>;

    async fn export_user(
        &self,
        mut request: Request<proto::ExportUserRequest>,
    ) -> Result<Response<Self::ExportUserStream>, Status> {
        let tenant = tenant_about(&mut request)?;
        let user = convert::export_user(request.into_inner())?;
        let items = self.engine.export_user(&tenant, &user).await?;
        Ok(Response::new(items.map(|item| Ok(item?.into())).boxed()))
    }

    async fn list_preferences(
        &self,
        mut request: Request<proto::ListPreferencesRequest>,
    ) -> Result<Response<proto::ListPreferencesResponse>, Status> {
        let tenant = tenant_about(&mut request)?;
        let (user, page) = convert::list_preferences(request.into_inner())?;
        let after = page.after.unwrap_or(0);
        let mut lines = self.engine.list_preferences(&tenant, &user, after, page.probe()).await?;
        let next_page_token = page.cut(&mut lines, |line| line.position.to_string());
        let preferences = lines.into_iter().map(Into::into).collect();
        Ok(Response::new(proto::ListPreferencesResponse { preferences, next_page_token }))
    }

    async fn delete_preference(
        &self,
        mut request: Request<proto::DeletePreferenceRequest>,
    ) -> Result<Response<proto::DeletePreferenceResponse>, Status> {
        let tenant = tenant_about(&mut request)?;
        let request = convert::delete_preference(request.into_inner())?;
        let profile = self.engine.delete_preference(&tenant, request).await?;
        Ok(Response::new(proto::DeletePreferenceResponse { profile: Some(profile.into()) }))
    }
}
