use std::time::Duration;

use futures::{Stream, StreamExt, stream};
use tonic::{Request, Response, Status, Streaming};

use super::auth::tenant_of;
use super::convert::{self, Limits};
use super::messages::Messages;
use super::proto;
use super::proto::candidate_service_server::CandidateService;
use crate::domain::{Candidates as Row, PoolName};
use crate::engine::Engine;

/// `pref.v1.CandidateService`.
pub(super) struct Candidates {
    pub(super) engine: Engine,
    pub(super) limits: Limits,
    /// How long to wait for each message of an import.
    pub(super) patience: Duration,
}

#[tonic::async_trait]
impl CandidateService for Candidates {
    async fn import_candidates(
        &self,
        request: Request<Streaming<proto::ImportCandidatesRequest>>,
    ) -> Result<Response<proto::ImportCandidatesResponse>, Status> {
        let tenant = tenant_of(&request)?;
        let mut messages = Messages::new(request.into_inner(), self.patience);
        let first = messages.next().await?;
        let request_id = convert::request_id(first.as_ref().map_or("", |first| &first.request_id))?;
        let rows = rows(first, messages, self.limits);
        let imported = self.engine.import_candidates::<Status>(&tenant, request_id, rows).await?;
        Ok(Response::new(imported.into()))
    }

    async fn list_pools(
        &self,
        request: Request<proto::ListPoolsRequest>,
    ) -> Result<Response<proto::ListPoolsResponse>, Status> {
        let tenant = tenant_of(&request)?;
        let page = convert::list_pools(request.get_ref())?;
        let mut pools = self.engine.list_pools(&tenant, page.after.as_ref(), page.probe()).await?;
        let next_page_token = page.cut(&mut pools, |pool| pool.name.to_string());
        let pools = pools.into_iter().map(Into::into).collect();
        Ok(Response::new(proto::ListPoolsResponse { pools, next_page_token }))
    }

    async fn delete_pool(
        &self,
        request: Request<proto::DeletePoolRequest>,
    ) -> Result<Response<proto::DeletePoolResponse>, Status> {
        let tenant = tenant_of(&request)?;
        let (pool, request_id) = convert::delete_pool(request.into_inner())?;
        self.engine.delete_pool(&tenant, &pool, request_id).await?;
        Ok(Response::new(proto::DeletePoolResponse {}))
    }
}

/// The messages as rows of pools, each checked as it arrives.
fn rows(
    first: Option<proto::ImportCandidatesRequest>,
    messages: Messages<proto::ImportCandidatesRequest>,
    limits: Limits,
) -> impl Stream<Item = Result<(PoolName, Row), Status>> {
    let mut pool = None;
    stream::iter(first.map(Ok)).chain(messages.into_stream()).enumerate().map(move |(index, message)| {
        let row = convert::candidate_row(message?, &mut pool, &limits);
        Ok(row.map_err(|error| error.within(&format!("rows[{index}]")))?)
    })
}
