use axum::Json;
use axum::extract::{Path, State};
use serde::Serialize;

use super::Edge;
use super::error::HttpError;
use crate::service::reason::Reason;

/// What a request's `model` may be beside the names of generators: whatever the server writes with.
pub(super) const DEFAULT: &str = "pref";

#[derive(Serialize)]
pub(super) struct Models {
    object: &'static str,
    data: Vec<Model>,
}

#[derive(Serialize)]
pub(super) struct Model {
    id: String,
    object: &'static str,
    created: u64,
    owned_by: &'static str,
}

impl Model {
    fn new(id: &str) -> Self {
        Self { id: id.to_owned(), object: "model", created: 0, owned_by: "pref" }
    }
}

/// `GET /v1/models`
pub(super) async fn list(State(edge): State<Edge>) -> Json<Models> {
    Json(Models { object: "list", data: names(&edge).map(Model::new).collect() })
}

/// `GET /v1/models/{id}`
pub(super) async fn one(State(edge): State<Edge>, Path(id): Path<String>) -> Result<Json<Model>, HttpError> {
    match names(&edge).find(|name| *name == id) {
        Some(name) => Ok(Json(Model::new(name))),
        None => Err(HttpError::new(Reason::ModelNotFound, format!("there is no model {id:?}"))),
    }
}

fn names(edge: &Edge) -> impl Iterator<Item = &str> {
    [DEFAULT, "pool"].into_iter().chain(edge.engine.config().generators.iter().map(String::as_str))
}
