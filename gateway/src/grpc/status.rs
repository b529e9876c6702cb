//! Errors as gRPC tells them.

use axum::http::StatusCode;
use tonic::{Code, Status};

use crate::{error::Error, http::error_response, telemetry::failures};

/// Bytes of a message: it goes into a header, and clients bound those.
const MOST: usize = 2 << 10;

fn cut(mut text: String) -> String {
    if text.len() > MOST {
        text.truncate(text.floor_char_boundary(MOST));
        text.push('…');
    }
    text
}

/// The twin of the status that HTTP's callers get; a failure is logged.
pub(super) fn status(error: &Error) -> Status {
    failures::log(error);
    let code = match error.status() {
        _ if matches!(error, Error::TooManyRows(_)) => Code::InvalidArgument,
        StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY | StatusCode::UNSUPPORTED_MEDIA_TYPE => {
            Code::InvalidArgument
        }
        StatusCode::FORBIDDEN => Code::PermissionDenied,
        StatusCode::CONFLICT => Code::FailedPrecondition,
        StatusCode::NOT_FOUND => Code::NotFound,
        StatusCode::PAYLOAD_TOO_LARGE => Code::ResourceExhausted,
        StatusCode::SERVICE_UNAVAILABLE => Code::Unavailable,
        StatusCode::GATEWAY_TIMEOUT | StatusCode::REQUEST_TIMEOUT => Code::DeadlineExceeded,
        _ => Code::Internal,
    };
    Status::new(code, cut(error_response::message(error)))
}
