//! Answers that are not 200: a status and a reason, always as JSON.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::parameters::ParameterError;
use crate::master::error::{Cause, MasterError};
use crate::search::QueryError;

/// An answer that is not 200.
#[derive(Debug)]
pub(crate) struct Failure {
    status: StatusCode,
    error: String,
    /// Where in the query the mistake is, and how long it is, in characters.
    place: Option<(usize, usize)>,
}

impl Failure {
    pub(crate) fn new(status: StatusCode, error: impl Into<String>) -> Self {
        Self {
            status,
            error: error.into(),
            place: None,
        }
    }

    pub(crate) fn bad_request(error: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, error)
    }

    pub(crate) fn bad_gateway(error: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_GATEWAY, error)
    }

    pub(crate) fn internal(error: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, error)
    }

    pub(crate) fn not_found(error: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, error)
    }
}

/// What errors say, for an answer that is without their parts.
pub(crate) fn texts(errors: &[MasterError]) -> Vec<String> {
    errors.iter().map(MasterError::to_string).collect()
}

impl Failure {
    /// No shard has answered.
    pub(crate) fn all_missing(errors: &[MasterError]) -> Self {
        let causes = || {
            let faults = errors.iter().flat_map(|error| match error {
                MasterError::Shard { faults, .. } => faults.as_slice(),
                _ => &[],
            });
            faults.map(|fault| &fault.cause)
        };
        if let Some(Cause::BadRequest(said)) = causes().next() {
            return Self::bad_request(said);
        }
        let own = causes().all(|cause| matches!(cause, Cause::OutOfFiles));
        let status = if own && causes().next().is_some() {
            StatusCode::SERVICE_UNAVAILABLE
        } else {
            StatusCode::BAD_GATEWAY
        };
        Self::new(status, texts(errors).join("; "))
    }
}

impl From<MasterError> for Failure {
    fn from(error: MasterError) -> Self {
        match error {
            MasterError::Shard { .. } => Self::all_missing(&[error]),
            MasterError::NotIndexed(_) | MasterError::Root { .. } => {
                Self::bad_gateway(error.to_string())
            }
            MasterError::TooManyRoots => Self::new(StatusCode::CONFLICT, error.to_string()),
            _ => Self::internal(error.to_string()),
        }
    }
}

impl From<ParameterError> for Failure {
    fn from(error: ParameterError) -> Self {
        Self::bad_request(error.to_string())
    }
}

impl From<QueryError> for Failure {
    fn from(error: QueryError) -> Self {
        Self {
            place: Some((error.position, error.length)),
            ..Self::bad_request(error.message)
        }
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let mut body = json!({"success": false, "error": self.error});
        if let Some((position, length)) = self.place {
            (body["position"], body["length"]) = (position.into(), length.into());
        }
        (self.status, axum::Json(body)).into_response()
    }
}
