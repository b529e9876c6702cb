//! Why a request gets no prediction, and with which status.

use http::StatusCode;

use crate::{
    bounds::Excess,
    echo::echo,
    json::decode::FieldError,
    metrics::Outcome,
    oip,
    wasm::{contract::Problem, instance::TrapCause},
};

/// A variant for each answer a caller can act on. What only the operator should read goes to the log instead.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// Not JSON.
    #[error("malformed JSON at line {line} column {column}: {message}")]
    MalformedJson {
        /// From 1.
        line: usize,
        /// From 1.
        column: usize,
        /// The parser's words.
        message: String,
    },
    /// A body that cannot be decompressed, or otherwise is not what its headers say.
    #[error("{0}")]
    BadRequest(String),
    /// A part of the request, other than rows, that is not what it should be.
    #[error("'{parameter}': {message}")]
    Parameter {
        /// The key that the part has.
        parameter: &'static str,
        /// The expectation, and the value that came.
        message: String,
    },
    /// JSON, but not rows.
    #[error("expected an object of features, or a list of them, got {0}")]
    NotRows(&'static str),
    /// A list without rows.
    #[error("expected at least one row, got an empty list")]
    NoRows,
    /// Bad fields.
    #[error("{} of the fields are missing, unknown or of a wrong type", .0.len())]
    Fields(Vec<FieldError>),
    /// A module says that the data is wrong.
    #[error("the data was refused")]
    Problems(Vec<Problem>),
    /// No such model.
    #[error("model '{0}' is not known here; GET /listar_modelos lists those that are")]
    UnknownModel(String),
    /// No such version of a model that is known.
    #[error("model '{0}' has no version '{1}' here")]
    UnknownVersion(String, String),
    /// A model that is known, but cannot be loaded, or not in time.
    #[error("model '{0}' cannot be served now; POST /v2/repository/index tells why")]
    Unavailable(String),
    /// A model whose source has nothing to serve for it yet.
    #[error("model '{model}' cannot be served yet: {reason}")]
    Unservable {
        /// Its name, as the source has it.
        model: String,
        /// The source's words: why, and what to do.
        reason: String,
    },
    /// Something asked for by hand that makes no sense now.
    #[error("{0}")]
    Refused(String),
    /// A call that needs the admin token, or a caller on the same machine.
    #[error("{0}")]
    Forbidden(&'static str),
    /// No such path.
    #[error("Not Found")]
    NotFound,
    /// Another method.
    #[error("Method Not Allowed")]
    MethodNotAllowed,
    /// Another content type.
    #[error("expected Content-Type application/json, got {0}")]
    UnsupportedMediaType(String),
    /// A content type that MLflow's scoring server would refuse; the whole text.
    #[error("{0}")]
    MlflowContentType(String),
    /// Another content coding.
    #[error("expected Content-Encoding gzip, deflate or identity, got {0}")]
    UnsupportedCoding(String),
    /// A body over the limit, before or after decompression.
    #[error("the body is over the limit of {0} bytes")]
    BodyTooLarge(usize),
    /// A request that would take more memory than it may, before or after it is decoded.
    #[error("{0}")]
    TooLarge(String),
    /// Too many rows.
    #[error("at most {0} rows are taken in one request")]
    TooManyRows(u32),
    /// The body did not come in time.
    #[error("the body did not arrive within {0} seconds")]
    SlowBody(u64),
    /// The queue is full.
    #[error("the gateway is at capacity; try again shortly")]
    Overloaded,
    /// Not ready to serve, or going away.
    #[error("the gateway is not ready")]
    NotReady,
    /// The deadline passed before there was an answer.
    #[error("the deadline of {0} ms passed")]
    Deadline(u128),
    /// A module ended early.
    #[error("a module of the model failed: {0}")]
    Trapped(TrapCause),
    /// A module or the model failed, or the gateway itself.
    #[error("internal error; the request id names it in the log")]
    Internal,
}

impl Error {
    /// Repeats the caller's name, shortened.
    pub fn unknown_model(name: &str) -> Self {
        Self::UnknownModel(echo(name))
    }

    /// Repeats the caller's names, shortened.
    pub fn unknown_version(name: &str, version: &str) -> Self {
        Self::UnknownVersion(echo(name), echo(version))
    }

    /// Repeats the caller's name, shortened.
    pub fn unavailable(name: &str) -> Self {
        Self::Unavailable(echo(name))
    }

    /// The same error for a request whose body is one object, not a list: no row has a number.
    #[must_use]
    pub fn of_one_object(mut self) -> Self {
        if let Self::Problems(problems) = &mut self {
            for problem in problems {
                problem.row = None;
            }
        }
        self
    }

    /// The status table.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::MalformedJson { .. } | Self::BadRequest(_) | Self::Parameter { .. } => StatusCode::BAD_REQUEST,
            Self::NotRows(_) | Self::NoRows | Self::Fields(_) | Self::Problems(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::UnknownModel(_) | Self::UnknownVersion(..) | Self::NotFound => StatusCode::NOT_FOUND,
            Self::Refused(_) => StatusCode::CONFLICT,
            Self::Forbidden(_) => StatusCode::FORBIDDEN,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::UnsupportedMediaType(_) | Self::MlflowContentType(_) | Self::UnsupportedCoding(_) => {
                StatusCode::UNSUPPORTED_MEDIA_TYPE
            }
            Self::BodyTooLarge(_) | Self::TooLarge(_) | Self::TooManyRows(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::SlowBody(_) => StatusCode::REQUEST_TIMEOUT,
            Self::Overloaded | Self::NotReady | Self::Unavailable(_) | Self::Unservable { .. } => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::Deadline(_) => StatusCode::GATEWAY_TIMEOUT,
            Self::Trapped(_) | Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// The outcome under which a request that ends so is counted.
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::Overloaded | Self::NotReady | Self::Unavailable(_) | Self::Unservable { .. } => Outcome::Shed,
            Self::Deadline(_) => Outcome::Deadline,
            Self::Trapped(_) | Self::Internal => Outcome::Failed,
            _ => Outcome::Invalid,
        }
    }
}

impl From<Excess> for Error {
    fn from(excess: Excess) -> Self {
        match excess {
            Excess::Bytes(limit) => {
                Self::TooLarge(format!("the rows and columns of the request take more than {limit} bytes once decoded"))
            }
            Excess::Memory => Self::Overloaded,
        }
    }
}

impl From<oip::Error> for Error {
    fn from(error: oip::Error) -> Self {
        match error {
            oip::Error::Malformed { line, column, message } => Self::MalformedJson { line, column, message },
            oip::Error::Invalid(message) => Self::BadRequest(message),
            oip::Error::TooManyRows(limit) => Self::TooManyRows(limit),
            oip::Error::Excess(excess) => excess.into(),
            oip::Error::Internal => Self::Internal,
        }
    }
}
