//! The log and the traces. The log goes to standard error, as text or as one JSON object per line; `RUST_LOG` sets its
//! level, in the syntax of tracing-subscriber's `EnvFilter`. Traces go to a collector by OTLP over HTTP if
//! OpenTelemetry's own variables (such as `OTEL_EXPORTER_OTLP_ENDPOINT`,
//! <https://opentelemetry.io/docs/specs/otel/protocol/exporter/>) name one. They continue the caller's trace if the
//! request has one (W3C Trace Context, <https://www.w3.org/TR/trace-context/>).

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

/// The filter without `RUST_LOG`. NATS's client logs every attempt to reconnect, the migration library logs every
/// migration, and the SDK of MCP logs every request several times; this server logs each outage once, all migrations in
/// one line, and no request that succeeds.
const DEFAULT_FILTER: &str = "info,sqlx=warn,async_nats=off,sea_orm_migration=warn,rmcp=off";

/// An upper bound for `RUST_LOG`: at lower levels, libraries log the bytes of requests and sockets, which contain
/// tokens and texts.
fn maximum_levels() -> Targets {
    Targets::new().with_default(LevelFilter::INFO).with_target("antiphon", LevelFilter::TRACE)
}

/// Timeout for a collector if `OTEL_EXPORTER_OTLP_TIMEOUT` is not set.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(10);

/// Largest response read from a collector, in bytes.
const MAX_RESPONSE_BYTES: u64 = 64 * 1024;

/// Telemetry that must be finished before the process ends.
#[must_use = "traces that are not sent yet are lost with the process"]
pub struct Telemetry {
    traces: Option<SdkTracerProvider>,
}

impl Telemetry {
    /// Starts the log and, if configured, the traces. Must be called once, before anything else.
    ///
    /// # Errors
    /// A variable is invalid, or a logger is already installed.
    pub fn start(format: LogFormat) -> anyhow::Result<Self> {
        let filter = env::var("RUST_LOG").ok().filter(|filter| !filter.trim().is_empty());
        let filter = EnvFilter::try_new(filter.as_deref().unwrap_or(DEFAULT_FILTER))
            .context("RUST_LOG is invalid; an example is \"info,antiphon=debug\"")?;
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
        let traces = if are_traces_wanted() { Some(provider().context("cannot send traces")?) } else { None };
        if traces.is_some() && are_callers_traces_continued() {
            global::set_text_map_propagator(TraceContextPropagator::new());
        }
        let spans = traces.as_ref().map(|provider| {
            tracing_opentelemetry::layer()
                .with_tracer(provider.tracer("antiphon"))
                .with_location(false)
                .with_threads(false)
                .with_tracked_inactivity(false)
                // The same spans as in the log, and none of the libraries: the exporter would trace its own requests.
                .with_filter(Targets::new().with_target("antiphon", LevelFilter::INFO))
        });
        let log = log.with_filter(filter).with_filter(maximum_levels());
        let started = tracing_subscriber::registry().with(log).with(spans).try_init();
        started.map_err(|error| anyhow!("cannot start the log: {error}"))?;
        Ok(Self { traces })
    }

    /// Sends the remaining traces, for a few seconds at most.
    pub async fn finish(self) {
        let Some(traces) = self.traces else { return };
        // It blocks on the exporter's thread.
        match tokio::task::spawn_blocking(move || traces.shutdown()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "cannot send the last traces"),
            Err(error) => tracing::error!(%error, "cannot stop the traces"),
        }
    }
}

/// Traces are sent only if a collector is named. The specification's default is a collector on this machine, which most
/// machines do not have.
fn are_traces_wanted() -> bool {
    let is = |name: &str, value: &str| env::var(name).is_ok_and(|given| given.trim().eq_ignore_ascii_case(value));
    let is_given = |name: &str| env::var(name).is_ok_and(|given| !given.trim().is_empty());
    !is("OTEL_SDK_DISABLED", "true")
        && !is("OTEL_TRACES_EXPORTER", "none")
        && (is("OTEL_TRACES_EXPORTER", "otlp")
            || is_given("OTEL_EXPORTER_OTLP_ENDPOINT")
            || is_given("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"))
}

/// Whether `OTEL_PROPAGATORS` includes `tracecontext`, the only supported propagator.
fn are_callers_traces_continued() -> bool {
    let given = env::var("OTEL_PROPAGATORS").unwrap_or_default();
    given.trim().is_empty() || given.split(',').any(|name| name.trim().eq_ignore_ascii_case("tracecontext"))
}

fn provider() -> anyhow::Result<SdkTracerProvider> {
    for name in ["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"] {
        let protocol = env::var(name).unwrap_or_default();
        ensure!(
            matches!(protocol.trim(), "" | "http/protobuf"),
            "{name} is {protocol:?}, but this server supports only http/protobuf (port 4318 of most collectors)"
        );
    }
    let timeout = ["OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT"].into_iter().find_map(|name| {
        // In milliseconds, as OpenTelemetry specifies.
        env::var(name).ok()?.trim().parse().ok().map(Duration::from_millis)
    });
    let config = ureq::Agent::config_builder()
        .timeout_global(Some(timeout.unwrap_or(EXPORT_TIMEOUT)))
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

/// HTTP client of the exporter. It can block, since the exporter has its own thread.
#[derive(Debug)]
struct Collector(ureq::Agent);

impl Collector {
    fn post(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let (head, body) = request.into_parts();
        let (head, mut body) = self.0.run(Request::from_parts(head, &body[..]))?.into_parts();
        let body = body.with_config().limit(MAX_RESPONSE_BYTES).read_to_vec()?;
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
