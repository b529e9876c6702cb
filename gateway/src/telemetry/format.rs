//! The form of log lines: text for people, JSON for programs. Each line carries the id of the request that it was written for.

use std::{
    error::Error as StdError,
    fmt,
    io::{self, IsTerminal},
};

use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    EnvFilter,
    fmt::{
        FmtContext, FormatEvent, FormatFields, FormattedFields,
        format::{DefaultFields, Format, Full, JsonFields, Writer},
        time::{FormatTime, SystemTime},
    },
    registry::LookupSpan,
};

use super::request_id::RequestId;

/// The key of a request's id.
const REQUEST_ID: &str = "request_id";

/// The form of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// A line of text, with colours on a terminal.
    Text,
    /// One JSON object a line.
    Json,
}

impl LogFormat {
    /// Text for a person who looks on, JSON for everything else.
    pub fn of_standard_error() -> Self {
        if io::stderr().is_terminal() { Self::Text } else { Self::Json }
    }
}

/// Writes the log to standard error from now on: standard output is for the lines that a person reads at the start.
pub fn init(format: LogFormat, filter: EnvFilter) {
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    match format {
        LogFormat::Json => log.fmt_fields(JsonFields::new()).event_format(JsonLine).init(),
        LogFormat::Text => {
            let with_colours = io::stderr().is_terminal();
            let line = TextLine(Format::default().with_ansi(with_colours));
            log.with_ansi(with_colours).fmt_fields(DefaultFields::new()).event_format(line).init();
        }
    }
}

/// A line of text with the request's id at its end.
struct TextLine(Format<Full, SystemTime>);

impl<S, N> FormatEvent<S, N> for TextLine
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let id = RequestId::current().filter(|_| event.fields().all(|field| field.name() != REQUEST_ID));
        let Some(id) = id else { return self.0.format_event(context, writer, event) };
        let mut line = String::new();
        self.0.format_event(context, Writer::new(&mut line), event)?;
        writeln!(writer, "{} {REQUEST_ID}={id}", line.trim_end_matches('\n'))
    }
}

/// An object of the time, the level, the event's fields, those of the spans around it, its target and the request's id.
struct JsonLine;

impl<S, N> FormatEvent<S, N> for JsonLine
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut time = String::new();
        SystemTime.format_time(&mut Writer::new(&mut time))?;
        let mut object = Object::default();
        object.put("timestamp", &time);
        object.put("level", event.metadata().level().as_str());
        event.record(&mut object);
        // From the innermost outwards: the nearest says most.
        for span in context.event_scope().into_iter().flatten() {
            let extensions = span.extensions();
            let fields = extensions.get::<FormattedFields<N>>().map_or("", |fields| fields.fields.as_str());
            let fields: Map<String, Value> = serde_json::from_str(fields).unwrap_or_default();
            fields.iter().for_each(|(name, value)| object.put(name, value));
        }
        object.put("target", event.metadata().target());
        if let Some(id) = RequestId::current() {
            object.put(REQUEST_ID, &id.to_string());
        }
        writeln!(writer, "{{{}}}", object.text)
    }
}

/// The members of a JSON object. Of several with one name the first stays.
#[derive(Default)]
struct Object {
    text: String,
    names: Vec<String>,
}

impl Object {
    fn put(&mut self, name: &str, value: &(impl Serialize + ?Sized)) {
        let name = name.strip_prefix("r#").unwrap_or(name);
        if self.names.iter().any(|known| known == name) {
            return;
        }
        let (Ok(key), Ok(value)) = (serde_json::to_string(name), serde_json::to_string(value)) else { return };
        let comma = if self.names.is_empty() { "" } else { "," };
        self.text.extend([comma, &key, ":", &value]);
        self.names.push(name.to_owned());
    }
}

impl Visit for Object {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field.name(), &value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field.name(), &value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field.name(), &value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field.name(), &value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field.name(), value);
    }

    fn record_error(&mut self, field: &Field, value: &(dyn StdError + 'static)) {
        self.put(field.name(), &value.to_string());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field.name(), &format!("{value:?}"));
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::Write,
        sync::{Arc, Mutex},
    };

    use http::{HeaderMap, HeaderValue};
    use tracing_subscriber::fmt::MakeWriter;

    use super::*;
    use crate::telemetry::request_id::{self, enter};

    /// The lines written so far.
    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("no panic").extend(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl<'a> MakeWriter<'a> for Written {
        type Writer = Self;

        fn make_writer(&'a self) -> Self {
            self.clone()
        }
    }

    fn events() {
        let headers = HeaderMap::from_iter([(request_id::REQUEST_ID, HeaderValue::from_static("id-7"))]);
        let mut id = Some(RequestId::from_headers(&headers, 0));
        let _entered = enter(&mut id);
        let span = tracing::info_span!("load", model = "iris", version = "1");
        let _in_span = span.enter();
        tracing::warn!(rows = 3, share = 0.5, version = "2", r#type = "x", quoted = "a \"b\"\n", "two\nlines");
        tracing::info!(request_id = "own", none = None::<&str>, "named");
    }

    #[test]
    fn json_has_the_fields_of_event_spans_and_request_side_by_side() {
        let written = Written::default();
        let log = tracing_subscriber::fmt().with_writer(written.clone());
        let log = log.fmt_fields(JsonFields::new()).event_format(JsonLine).finish();
        tracing::subscriber::with_default(log, events);
        let text = String::from_utf8(written.0.lock().expect("no panic").clone()).expect("UTF-8");
        let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        let mut first = lines[0].clone();
        let time = first.as_object_mut().expect("an object").remove("timestamp").expect("a time");
        assert!(time.as_str().is_some_and(|time| time.ends_with('Z')), "{time}");
        let expected = serde_json::json!({
            "level": "WARN", "message": "two\nlines", "rows": 3, "share": 0.5, "version": "2", "type": "x",
            "quoted": "a \"b\"\n", "model": "iris", "target": "modelgate::telemetry::format::tests", "request_id": "id-7",
        });
        assert_eq!(first, expected);
        assert_eq!((&lines[1]["request_id"], lines[1].get("none")), (&"own".into(), None));
        assert_eq!(lines.len(), 2);
    }

    #[test]
    fn text_ends_in_the_id() {
        let written = Written::default();
        let line = TextLine(Format::default().with_ansi(false));
        let log = tracing_subscriber::fmt().with_ansi(false).with_writer(written.clone()).event_format(line).finish();
        tracing::subscriber::with_default(log, events);
        let text = String::from_utf8(written.0.lock().expect("no panic").clone()).expect("UTF-8");
        assert!(text.contains("load{model=\"iris\" version=\"1\"}") && text.contains(" request_id=id-7\n"), "{text}");
        assert!(text.contains("request_id=\"own\"") && text.matches("id-7").count() == 1, "{text}");
    }
}
