//! Why a request gets no answer of the usual form: one line of text and a status.

use std::borrow::Cow;

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

/// The answer to a request that fails. Its text is the body, one line.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// 400: the request is not one.
    #[error("{0}")]
    BadRequest(Cow<'static, str>),
    /// 404.
    #[error("{0}")]
    NotFound(String),
    /// 405.
    #[error("{0}")]
    MethodNotAllowed(String),
    /// 408: the client has waited as long as it wanted.
    #[error("{0}")]
    RequestTimeout(Cow<'static, str>),
    /// 409: not as the cluster is now.
    #[error("{0}")]
    Conflict(Cow<'static, str>),
    /// 413: the request has a longer body than is taken.
    #[error("{0}")]
    TooLong(String),
    /// 422: an `Idempotency-Key` that stands for another request.
    #[error("{0}")]
    Unprocessable(Cow<'static, str>),
    /// 500: the node cannot do what it should.
    #[error("{0}")]
    Internal(String),
    /// 503: not now, or not here.
    #[error("{0}")]
    Unavailable(Cow<'static, str>),
}

impl ApiError {
    /// 400 with this reason.
    pub fn bad(reason: impl Into<Cow<'static, str>>) -> Self {
        Self::BadRequest(reason.into())
    }

    /// 503 with this reason.
    pub fn unavailable(reason: impl Into<Cow<'static, str>>) -> Self {
        Self::Unavailable(reason.into())
    }

    /// 503: the node takes no more.
    pub fn too_many() -> Self {
        Self::unavailable("too many requests wait here: this one will not be executed")
    }

    fn status(&self) -> StatusCode {
        match self {
            Self::BadRequest(_) => StatusCode::BAD_REQUEST,
            Self::NotFound(_) => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::RequestTimeout(_) => StatusCode::REQUEST_TIMEOUT,
            Self::Conflict(_) => StatusCode::CONFLICT,
            Self::TooLong(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Unprocessable(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        (self.status(), format!("{self}\n")).into_response()
    }
}
