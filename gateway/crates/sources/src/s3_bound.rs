//! S3's answers, bounded while they are read: the SDK reads all of them whole but the content of objects.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use aws_sdk_s3::{
    config::{ConfigBag, Intercept, RuntimeComponents, interceptors::BeforeDeserializationInterceptorContextMut},
    error::BoxError,
    primitives::SdkBody,
};
use aws_smithy_runtime_api::client::orchestrator::Metadata;
use http_body_util::Limited;
use hyper::body::{Body, Bytes, Frame, SizeHint};

/// Bytes of an answer that is no object's content. A page of a listing has 1,000 keys of at most 1 KiB, and half as much
/// about each.
const MAX_ANSWER: usize = 4 << 20;

/// Tags of such an answer: the SDK makes some 300 bytes of an element of 11. Each of 1,000 objects has at most 14 elements,
/// with a tag at its start and one at its end.
const MAX_TAGS: usize = 32 << 10;

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
        let is_get = config.load::<Metadata>().is_some_and(|metadata| metadata.name() == "GetObject");
        let is_content = is_get && context.response().status().is_success();
        if !is_content {
            let body = std::mem::replace(context.response_mut().body_mut(), SdkBody::empty());
            *context.response_mut().body_mut() =
                SdkBody::from_body_1_x(Limited::new(FewTags { body, tags: 0 }, MAX_ANSWER));
        }
        Ok(())
    }
}

/// A body that ends with an error where it has more tags than an answer of S3 can have.
#[derive(Debug)]
struct FewTags {
    body: SdkBody,
    tags: usize,
}

impl Body for FewTags {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context)?);
        if let Some(piece) = frame.as_ref().and_then(Frame::data_ref) {
            self.tags += piece.iter().map(|&byte| usize::from(byte == b'<')).sum::<usize>();
            if self.tags > MAX_TAGS {
                return Poll::Ready(Some(Err(format!("an answer of more than {MAX_TAGS} tags").into())));
            }
        }
        Poll::Ready(frame.map(Ok))
    }

    fn size_hint(&self) -> SizeHint {
        Body::size_hint(&self.body)
    }
}
