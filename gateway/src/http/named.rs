//! The model that a request names outside of its body: in the path, in `?model=`, in the header `X-Model`.

use std::borrow::Cow;

use axum::http::{HeaderMap, HeaderName, request::Parts};
use percent_encoding::percent_decode;

use crate::{error::Error, oip::shown};

/// Names a model, percent-encoded where it has letters beyond ASCII.
const MODEL: HeaderName = HeaderName::from_static("x-model");

/// The only one that is named.
///
/// # Errors
/// Two places that name different models, and a name that is no UTF-8.
pub(super) fn model<'r>(path: Option<&'r str>, head: &'r Parts) -> Result<Option<Cow<'r, str>>, Error> {
    let query = head.uri.query().filter(|query| !query.is_empty()).map_or(Ok(None), in_query)?;
    let places = [("its path", path.map(Cow::Borrowed)), ("?model=", query), ("X-Model", in_header(&head.headers)?)];
    let mut named: Option<(&str, Cow<'r, str>)> = None;
    for (place, name) in places.into_iter().filter_map(|(place, name)| Some((place, name?))) {
        match &named {
            Some((first, other)) if *other != name => {
                return Err(Error::BadRequest(format!(
                    "a request is for one model: {first} names '{}', {place} names '{}'",
                    shown(other),
                    shown(&name)
                )));
            }
            Some(_) => {}
            None => named = Some((place, name)),
        }
    }
    Ok(named.map(|(_, name)| name))
}

/// The name that the header has.
///
/// # Errors
/// A name that is no UTF-8, or two of them.
pub(crate) fn in_header(headers: &HeaderMap) -> Result<Option<Cow<'_, str>>, Error> {
    let Some(value) = headers.get(MODEL) else { return Ok(None) };
    if headers.get_all(MODEL).iter().any(|other| other != value) {
        return Err(Error::BadRequest("a request is for one model: X-Model names several".into()));
    }
    decoded(value.as_bytes(), "X-Model").map(Some)
}

/// The name in a query, as forms encode it.
fn in_query(query: &str) -> Result<Option<Cow<'_, str>>, Error> {
    let mut values = query.split('&').filter_map(|pair| pair.strip_prefix("model="));
    let Some(value) = values.next() else { return Ok(None) };
    if let Some(other) = values.find(|other| *other != value) {
        let (name, other) = (shown(value), shown(other));
        return Err(Error::BadRequest(format!("a request is for one model: ?model= names '{name}' and '{other}'")));
    }
    if value.contains('+') {
        let spaced = value.replace('+', " ");
        return decoded(spaced.as_bytes(), "?model=").map(|name| Some(name.into_owned().into()));
    }
    decoded(value.as_bytes(), "?model=").map(Some)
}

fn decoded<'t>(text: &'t [u8], place: &str) -> Result<Cow<'t, str>, Error> {
    let name = percent_decode(text).decode_utf8();
    name.map_err(|_| Error::BadRequest(format!("{place}: expected a model's name in UTF-8")))
}

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;

    fn named(path: Option<&str>, uri: &str, headers: &[&[u8]]) -> Result<Option<String>, String> {
        let request =
            headers.iter().fold(Request::builder().uri(uri), |request, value| request.header("x-model", *value));
        let (head, ()) = request.body(()).expect("a request").into_parts();
        model(path, &head).map(|name| name.map(Cow::into_owned)).map_err(|error| error.to_string())
    }

    #[test]
    fn one_model_is_named_in_any_place() {
        let name = |text: &str| Ok(Some(text.to_owned()));
        assert_eq!(named(None, "/predict", &[]), Ok(None));
        assert_eq!(named(None, "/predict?outputs=all", &[]), Ok(None));
        assert_eq!(named(Some("m"), "/predict/m?model=m", &[b"m"]), name("m"));
        assert_eq!(named(None, "/predict?outputs=all&model=a+b", &[]), name("a b"));
        assert_eq!(named(None, "/predict?model=a%2Bb%20c", &[b"a%2bb c"]), name("a+b c"));
        assert_eq!(named(None, "/predict", &["模型一".as_bytes()]), name("模型一"));
        assert_eq!(named(None, "/predict?model=%E6%A8%A1", &[]), name("模"));
        for (path, uri, headers) in [
            (Some("m"), "/x?model=n", &[][..]),
            (Some("m"), "/x", &[&b"n"[..]]),
            (None, "/x?model=m", &[b"n"]),
            (None, "/x?model=m&model=n", &[]),
            (None, "/x", &[b"m", b"n"]),
            (None, "/x?model=%ff", &[]),
            (None, "/x", &[b"\xff"]),
        ] {
            assert!(named(path, uri, headers).is_err(), "{path:?} {uri} {headers:?}");
        }
    }
}
