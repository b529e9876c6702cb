//! Answers of sources: an `MLmodel`, a registry's JSON and artifacts, a bucket's listings.

mod server;

use std::{
    cell::LazyCell,
    collections::VecDeque,
    sync::{Mutex, PoisonError},
};

use modelgate_bundle::release::Content;
use modelgate_sources::{
    Listing, SourceError,
    untrusted::{self, Bucket, Registry},
};
use tokio::runtime::{Builder, Runtime};

use crate::{
    memory::{self, Allowance},
    schema::is_short,
};

/// Memory of an `MLmodel`.
const MLMODEL: Allowance = Allowance { factor: 64, floor: 64 << 10 };

/// Memory of a look: the SDK makes hundreds of bytes of an element of ten.
const LOOK: Allowance = Allowance { factor: 128, floor: 4 << 20 };

/// Between the answers of one input.
const NEXT: &[u8] = b"\n---\n";

/// The answers that are still to be given, in the order of the requests.
static ANSWERS: Mutex<VecDeque<Vec<u8>>> = Mutex::new(VecDeque::new());

fn answer_with(input: &[u8]) {
    let mut answers = ANSWERS.lock().unwrap_or_else(PoisonError::into_inner);
    answers.clear();
    let mut rest = input;
    while let Some(at) = rest.windows(NEXT.len()).position(|piece| piece == NEXT) {
        answers.push_back(rest[..at].to_vec());
        rest = &rest[at + NEXT.len()..];
    }
    answers.push_back(rest.to_vec());
}

/// The status and the body for the next request. A body behind `!` is that of something that is not there.
fn next_answer() -> (u16, Vec<u8>) {
    match ANSWERS.lock().unwrap_or_else(PoisonError::into_inner).pop_front() {
        Some(body) if body.first() == Some(&b'!') => (404, body[1..].to_vec()),
        Some(body) => (200, body),
        None => (404, Vec::new()),
    }
}

thread_local! {
    static RUNTIME: LazyCell<Runtime> =
        LazyCell::new(|| Builder::new_current_thread().enable_all().build().expect("a runtime"));
    static REGISTRIES: LazyCell<[Registry; 2]> = LazyCell::new(|| {
        let address = server::start(next_answer);
        ["models:/m@best", "models:/m/latest"].map(|model| Registry::new(model, &address).expect("a model"))
    });
    static BUCKET: LazyCell<Bucket> = LazyCell::new(|| Bucket::new(|uri| {
        if uri.contains("list-type=2") { next_answer() } else { (200, MANIFEST.to_vec()) }
    }));
}

/// The manifest of every bundle in the bucket.
const MANIFEST: &[u8] = b"format = 1\nname = 'm'\nversion = '1'\n[[stage]]\nname = 'p'\nmodule = 'builtin:predict'\n";

/// An `MLmodel`: what is said of it is short.
pub fn mlmodel(text: &[u8]) {
    let text = String::from_utf8_lossy(text);
    let found = memory::within(MLMODEL, text.len(), || untrusted::mlmodel(&text));
    if let Err(problem) = found {
        assert!(problem.len() <= text.len() + 200, "{problem}");
    }
}

/// Answers of a registry, one after the other: for a version that an alias names, and for the newest.
pub fn registry(input: &[u8]) {
    REGISTRIES.with(|registries| {
        for registry in registries.iter() {
            answer_with(input);
            let looked = RUNTIME.with(|runtime| runtime.block_on(registry.list()));
            listed(looked);
        }
    });
}

/// Listings of a bucket, page by page; every manifest in it is the same.
pub fn s3_listing(input: &[u8]) {
    BUCKET.with(|bucket| {
        answer_with(input);
        let look = || RUNTIME.with(|runtime| runtime.block_on(bucket.list()));
        listed(memory::within(LOOK, input.len(), look));
    });
}

/// Panics where a look found what no source may offer.
fn listed(looked: Result<Listing, SourceError>) {
    match looked {
        Ok(listing) => {
            listing.problems.iter().for_each(|problem| is_short(problem));
            for release in &listing.releases {
                assert!(release.id.len() == 64 && !release.model.is_empty(), "{release:?}");
                if let Content::Unservable { reason } = &release.content {
                    is_short(reason);
                }
            }
            let offered = listing.releases.len();
            assert!(listing.without_doubles().releases.len() <= offered);
        }
        Err(error) => is_short(&error.to_string()),
    }
}
