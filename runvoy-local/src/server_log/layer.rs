use std::fmt;

use runvoy_core::clock::{Clock as _, SystemClock};
use runvoy_core::id::RequestId;
use runvoy_core::port::TraceLevel;
use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record as Values};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

use super::record::{Record, cut};
use super::writer::Queue;

/// The field that says which request a line is of.
const REQUEST: &str = "request.id";
/// The field that is a line's text.
const MESSAGE: &str = "message";
/// Whose debug lines tell of single requests.
const REQUESTS: &str = "runvoy_core::http";

/// The server's own life, and how each request was answered. Not what this log says of itself.
pub(super) fn filter() -> Targets {
    Targets::new()
        .with_default(LevelFilter::INFO)
        .with_target(REQUESTS, LevelFilter::DEBUG)
        .with_target(env!("CARGO_CRATE_NAME").to_owned() + "::server_log", LevelFilter::OFF)
}

/// Puts events into the log, each with the fields of the spans that it happens in.
pub(super) struct RecordLayer {
    queue: Queue,
}

impl RecordLayer {
    pub(super) fn new(queue: Queue) -> Self {
        Self { queue }
    }
}

impl<S> Layer<S> for RecordLayer
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let mut said = Said::default();
        attributes.record(&mut said);
        span.extensions_mut().insert(said);
    }

    fn on_record(&self, id: &Id, values: &Values<'_>, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        if let Some(said) = span.extensions_mut().get_mut::<Said>() {
            values.record(said);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut said = Said::default();
        event.record(&mut said);
        for span in context.event_scope(event).into_iter().flatten() {
            if let Some(outer) = span.extensions().get::<Said>() {
                said.within(outer);
            }
        }
        let Said { request, message, fields } = said;
        let (level, target) = (level(*event.metadata().level()), event.metadata().target().to_owned());
        self.queue.send(&Record { at: SystemClock.now(), level, target, request, message, fields });
    }
}

fn level(level: Level) -> TraceLevel {
    match level {
        Level::ERROR => TraceLevel::Error,
        Level::WARN => TraceLevel::Warn,
        Level::INFO => TraceLevel::Info,
        Level::DEBUG => TraceLevel::Debug,
        Level::TRACE => TraceLevel::Trace,
    }
}

/// What an event or a span says.
#[derive(Default)]
struct Said {
    request: Option<RequestId>,
    message: String,
    fields: Map<String, Value>,
}

impl Said {
    /// Adds what is said around it; what it says itself stands.
    fn within(&mut self, outer: &Self) {
        self.request = self.request.or(outer.request);
        for (name, value) in &outer.fields {
            if !self.fields.contains_key(name) {
                self.fields.insert(name.clone(), value.clone());
            }
        }
    }

    fn set(&mut self, field: &Field, value: Value) {
        self.fields.insert(field.name().to_owned(), value);
    }
}

impl Visit for Said {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            MESSAGE => self.message = cut(value),
            REQUEST if value.parse::<RequestId>().is_ok() => self.request = value.parse().ok(),
            _ => self.set(field, cut(value).into()),
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.record_str(field, &format!("{value:?}"));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.set(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.set(field, value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.set(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.set(field, value.into());
    }
}
