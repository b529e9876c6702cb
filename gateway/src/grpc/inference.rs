//! The way of a request that came over gRPC: decoded, executed, encoded.

use std::{
    borrow::Cow,
    sync::Arc,
    time::{Duration, Instant},
};

use tonic::{Request, metadata::MetadataMap};

use super::{
    convert,
    proto::{ModelInferRequest, ModelInferResponse},
};
use crate::{
    admin::Door,
    app::App,
    error::Error,
    http::{
        answer,
        client_info::ClientInfo,
        lasting::{Kind, Pool},
        named, operate,
    },
    lifecycle::Command,
    oip::shown,
    workers::{Priority, RequestOptions},
};

/// Streams open at once, over all connections.
const MAX_STREAMS: usize = 4_096;

/// The state of the service.
#[derive(Clone, Debug)]
pub(super) struct Inference {
    pub(super) app: App,
    /// Where calls that change what is served come in; `None` where they are not taken.
    door: Option<Door>,
    /// Places for streams.
    pub(super) streams: Arc<Pool>,
}

impl Inference {
    pub(super) fn new(app: App, door: Option<Door>) -> Self {
        Self { app, door, streams: Pool::new(Kind::Inference, MAX_STREAMS) }
    }

    /// Changes what is served, for callers who may.
    pub(super) async fn command<T>(&self, request: &Request<T>, model: &str, command: Command) -> Result<(), Error> {
        let Some(door) = self.door else {
            return Err(Error::Forbidden("calls that change what is served have a port of their own"));
        };
        let text = |name| request.metadata().get(name).and_then(|value| value.to_str().ok());
        let caller = ClientInfo::caller(door, request.extensions(), text("authorization"));
        operate::change(&self.app, &caller, text("x-request-id").unwrap_or_default(), model, command).await
    }

    /// Answers a request, within `timeout` where there is one.
    pub(super) async fn infer(
        &self,
        metadata: &MetadataMap,
        request: &ModelInferRequest,
        timeout: Option<Duration>,
    ) -> Result<ModelInferResponse, Error> {
        let name = model_name(metadata, &request.model_name)?;
        let generation = self.app.resolve(Some(&name), version_of(&request.model_version)).await?;
        let started = Instant::now();
        let model = generation.interface();
        let read = convert::read(request, &model, |sent| generation.bounds(sent));
        let (parameters, chosen, packed) = read.map_err(|error| generation.refused(error))?;
        self.app.metrics.copied_to_columns.inc_by(packed.copied as u64);
        generation.metrics.decode_us.inc_by(answer::micros(started));

        let asked = parameters.timeout.filter(|&micros| micros > 0).map(Duration::from_micros);
        let limit = [asked, timeout].into_iter().flatten().fold(generation.limits.deadline, Duration::min);
        let priority = Priority::from_number(parameters.priority.unwrap_or(0));
        let options = RequestOptions { deadline: started + limit, priority };
        let answer =
            self.app.workers.execute(&generation, packed.batch, options).await.map_err(|error| match error {
                Error::Deadline(_) => Error::Deadline(limit.as_millis()),
                other => other,
            })?;

        let started = Instant::now();
        let response = convert::response(&model, request, &answer, &chosen);
        generation.metrics.encode_us.inc_by(answer::micros(started));
        response.map_err(|error| answer::unencodable(&generation, &error))
    }
}

/// The model that a request names in its message or in `x-model`.
fn model_name<'r>(metadata: &'r MetadataMap, in_message: &'r str) -> Result<Cow<'r, str>, Error> {
    match named::in_header(metadata.as_ref())? {
        Some(name) if in_message.is_empty() || name == in_message => Ok(name),
        Some(other) => {
            let (name, other) = (shown(in_message), shown(&other));
            Err(Error::BadRequest(format!("a request is for one model: it names '{name}', x-model names '{other}'")))
        }
        None => Ok(in_message.into()),
    }
}

/// An empty version is none.
pub(super) fn version_of(version: &str) -> Option<&str> {
    Some(version).filter(|version| !version.is_empty())
}

/// The deadline that gRPC's own header sets: up to eight digits and a unit.
pub(super) fn timeout(metadata: &MetadataMap) -> Result<Option<Duration>, Error> {
    let Some(value) = metadata.get("grpc-timeout") else { return Ok(None) };
    let text = value.to_str().unwrap_or_default();
    let parsed = text.split_at_checked(text.len().saturating_sub(1)).and_then(|(digits, unit)| {
        let number: u64 = digits.parse().ok().filter(|_| digits.len() <= 8)?;
        Some(match unit {
            "H" => Duration::from_secs(number * 3600),
            "M" => Duration::from_secs(number * 60),
            "S" => Duration::from_secs(number),
            "m" => Duration::from_millis(number),
            "u" => Duration::from_micros(number),
            "n" => Duration::from_nanos(number),
            _ => return None,
        })
    });
    parsed.map(Some).ok_or_else(|| Error::BadRequest("grpc-timeout: expected up to eight digits and a unit".into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_are_digits_and_a_unit() {
        let parsed = |text: &str| {
            let mut metadata = MetadataMap::new();
            metadata.insert("grpc-timeout", text.parse().expect("ASCII"));
            timeout(&metadata)
        };
        assert_eq!(parsed("100m").expect("a timeout"), Some(Duration::from_millis(100)));
        assert_eq!(parsed("99999999H").expect("a timeout"), Some(Duration::from_hours(99_999_999)));
        for bad in ["", "m", "100", "100x", "-1m", "123456789m"] {
            assert!(parsed(bad).is_err(), "{bad}");
        }
    }
}
