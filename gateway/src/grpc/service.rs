//! The inference service: its calls, and what they say of models.

use tonic::{Request, Response, Status, Streaming};

use super::{
    inference::{Inference, timeout, version_of},
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
    catalog::State,
    generation::Generation,
    lifecycle::Command,
    model_info::Metadata,
    oip::{
        self,
        describe::{EXTENSIONS, PLATFORM, TritonType, classes},
        input,
        statistics::{self, ModelStatistics as Statistics},
    },
};

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
    let cause = generation.batching_decision.cause.label().to_owned();
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
        parameters: [("batching", generation.batching_decision.to_string()), ("batching_cause", cause)]
            .map(|(name, string_value)| (name.to_owned(), ModelParameter { string_value }))
            .into(),
        model_transaction_policy: Some(ModelTransactionPolicy { decoupled: false }),
    }
}

fn model_statistics(counted: Statistics) -> ModelStatistics {
    let duration = |counted: statistics::Duration| Some(StatisticDuration { count: counted.count, ns: counted.ns });
    let parts = counted.inference_stats;
    ModelStatistics {
        name: counted.name,
        version: counted.version,
        last_inference: counted.last_inference,
        inference_count: counted.inference_count,
        execution_count: counted.execution_count,
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
        let Metadata { name, versions, info } =
            self.app.metadata(&name, version_of(&version)).await.map_err(|error| status(&error))?;
        let (inputs, outputs) =
            (tensors(&info.signature.inputs, info.tensors), tensors(&info.signature.outputs, info.tensors));
        let classes = classes(&info.signature.outputs).map(|classes| ("classes", classes));
        let properties = [("isolation", info.isolation.name().to_owned()), ("batching", info.batching.clone())]
            .into_iter()
            .chain(classes)
            .map(|(name, value)| (name.to_owned(), value))
            .collect();
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
        let slot = self.streams.take(&extensions);
        let slot = slot.ok_or_else(|| Status::resource_exhausted("too many streams are open"))?;
        stream::answers(self, metadata, requests, slot).map(Response::new)
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
            self.app.catalog.live().iter().map(|generation| Statistics::new(generation)).collect()
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
