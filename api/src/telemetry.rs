//! The log and the traces. The log goes to standard error, for people or as one JSON object a line; `RUST_LOG` says how much,
//! in the words of tracing-subscriber's `EnvFilter`. Traces go to a collector by OTLP over HTTP, where OpenTelemetry's own
//! variables (`OTEL_EXPORTER_OTLP_ENDPOINT` and the like,
//! <https://opentelemetry.io/docs/specs/otel/protocol/exporter/>) name one, and then continue the trace of a caller who says
//! which it is (W3C Trace Context, <https://www.w3.org/TR/trace-context/>).

use std::{
    env,
    future::ready,
    io::{IsTerminal, stderr},
    pin::Pin,
    time::Duration,
};

use anyhow::{Context, anyhow, ensure};
use opentelemetry::{global, trace::TracerProvider};
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::{Resource, propagation::TraceContextPropagator, trace::SdkTracerProvider};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::{EnvFilter, Layer, filter::Targets, layer::SubscriberExt, util::SubscriberInitExt};

use crate::config::LogFormat;

/// What is logged where `RUST_LOG` is not set. What NATS's client says of each attempt, we say of each outage, and the migrations
/// that are applied are named in one line.
const DEFAULT_FILTER: &str = "info,sqlx=warn,async_nats=off,sea_orm_migration=warn";

/// What is logged at most, whatever `RUST_LOG` asks for: below this, libraries log the bytes of requests and of sockets, with the
/// tokens and texts in them.
fn at_most() -> Targets {
    Targets::new().with_default(LevelFilter::INFO).with_target("antiphon", LevelFilter::TRACE)
}

/// How long a collector may take, where `OTEL_EXPORTER_OTLP_TIMEOUT` does not say.
const EXPORT_TIME: Duration = Duration::from_secs(10);

/// Most of a collector's answer that is read, in bytes.
const MAX_ANSWER_BYTES: u64 = 64 * 1024;

/// What is to be finished before the process ends.
#[must_use = "traces that are not sent yet are lost with the process"]
pub struct Telemetry {
    traces: Option<SdkTracerProvider>,
}

impl Telemetry {
    /// Starts the log and, where they are configured, the traces; to be called once, before anything else.
    ///
    /// # Errors
    /// A variable is not usable, or something else logs already.
    pub fn start(format: LogFormat) -> anyhow::Result<Self> {
        let filter = env::var("RUST_LOG").ok().filter(|filter| !filter.trim().is_empty());
        let filter = EnvFilter::try_new(filter.as_deref().unwrap_or(DEFAULT_FILTER))
            .context("RUST_LOG is not usable; an example is \"info,antiphon=debug\"")?;
        let is_text = match format {
            LogFormat::Auto => stderr().is_terminal(),
            LogFormat::Text => true,
            LogFormat::Json => false,
        };
        let log = tracing_subscriber::fmt::layer().with_writer(stderr);
        let log = if is_text {
            log.with_ansi(stderr().is_terminal()).boxed()
        } else {
            log.json().flatten_event(true).boxed()
        };
        let traces = if are_traces_wanted() { Some(provider().context("traces cannot be sent")?) } else { None };
        if traces.is_some() && are_callers_traces_continued() {
            global::set_text_map_propagator(TraceContextPropagator::new());
        }
        let spans = traces.as_ref().map(|provider| {
            tracing_opentelemetry::layer()
                .with_tracer(provider.tracer("antiphon"))
                .with_location(false)
                .with_threads(false)
                .with_tracked_inactivity(false)
                // Whatever is logged, and nothing of the libraries: what sends the traces would trace itself.
                .with_filter(Targets::new().with_target("antiphon", LevelFilter::INFO))
        });
        let log = log.with_filter(filter).with_filter(at_most());
        let started = tracing_subscriber::registry().with(log).with(spans).try_init();
        started.map_err(|error| anyhow!("the log cannot be started: {error}"))?;
        Ok(Self { traces })
    }

    /// Sends the traces that wait to be sent, for some seconds at most.
    pub async fn finish(self) {
        let Some(traces) = self.traces else { return };
        // It waits for a thread of its own.
        match tokio::task::spawn_blocking(move || traces.shutdown()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "the last traces could not be sent"),
            Err(error) => tracing::error!(%error, "the traces could not be ended"),
        }
    }
}

/// Traces are sent where a collector is named; only then, for the specification's default of a collector on this machine would
/// have every laptop complain that there is none.
fn are_traces_wanted() -> bool {
    let is = |name: &str, value: &str| env::var(name).is_ok_and(|given| given.trim().eq_ignore_ascii_case(value));
    let is_given = |name: &str| env::var(name).is_ok_and(|given| !given.trim().is_empty());
    !is("OTEL_SDK_DISABLED", "true")
        && !is("OTEL_TRACES_EXPORTER", "none")
        && (is("OTEL_TRACES_EXPORTER", "otlp")
            || is_given("OTEL_EXPORTER_OTLP_ENDPOINT")
            || is_given("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"))
}

/// `OTEL_PROPAGATORS` lists what to read of requests' headers; only W3C's `traceparent` and `tracestate` are understood.
fn are_callers_traces_continued() -> bool {
    let given = env::var("OTEL_PROPAGATORS").unwrap_or_default();
    given.trim().is_empty() || given.split(',').any(|name| name.trim().eq_ignore_ascii_case("tracecontext"))
}

fn provider() -> anyhow::Result<SdkTracerProvider> {
    for name in ["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"] {
        let protocol = env::var(name).unwrap_or_default();
        ensure!(
            matches!(protocol.trim(), "" | "http/protobuf"),
            "{name} is {protocol:?}, and this server speaks http/protobuf alone (port 4318 of most collectors)"
        );
    }
    let timeout = ["OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT"].into_iter().find_map(|name| {
        // Milliseconds, as OpenTelemetry has it.
        env::var(name).ok()?.trim().parse().ok().map(Duration::from_millis)
    });
    let config = ureq::Agent::config_builder()
        .timeout_global(Some(timeout.unwrap_or(EXPORT_TIME)))
        .http_status_as_error(false)
        .max_redirects(0);
    let exporter = SpanExporter::builder()
        .with_http()
        .with_protocol(Protocol::HttpBinary)
        .with_http_client(Collector(config.build().into()))
        .build()?;
    let mut resource = Resource::builder();
    if env::var_os("OTEL_SERVICE_NAME").is_none() {
        resource = resource.with_service_name("antiphon");
    }
    Ok(SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource.build()).build())
}

/// Posts to a collector. It blocks, as the exporter has a thread of its own.
#[derive(Debug)]
struct Collector(ureq::Agent);

impl Collector {
    fn post(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let (head, body) = request.into_parts();
        let (head, mut body) = self.0.run(Request::from_parts(head, &body[..]))?.into_parts();
        let body = body.with_config().limit(MAX_ANSWER_BYTES).read_to_vec()?;
        Ok(Response::from_parts(head, body.into()))
    }
}

impl HttpClient for Collector {
    fn send_bytes<'s, 'f>(
        &'s self,
        request: Request<Bytes>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'f>>
    where
        's: 'f,
        Self: 'f,
    {
        Box::pin(ready(self.post(request)))
    }
}
