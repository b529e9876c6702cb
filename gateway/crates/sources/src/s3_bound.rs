//! S3's answers, bounded while they are read: the SDK reads all of them whole but the content of objects.

use aws_sdk_s3::{
    config::{ConfigBag, Intercept, RuntimeComponents, interceptors::BeforeDeserializationInterceptorContextMut},
    error::BoxError,
    primitives::SdkBody,
};
use aws_smithy_runtime_api::client::orchestrator::Metadata;
use http_body_util::Limited;

/// Bytes of an answer that is no object's content. A page of a listing has 1,000 keys of at most 1 KiB, escaped.
const MAX_ANSWER: usize = 8 << 20;

/// Puts a limit on what is read of each answer.
#[derive(Debug)]
pub(super) struct Bounded;

impl Intercept for Bounded {
    fn name(&self) -> &'static str {
        "Bounded"
    }

    fn modify_before_deserialization(
        &self,
        context: &mut BeforeDeserializationInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        // The content of an object comes as a stream, which its reader bounds.
        let is_get = config.load::<Metadata>().is_some_and(|of| of.name() == "GetObject");
        let is_content = is_get && context.response().status().is_success();
        if !is_content {
            let body = std::mem::replace(context.response_mut().body_mut(), SdkBody::empty());
            *context.response_mut().body_mut() = SdkBody::from_body_1_x(Limited::new(body, MAX_ANSWER));
        }
        Ok(())
    }
}
