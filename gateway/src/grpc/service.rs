//! The inference service.

use std::{
    borrow::Cow,
    sync::Arc,
    time::{Duration, Instant},
};

use tonic::{Request, Response, Status, Streaming, metadata::MetadataMap};

use super::{
    convert,
    proto::{
        InferStatistics, ModelConfig, ModelConfigRequest, ModelConfigResponse, ModelDynamicBatching, ModelInferRequest,
        ModelInferResponse, ModelInput, ModelMetadataRequest, ModelMetadataResponse, ModelOutput, ModelParameter,
        ModelReadyRequest, ModelReadyResponse, ModelStatistics, ModelStatisticsRequest, ModelStatisticsResponse,
        ModelTensorReshape, ModelTransactionPolicy, RepositoryIndexRequest, RepositoryIndexResponse,
        RepositoryModelLoadRequest, RepositoryModelLoadResponse, RepositoryModelUnloadRequest,
        RepositoryModelUnloadResponse, ServerLiveRequest, ServerLiveResponse, ServerMetadataRequest,
        ServerMetadataResponse, ServerReadyRequest, ServerReadyResponse, StatisticDuration,
        grpc_inference_service_server::GrpcInferenceService, model_metadata_response::TensorMetadata,
        repository_index_response::ModelIndex,
    },
    status::status,
    stream,
};
use crate::{
    admin::Door,
    app::{App, Metadata},
    catalog::State,
    error::Error,
    generation::Generation,
    http::{
        lasting::{Kind, Pool},
        named, operate,
        origin::Origin,
        reply,
    },
    lifecycle::Command,
    oip::{
        self,
        describe::{EXTENSIONS, PLATFORM, TritonType},
        input, output, shown,
        statistics::{self, ModelStatistics as Statistics},
    },
    workers::{Priority, Terms},
};

#[derive(Clone, Debug)]
pub(super) struct Inference {
    pub(super) app: App,
    /// Where calls that change what is served come in; `None` where they are not taken.
    door: Option<Door>,
    /// Places for streams.
    streams: Arc<Pool>,
}

impl Inference {
    pub(super) fn new(app: App, door: Option<Door>) -> Self {
        Self { app, door, streams: Pool::new(Kind::Inference, stream::MAX_STREAMS) }
    }

    /// Changes what is served, for callers who may.
    async fn command<T>(&self, request: &Request<T>, model: &str, command: Command) -> Result<(), Error> {
        let Some(door) = self.door else {
            return Err(Error::Forbidden("calls that change what is served have a port of their own"));
        };
        let text = |name| request.metadata().get(name).and_then(|value| value.to_str().ok());
        let caller = Origin::caller(door, request.extensions(), text("authorization"));
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
        let read = || {
            let parameters = convert::parameters(&request.parameters)?;
            let requested = convert::requested(&request.outputs)?;
            // Everything is sent the same way, so the form that JSON lacks is of no concern.
            let binary = oip::request::Parameters { binary_data_output: Some(true), ..parameters };
            let chosen = output::choose(&requested, &binary, &generation.interface())?;
            let inputs = convert::inputs(&request.inputs, &request.raw_input_contents)?;
            let sent = inputs.iter().map(|input| input.data.size()).sum();
            let packed = input::pack(&inputs, &generation.interface(), generation.bounds(sent))?;
            Ok((parameters, chosen, packed))
        };
        let (parameters, chosen, packed) = read().map_err(|error| generation.refused(error))?;
        self.app.metrics.copied_to_columns.inc_by(packed.copied as u64);
        generation.metrics.decode_us.inc_by(reply::micros(started));

        let asked = parameters.timeout.filter(|&micros| micros > 0).map(Duration::from_micros);
        let limit = [asked, timeout].into_iter().flatten().fold(generation.limits.deadline, Duration::min);
        let priority = Priority::of(parameters.priority.unwrap_or(0));
        let terms = Terms { deadline: started + limit, priority };
        let answer = self.app.workers.run(&generation, packed.batch, terms).await.map_err(|error| match error {
            Error::Deadline(_) => Error::Deadline(limit.as_millis()),
            other => other,
        })?;

        let started = Instant::now();
        let response = convert::response(&generation, request, &answer, &chosen);
        generation.metrics.encode_us.inc_by(reply::micros(started));
        response.map_err(|error| reply::unencodable(&generation, &error))
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
fn version_of(version: &str) -> Option<&str> {
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

fn tensors(columns: &[modelgate_columns::Column], tensors: bool) -> Vec<TensorMetadata> {
    columns
        .iter()
        .map(|column| TensorMetadata {
            name: column.name.clone(),
            datatype: column.datatype.protocol_name().into(),
            shape: oip::shape(column, tensors).to_vec(),
        })
        .collect()
}

/// Dimensions without the rows, and Triton's way to say that there are none.
fn dims(column: &modelgate_columns::Column) -> (Vec<i64>, Option<ModelTensorReshape>) {
    match column.inner_shape() {
        [] => (vec![1], Some(ModelTensorReshape { shape: Vec::new() })),
        dims => (dims.to_vec(), None),
    }
}

fn config(generation: &Generation) -> ModelConfig {
    let input = |column: &modelgate_columns::Column| {
        let (dims, reshape) = dims(column);
        ModelInput {
            name: column.name.clone(),
            data_type: TritonType::from(column.datatype).number,
            dims,
            reshape,
            optional: input::is_optional(column),
        }
    };
    let output = |column: &modelgate_columns::Column| {
        let (dims, reshape) = dims(column);
        let data_type = TritonType::from(column.datatype).number;
        ModelOutput { name: column.name.clone(), data_type, dims, reshape }
    };
    let cause = generation.joining.cause.label().to_owned();
    ModelConfig {
        name: generation.name.clone(),
        platform: PLATFORM.into(),
        max_batch_size: if generation.tensors { 0 } else { i32::try_from(generation.limits.rows).unwrap_or(i32::MAX) },
        input: generation.signature.inputs.iter().map(input).collect(),
        output: generation.signature.outputs.iter().map(output).collect(),
        dynamic_batching: generation.batching.is_on().then(|| ModelDynamicBatching {
            preferred_batch_size: Vec::new(),
            max_queue_delay_microseconds: u64::try_from(generation.batching.max_delay.as_micros()).unwrap_or(u64::MAX),
        }),
        backend: "modelgate".into(),
        parameters: [("batching", generation.joining.to_string()), ("batching_cause", cause)]
            .map(|(name, string_value)| (name.to_owned(), ModelParameter { string_value }))
            .into(),
        model_transaction_policy: Some(ModelTransactionPolicy { decoupled: false }),
    }
}

fn model_statistics(of: Statistics) -> ModelStatistics {
    let duration = |of: statistics::Duration| Some(StatisticDuration { count: of.count, ns: of.ns });
    let parts = of.inference_stats;
    ModelStatistics {
        name: of.name,
        version: of.version,
        last_inference: of.last_inference,
        inference_count: of.inference_count,
        execution_count: of.execution_count,
        inference_stats: Some(InferStatistics {
            success: duration(parts.success),
            fail: duration(parts.fail),
            queue: duration(parts.queue),
            compute_input: duration(parts.compute_input),
            compute_infer: duration(parts.compute_infer),
            compute_output: duration(parts.compute_output),
            cache_hit: duration(parts.cache_hit),
            cache_miss: duration(parts.cache_miss),
        }),
    }
}

#[tonic::async_trait]
impl GrpcInferenceService for Inference {
    async fn server_live(&self, _: Request<ServerLiveRequest>) -> Result<Response<ServerLiveResponse>, Status> {
        Ok(Response::new(ServerLiveResponse { live: true }))
    }

    async fn server_ready(&self, _: Request<ServerReadyRequest>) -> Result<Response<ServerReadyResponse>, Status> {
        Ok(Response::new(ServerReadyResponse { ready: self.app.is_ready() }))
    }

    async fn model_ready(&self, request: Request<ModelReadyRequest>) -> Result<Response<ModelReadyResponse>, Status> {
        let ModelReadyRequest { name, version } = request.into_inner();
        // A model that is unknown is no error here: the client asks whether it may send requests.
        let ready =
            self.app.status(&name, version_of(&version)).is_ok_and(|known| known.in_reach) && self.app.is_ready();
        Ok(Response::new(ModelReadyResponse { ready }))
    }

    async fn server_metadata(
        &self,
        _: Request<ServerMetadataRequest>,
    ) -> Result<Response<ServerMetadataResponse>, Status> {
        Ok(Response::new(ServerMetadataResponse {
            name: "modelgate".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            extensions: EXTENSIONS.map(String::from).into(),
        }))
    }

    async fn model_metadata(
        &self,
        request: Request<ModelMetadataRequest>,
    ) -> Result<Response<ModelMetadataResponse>, Status> {
        let ModelMetadataRequest { name, version } = request.into_inner();
        let Metadata { name, signature, tensors: whole, versions, isolation, batching } =
            self.app.metadata(&name, version_of(&version)).await.map_err(|error| status(&error))?;
        let (inputs, outputs) = (tensors(&signature.inputs, whole), tensors(&signature.outputs, whole));
        let properties = [("isolation", isolation.name().to_owned()), ("batching", batching)]
            .map(|(name, value)| (name.to_owned(), value))
            .into();
        let platform = PLATFORM.into();
        Ok(Response::new(ModelMetadataResponse { name, versions, platform, inputs, outputs, properties }))
    }

    async fn model_infer(&self, request: Request<ModelInferRequest>) -> Result<Response<ModelInferResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let timeout = timeout(&metadata).map_err(|error| status(&error))?;
        self.infer(&metadata, &request, timeout).await.map(Response::new).map_err(|error| status(&error))
    }

    type ModelStreamInferStream = stream::Answers;

    async fn model_stream_infer(
        &self,
        request: Request<Streaming<ModelInferRequest>>,
    ) -> Result<Response<stream::Answers>, Status> {
        let (metadata, extensions, requests) = request.into_parts();
        let place = self.streams.take(&extensions);
        let place = place.ok_or_else(|| Status::resource_exhausted("too many streams are open"))?;
        stream::answers(self, metadata, requests, place).map(Response::new)
    }

    async fn model_config(
        &self,
        request: Request<ModelConfigRequest>,
    ) -> Result<Response<ModelConfigResponse>, Status> {
        let ModelConfigRequest { name, version } = request.into_inner();
        let generation = self.app.look(&name, version_of(&version)).await.map_err(|error| status(&error))?;
        Ok(Response::new(ModelConfigResponse { config: Some(config(&generation)) }))
    }

    /// Of one model, or of all where none is named.
    async fn model_statistics(
        &self,
        request: Request<ModelStatisticsRequest>,
    ) -> Result<Response<ModelStatisticsResponse>, Status> {
        let ModelStatisticsRequest { name, version } = request.into_inner();
        let all = if name.is_empty() {
            self.app.catalog.live().iter().map(|generation| Statistics::of(generation)).collect()
        } else {
            self.app.statistics(&name, version_of(&version)).map_err(|error| status(&error))?
        };
        let model_stats = all.into_iter().map(model_statistics).collect();
        Ok(Response::new(ModelStatisticsResponse { model_stats }))
    }

    async fn repository_index(
        &self,
        request: Request<RepositoryIndexRequest>,
    ) -> Result<Response<RepositoryIndexResponse>, Status> {
        let only_ready = request.get_ref().ready;
        let all = self.app.catalog.index().into_iter().flat_map(|(name, versions)| {
            versions
                .into_iter()
                .filter(|status| !only_ready || status.state == State::Ready)
                .map(|status| ModelIndex {
                    name: name.clone(),
                    version: status.version,
                    state: format!("{:?}", status.state).to_uppercase(),
                    reason: status.reason,
                })
                .collect::<Vec<_>>()
        });
        Ok(Response::new(RepositoryIndexResponse { models: all.collect() }))
    }

    async fn repository_model_load(
        &self,
        request: Request<RepositoryModelLoadRequest>,
    ) -> Result<Response<RepositoryModelLoadResponse>, Status> {
        self.command(&request, &request.get_ref().model_name, Command::Load).await.map_err(|error| status(&error))?;
        Ok(Response::new(RepositoryModelLoadResponse {}))
    }

    async fn repository_model_unload(
        &self,
        request: Request<RepositoryModelUnloadRequest>,
    ) -> Result<Response<RepositoryModelUnloadResponse>, Status> {
        self.command(&request, &request.get_ref().model_name, Command::Unload).await.map_err(|error| status(&error))?;
        Ok(Response::new(RepositoryModelUnloadResponse {}))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_are_digits_and_a_unit() {
        let of = |text: &str| {
            let mut metadata = MetadataMap::new();
            metadata.insert("grpc-timeout", text.parse().expect("ASCII"));
            timeout(&metadata)
        };
        assert_eq!(of("100m").expect("a timeout"), Some(Duration::from_millis(100)));
        assert_eq!(of("99999999H").expect("a timeout"), Some(Duration::from_hours(99_999_999)));
        for bad in ["", "m", "100", "100x", "-1m", "123456789m"] {
            assert!(of(bad).is_err(), "{bad}");
        }
    }
}
