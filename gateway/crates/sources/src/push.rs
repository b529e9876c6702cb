//! Puts a bundle into a bucket so that no reader ever sees half of it, and what is there already is not sent again.

use std::{
    collections::{HashMap, HashSet},
    path::Path,
};

use anyhow::{Context, ensure};
use aws_sdk_s3::{
    Client,
    error::{ProvideErrorMetadata, SdkError},
    primitives::ByteStream,
    types::{CompletedMultipartUpload, CompletedPart},
};
use modelgate_bundle::{MANIFEST, Manifest, read_inside};

use crate::{
    s3_client::{BLOBS, client, explain},
    spec::{Environment, Kind, Spec},
};

/// Files over this go in parts of it. Above the smallest part that S3 takes.
const PART: usize = 16 << 20;

/// Uploads the bundle in `folder` to `s3://bucket/prefix`. `report` gets a line for each step.
///
/// # Errors
/// A bundle that is not whole, or a bucket that cannot be written to.
pub async fn push(
    folder: &Path,
    to: &str,
    environment: &Environment,
    report: &mut dyn FnMut(String),
) -> anyhow::Result<()> {
    let spec = Spec::parse(to)?;
    let Kind::S3(location) = spec.kind()? else { anyhow::bail!("expected s3://bucket/prefix, got {to}") };
    location.check(environment)?;
    let manifest_bytes = read_inside(folder, MANIFEST).map_err(anyhow::Error::msg).context(MANIFEST)?;
    let manifest = Manifest::parse(&manifest_bytes).map_err(anyhow::Error::msg)?;
    let problems = manifest.problems();
    ensure!(problems.is_empty(), "{}", problems.join("\n"));
    let endpoint = environment.endpoint.as_deref().or(environment.mlflow_endpoint.as_deref());
    let client = client(&location, environment, endpoint);
    let prefix = if location.prefix.is_empty() { String::new() } else { location.prefix.clone() + "/" };
    let mut seen = HashSet::new();
    for file in manifest.files().map_err(anyhow::Error::msg)? {
        if !seen.insert(file.sha256.clone()) {
            continue;
        }
        let key = format!("{prefix}{BLOBS}{}", file.sha256);
        let bytes = read_inside(folder, &file.file).map_err(anyhow::Error::msg).context(file.file.clone())?;
        let actual = format!("{:x}", <sha2::Sha256 as sha2::Digest>::digest(&bytes));
        ensure!(
            actual == file.sha256,
            "{}: wrong digest: the manifest says {}, the file has {actual}",
            file.file,
            file.sha256
        );
        if is_there(&client, &location.bucket, &key, bytes.len()).await {
            report(format!("{}: there already", file.file));
            continue;
        }
        let size = bytes.len();
        upload(&client, &location.bucket, &key, bytes, &mut |sent, is_new| {
            let words = if is_new { "" } else { " are there already" };
            report(format!("{}: {sent} of {size} bytes{words}", file.file));
        })
        .await?;
    }
    // Last: a gateway that sees it finds everything it names.
    let key = format!("{prefix}{}/{}/{MANIFEST}", manifest.name, manifest.version);
    upload(&client, &location.bucket, &key, manifest_bytes, &mut |_, _| {}).await?;
    report(format!("{} version {} is at s3://{}/{key}", manifest.name, manifest.version, location.bucket));
    Ok(())
}

/// `sent` hears how many bytes are there, and whether they were sent just now.
async fn upload(
    client: &Client,
    bucket: &str,
    key: &str,
    bytes: Vec<u8>,
    sent: &mut dyn FnMut(usize, bool),
) -> anyhow::Result<()> {
    let size = bytes.len();
    if size <= PART {
        let put = client.put_object().bucket(bucket).key(key).body(ByteStream::from(bytes)).send().await;
        put.map_err(|error| explain(&error)).with_context(|| key.to_owned())?;
        sent(size, true);
        return Ok(());
    }
    let object = Object { client, bucket, key };
    let begun = match unfinished(client, bucket, key).await {
        Some(begun) => begun,
        None => object.begin().await?,
    };
    let mut failed = object.send(begun, &bytes, sent).await;
    if let Err(failure) = &failed {
        // Another push of the same file may have been quicker, and ended the upload that both went on with.
        if is_there(client, bucket, key, size).await {
            return Ok(());
        }
        if failure.is_gone {
            failed = object.send(object.begin().await?, &bytes, sent).await;
        }
    }
    failed.map_err(|failure| failure.error)
}

/// An object that goes in parts.
struct Object<'a> {
    client: &'a Client,
    bucket: &'a str,
    key: &'a str,
}

/// Why it did not.
struct Failure {
    error: anyhow::Error,
    /// Whether the server knows nothing of the upload.
    is_gone: bool,
}

impl Failure {
    fn new<E: ProvideErrorMetadata + std::fmt::Debug>(error: &SdkError<E>, words: String) -> Self {
        Self { is_gone: error.code() == Some("NoSuchUpload"), error: anyhow::Error::new(explain(error)).context(words) }
    }
}

impl Object<'_> {
    async fn begin(&self) -> anyhow::Result<(String, Parts)> {
        let begun = self.client.create_multipart_upload().bucket(self.bucket).key(self.key).send().await;
        let begun = begun.map_err(|error| explain(&error)).with_context(|| self.key.to_owned())?;
        Ok((begun.upload_id().context("the server gave no upload id")?.to_owned(), Parts::new()))
    }

    async fn send(
        &self,
        (id, mut there): (String, Parts),
        bytes: &[u8],
        sent: &mut dyn FnMut(usize, bool),
    ) -> Result<(), Failure> {
        let Self { client, bucket, key } = *self;
        let mut done = CompletedMultipartUpload::builder();
        let mut gone = 0;
        for (number, part) in (1..).zip(bytes.chunks(PART)) {
            let known = there.remove(&number).filter(|(length, _)| *length == part.len()).map(|(_, etag)| etag);
            let is_new = known.is_none();
            let etag = match known {
                Some(etag) => Some(etag),
                None => {
                    let body = ByteStream::from(part.to_vec());
                    let request =
                        client.upload_part().bucket(bucket).key(key).upload_id(&id).part_number(number).body(body);
                    // What was sent stays there, for the next try.
                    let words = || format!("{key}: not whole yet; push it again to go on from here");
                    request.send().await.map_err(|error| Failure::new(&error, words()))?.e_tag
                }
            };
            done = done.parts(CompletedPart::builder().part_number(number).set_e_tag(etag).build());
            gone += part.len();
            sent(gone, is_new);
        }
        let end = client.complete_multipart_upload().bucket(bucket).key(key).upload_id(&id);
        let end = end.multipart_upload(done.build()).send().await;
        end.map(drop).map_err(|error| Failure::new(&error, key.to_owned()))
    }
}

/// Whether a blob is there already. It is only ever written under its own digest, so one of the right name and length is the
/// right one; another length is that of a copy by another tool that was broken off.
async fn is_there(client: &Client, bucket: &str, key: &str, size: usize) -> bool {
    let head = client.head_object().bucket(bucket).key(key).send().await;
    head.is_ok_and(|head| head.content_length().and_then(|length| usize::try_from(length).ok()) == Some(size))
}

/// Parts by number, each with its length and its ETag.
type Parts = HashMap<i32, (usize, String)>;

/// An upload of this key that an earlier push began and did not finish. The key is a digest, so its parts are parts of the
/// same bytes. `None` also where the server cannot tell.
async fn unfinished(client: &Client, bucket: &str, key: &str) -> Option<(String, Parts)> {
    let uploads = client.list_multipart_uploads().bucket(bucket).prefix(key).send().await.ok()?.uploads?;
    let begun = uploads.into_iter().filter(|upload| upload.key.as_deref() == Some(key));
    let id = begun.max_by_key(|upload| upload.initiated)?.upload_id?;
    let parts = client.list_parts().bucket(bucket).key(key).upload_id(&id).send().await.ok()?.parts.unwrap_or_default();
    let parts = parts
        .into_iter()
        .filter_map(|part| Some((part.part_number?, (usize::try_from(part.size?).ok()?, part.e_tag?))));
    Some((id, parts.collect()))
}
