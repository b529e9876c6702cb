//! Puts a bundle into a bucket so that no reader ever sees half of it, and what is there already is not sent again.

use std::{collections::HashSet, path::Path};

use anyhow::{Context, ensure};
use aws_sdk_s3::{
    Client,
    primitives::ByteStream,
    types::{CompletedMultipartUpload, CompletedPart},
};

use crate::{
    bundle::{MANIFEST, Manifest, read_inside},
    source::{
        s3_client::{BLOBS, client, explain},
        spec::{Environment, Kind, Spec},
    },
};

/// Files over this go in parts of it. Above the smallest part that S3 takes.
const PART: usize = 16 << 20;

/// Uploads the bundle in `folder` to `s3://bucket/prefix`. `tell` gets a line for each step.
///
/// # Errors
/// A bundle that is not whole, or a bucket that cannot be written to.
pub async fn push(
    folder: &Path,
    to: &str,
    environment: &Environment,
    tell: &mut dyn FnMut(String),
) -> anyhow::Result<()> {
    let spec = Spec::parse(to)?;
    let Kind::S3(place) = spec.kind()? else { anyhow::bail!("expected s3://bucket/prefix, got {to}") };
    let manifest_bytes = read_inside(folder, MANIFEST).map_err(anyhow::Error::msg).context(MANIFEST)?;
    let manifest = Manifest::parse(&manifest_bytes).map_err(anyhow::Error::msg)?;
    let problems = manifest.problems();
    ensure!(problems.is_empty(), "{}", problems.join("\n"));
    let endpoint = environment.endpoint.as_deref().or(environment.mlflow_endpoint.as_deref());
    let client = client(&place, environment, endpoint);
    let prefix = if place.prefix.is_empty() { String::new() } else { place.prefix.clone() + "/" };
    let mut seen = HashSet::new();
    for file in manifest.files().map_err(anyhow::Error::msg)? {
        if !seen.insert(file.sha256.clone()) {
            continue;
        }
        let key = format!("{prefix}{BLOBS}{}", file.sha256);
        // A blob is only ever written under its own digest, so one of the right name is the right one.
        let there = client.head_object().bucket(&place.bucket).key(&key).send().await.is_ok();
        let bytes = read_inside(folder, &file.file).map_err(anyhow::Error::msg).context(file.file.clone())?;
        let actual = format!("{:x}", <sha2::Sha256 as sha2::Digest>::digest(&bytes));
        ensure!(
            actual == file.sha256,
            "{}: wrong digest: the manifest says {}, the file has {actual}",
            file.file,
            file.sha256
        );
        if there {
            tell(format!("{}: there already", file.file));
            continue;
        }
        let size = bytes.len();
        upload(&client, &place.bucket, &key, bytes, &mut |sent| {
            tell(format!("{}: {sent} of {size} bytes", file.file));
        })
        .await?;
    }
    // Last: whoever sees it finds everything it names.
    let key = format!("{prefix}{}/{}/{MANIFEST}", manifest.name, manifest.version);
    upload(&client, &place.bucket, &key, manifest_bytes, &mut |_| {}).await?;
    tell(format!("{} version {} is at s3://{}/{key}", manifest.name, manifest.version, place.bucket));
    Ok(())
}

async fn upload(
    client: &Client,
    bucket: &str,
    key: &str,
    bytes: Vec<u8>,
    sent: &mut dyn FnMut(usize),
) -> anyhow::Result<()> {
    let size = bytes.len();
    if size <= PART {
        let put = client.put_object().bucket(bucket).key(key).body(ByteStream::from(bytes)).send().await;
        put.map_err(|error| explain(&error)).with_context(|| key.to_owned())?;
        sent(size);
        return Ok(());
    }
    let begun = client.create_multipart_upload().bucket(bucket).key(key).send().await;
    let begun = begun.map_err(|error| explain(&error)).with_context(|| key.to_owned())?;
    let id = begun.upload_id().context("the server gave no upload id")?;
    let mut done = CompletedMultipartUpload::builder();
    let mut gone = 0;
    for (number, part) in (1..).zip(bytes.chunks(PART)) {
        let body = ByteStream::from(part.to_vec());
        let part_sent =
            client.upload_part().bucket(bucket).key(key).upload_id(id).part_number(number).body(body).send().await;
        let part_sent = match part_sent {
            Ok(part_sent) => part_sent,
            Err(error) => {
                _ = client.abort_multipart_upload().bucket(bucket).key(key).upload_id(id).send().await;
                return Err(explain(&error)).with_context(|| key.to_owned());
            }
        };
        done = done.parts(CompletedPart::builder().part_number(number).set_e_tag(part_sent.e_tag).build());
        gone += part.len();
        sent(gone);
    }
    let end = client.complete_multipart_upload().bucket(bucket).key(key).upload_id(id).multipart_upload(done.build());
    end.send().await.map_err(|error| explain(&error)).with_context(|| key.to_owned())?;
    Ok(())
}
