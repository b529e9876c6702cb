//! A bucket, or a part of it: every folder that has a manifest is a bundle.
//!
//! A look is one listing, and reads the manifests whose ETag is new. Files that `modelgate push` put under their digest, in a
//! folder of blobs above the manifest, are taken from there; any other tool may put them beside the manifest.

use std::{
    collections::{HashMap, HashSet},
    iter::successors,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use aws_sdk_s3::{Client, operation::get_object::GetObjectOutput};
use futures_util::{StreamExt, stream};
use modelgate_bundle::{FileRef, MANIFEST, MAX_MANIFEST, is_sha256};
use tokio::time::timeout;

use crate::{
    error::{Kind, SourceError},
    listing::Listing,
    s3_client::{BLOBS, client, download, explain},
    spec::{Environment, S3Location},
    store::Incoming,
};

/// Keys listed in one look.
const MAX_KEYS: usize = 200_000;

/// Bytes of a key; S3 has no longer ones.
const MAX_KEY: usize = 1 << 10;

/// Bytes of the keys that are kept of one look.
const MAX_KEY_BYTES: usize = 32 << 20;

/// Keys of what was handed over that are known at once.
const MAX_GIVEN: usize = 10_000;

/// Manifests read at once.
const READS: usize = 8;

/// One manifest is read within this: less than a look may take, so that one that hangs does not hide the others.
const READ: Duration = Duration::from_secs(10);

/// An object's name and its ETag, or what else tells that it changed.
type Key = (String, String);

#[derive(Debug)]
pub(super) struct S3Source {
    client: Client,
    bucket: String,
    /// Empty, or with a slash at its end.
    prefix: String,
    index: usize,
    /// Manifests by key and ETag.
    seen: Mutex<HashMap<Key, Arc<[u8]>>>,
    /// By key, the last one there that named a release: what it was goes on being offered while something else is there.
    good: Mutex<HashMap<String, Arc<[u8]>>>,
    /// Keys of the files in folders of [`BLOBS`]; `None` before a listing went well.
    blobs: Mutex<Option<HashSet<String>>>,
    /// Keys of files that were handed over.
    given: Mutex<HashSet<String>>,
}

impl S3Source {
    pub(super) fn new(at: S3Location, index: usize, environment: &Environment) -> Self {
        let client =
            client(&at, environment, environment.endpoint.as_deref().or(environment.mlflow_endpoint.as_deref()));
        Self::with_client(client, at, index)
    }

    pub(super) fn with_client(client: Client, at: S3Location, index: usize) -> Self {
        let prefix = if at.prefix.is_empty() { String::new() } else { at.prefix + "/" };
        Self {
            client,
            bucket: at.bucket,
            prefix,
            index,
            seen: Mutex::default(),
            good: Mutex::default(),
            blobs: Mutex::default(),
            given: Mutex::default(),
        }
    }

    pub(super) async fn list(&self) -> Result<Listing, SourceError> {
        let (mut manifests, mut bad) = (Vec::new(), Vec::new());
        let mut blobs = HashSet::new();
        let (mut listed, mut kept) = (0, 0);
        let mut listing = Listing::default();
        let mut pages = self.client.list_objects_v2().bucket(&self.bucket).prefix(&self.prefix).into_paginator().send();
        while let Some(page) = pages.next().await {
            for object in page.map_err(|error| explain(&error))?.contents.unwrap_or_default() {
                listed += 1;
                let Some(key) = object.key.filter(|key| key.len() <= MAX_KEY) else { continue };
                let Some(rest) = key.strip_prefix(&self.prefix) else { continue };
                if is_blob(&key) {
                    kept += key.len();
                    blobs.insert(key);
                } else if rest == MANIFEST || rest.ends_with(&format!("/{MANIFEST}")) {
                    if object.size.and_then(|size| usize::try_from(size).ok()).is_some_and(|size| size > MAX_MANIFEST) {
                        listing.report(format!("{key}: at most {MAX_MANIFEST} bytes are taken"));
                        bad.push(key);
                    } else {
                        // Not every server lists ETags.
                        let other = || format!("{:?} {:?}", object.size, object.last_modified);
                        let tag = object.e_tag.unwrap_or_else(other);
                        kept += key.len() + tag.len();
                        manifests.push((key, tag));
                    }
                }
            }
            if listed > MAX_KEYS || kept > MAX_KEY_BYTES {
                listing.report(format!("at most {MAX_KEYS} objects with {MAX_KEY_BYTES} bytes of names are looked at"));
                break;
            }
        }
        // Cut short, it tells nothing of what is not in it.
        let is_whole = listed <= MAX_KEYS && kept <= MAX_KEY_BYTES;
        *self.blobs.lock().unwrap_or_else(PoisonError::into_inner) = is_whole.then_some(blobs);
        let reads = manifests.into_iter().map(|key| self.manifest(key));
        let mut reads = stream::iter(reads).buffer_unordered(READS);
        let (mut seen, mut good) = (HashMap::new(), HashMap::new());
        let at = |key: &str| key.strip_suffix(MANIFEST).unwrap_or_default().to_owned();
        while !listing.is_full()
            && let Some((key, manifest)) = reads.next().await
        {
            match manifest {
                Ok(bytes) => {
                    if listing.add(self.index, &bytes, &at(&key.0)) {
                        good.insert(key.0.clone(), Arc::clone(&bytes));
                    } else {
                        bad.push(key.0.clone());
                    }
                    seen.insert(key, bytes);
                }
                Err(error) => {
                    listing.report(format!("{}: {error}", key.0));
                    bad.push(key.0);
                }
            }
        }
        drop(reads);
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = seen;
        let mut last = self.good.lock().unwrap_or_else(PoisonError::into_inner);
        for key in bad {
            if let Some(manifest) = last.remove(&key) {
                listing.add(self.index, &manifest, &at(&key));
                good.insert(key, manifest);
            }
        }
        *last = good;
        drop(last);
        Ok(listing)
    }

    /// From memory if it has not changed.
    async fn manifest(&self, key: Key) -> (Key, Result<Arc<[u8]>, SourceError>) {
        let known = self.seen.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
        let read = match known {
            Some(bytes) => Ok(bytes),
            None => self.read(&key).await,
        };
        (key, read)
    }

    /// A manifest that was read is known at once: a look that is broken off later leaves it to the next.
    async fn read(&self, key: &Key) -> Result<Arc<[u8]>, SourceError> {
        let read = timeout(READ, read_small(&self.client, &self.bucket, &key.0)).await;
        let too_late = |_| SourceError::new(Kind::Timeout, format!("not read within {} s", READ.as_secs()));
        let bytes: Arc<[u8]> = read.map_err(too_late)??.into();
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).insert(key.clone(), Arc::clone(&bytes));
        Ok(bytes)
    }

    pub(super) async fn fetch(
        &self,
        at: &str,
        file: &FileRef,
        into: Incoming,
        limit: u64,
    ) -> Result<Incoming, SourceError> {
        let mut locations = self.locations(at, file);
        // What was handed over and is asked for again was damaged, or lost since: other places have their turn before it.
        let again = |key: &String| self.given.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
        if let Some(index) = locations.iter().position(again) {
            let given = locations.remove(index);
            locations.push(given);
        }
        let mut missing = SourceError::new(Kind::Missing, "it is in no place");
        for key in locations {
            let object = match self.object(&key).await {
                // A client that may not list a bucket is denied an object that is not there.
                Err(error) if matches!(error.kind, Kind::Missing | Kind::Denied) => {
                    missing = error;
                    continue;
                }
                object => object?,
            };
            let into = download(object, into, limit).await?;
            let mut given = self.given.lock().unwrap_or_else(PoisonError::into_inner);
            if given.len() >= MAX_GIVEN {
                given.clear();
            }
            given.insert(key);
            drop(given);
            return Ok(into);
        }
        Err(missing)
    }

    /// Where a file of the bundle at `at` may be. In a folder of blobs above the manifest, the nearest first: in the one
    /// that the listing has, else in those that it tells nothing of. Then beside the manifest.
    fn locations(&self, at: &str, file: &FileRef) -> Vec<String> {
        let mut locations: Vec<_> = above(at).map(|folder| format!("{folder}{BLOBS}{}", file.sha256)).collect();
        if let Some(blobs) = &*self.blobs.lock().unwrap_or_else(PoisonError::into_inner) {
            match locations.iter().position(|key| blobs.contains(key)) {
                Some(listed) => locations = vec![locations.swap_remove(listed)],
                None => locations.retain(|key| !key.starts_with(&self.prefix)),
            }
        }
        locations.push(format!("{at}{}", file.file));
        locations
    }

    async fn object(&self, key: &str) -> Result<GetObjectOutput, SourceError> {
        self.client.get_object().bucket(&self.bucket).key(key).send().await.map_err(|error| explain(&error))
    }
}

/// Whether this is the key of a file that is named by its digest, in a folder of blobs.
fn is_blob(key: &str) -> bool {
    key.rsplit_once('/')
        .is_some_and(|(folder, name)| is_sha256(name) && (folder.ends_with("/blobs") || folder == "blobs"))
}

/// A folder, and all that it is in, as far as the bucket: `a/b/`, `a/`, and nothing.
fn above(folder: &str) -> impl Iterator<Item = &str> {
    successors(Some(folder), |folder| {
        let folder = folder.strip_suffix('/')?;
        Some(&folder[..folder.rfind('/').map_or(0, |slash| slash + 1)])
    })
}

/// A manifest, or another object as small.
pub(super) async fn read_small(client: &Client, bucket: &str, key: &str) -> Result<Vec<u8>, SourceError> {
    let object = client.get_object().bucket(bucket).key(key).send().await.map_err(|error| explain(&error))?;
    let mut body = object.body;
    let mut bytes = Vec::new();
    while let Some(piece) = body.next().await {
        bytes.extend_from_slice(&piece.map_err(|error| SourceError::new(Kind::InvalidResponse, error.to_string()))?);
        if bytes.len() > MAX_MANIFEST {
            return Err(SourceError::new(Kind::TooLarge, format!("at most {MAX_MANIFEST} bytes are taken")));
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blobs_are_looked_for_in_every_folder_above() {
        assert_eq!(above("a/b/1/").collect::<Vec<_>>(), ["a/b/1/", "a/b/", "a/", ""]);
        assert_eq!(above("").collect::<Vec<_>>(), [""]);
        let sha256 = "0".repeat(64);
        let source = S3Source::new(
            S3Location { bucket: "models".into(), prefix: "a/live".into(), ..S3Location::default() },
            0,
            &Environment::default(),
        );
        let file = FileRef { file: "model.onnx".into(), sha256: sha256.clone() };
        let key = |folder: &str| format!("{folder}blobs/{sha256}");
        let looked_for_in = |folders: &[&str]| {
            let beside = "a/live/iris/1/model.onnx".to_owned();
            let keys: Vec<_> = folders.iter().map(|folder| key(folder)).chain([beside]).collect();
            assert_eq!(source.locations("a/live/iris/1/", &file), keys);
        };
        // Nothing was listed yet.
        looked_for_in(&["a/live/iris/1/", "a/live/iris/", "a/live/", "a/", ""]);
        let list = |keys: &[String]| *source.blobs.lock().expect("no panic") = Some(keys.iter().cloned().collect());
        list(&[]);
        looked_for_in(&["a/", ""]);
        list(&[key("a/live/"), key("a/live/iris/")]);
        looked_for_in(&["a/live/iris/"]);
        assert!(is_blob(&key("")) && is_blob(&key("a/")) && !is_blob(&key("a")) && !is_blob("blobs/bundle.toml"));
    }
}
