//! The methods of the protocol.

use std::{borrow::Cow, panic::AssertUnwindSafe, sync::Arc};

use async_graphql::parser::types::OperationType;
use futures::FutureExt;
use parking_lot::Mutex;
use rmcp::{
    ErrorData, RoleServer, ServerHandler,
    model::{
        CallToolRequestParams, CallToolResponse, CustomRequest, CustomResult, ErrorCode, Implementation,
        InitializeRequestParams, InitializeResult, ListResourceTemplatesResult, ListResourcesResult, ListToolsResult,
        Notification, PaginatedRequestParams, ProtocolVersion, ReadResourceRequestParams, ReadResourceResponse,
        ResourceListChangedNotification, ResourceTemplate, ResourceUpdatedNotificationParam, ServerCapabilities,
        ServerConfig, ServerNotification, SubscribeRequestParams, SubscriptionFilter, Tool, UnsubscribeRequestParams,
    },
    service::{RequestContext, SubscriptionContext},
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use super::{
    answer,
    call::{self, Call},
    params, resources,
    sessions::{ClientName, Session, Watched},
    stream, tools, uri,
    watch::{Notice, Watch},
};
use crate::{
    domain::profile,
    graphql::execution::in_time,
    model::{actor::Actor, error::Error},
    transport::{auth, state::AppState},
};

const INSTRUCTIONS: &str = "Antiphon keeps the conversation and the code of a project in one history. Every write is a \
revision. Begin with list_projects and list_files. Read a file before you change it, and pass the version that you have \
read as `expectedVersion` to write_file; if somebody has changed the file since, the result is a CONFLICT with the \
present version. Pass a short reason as `message` to tools that write. history, blame and diff show what was done and \
why; undo and restore take it back.";

/// The protocol versions that are served. 2025-03-26 is not: its servers must accept batches.
const VERSIONS: &[ProtocolVersion] = &[
    ProtocolVersion::V_2024_11_05,
    ProtocolVersion::V_2025_06_18,
    ProtocolVersion::V_2025_11_25,
    ProtocolVersion::V_2026_07_28,
];

/// The session that a request has started, or why it could not.
pub type Started = Arc<Mutex<Option<Result<Arc<Session>, Error>>>>;

/// Serves one request.
#[derive(Clone)]
pub struct Handler {
    state: AppState,
    actor: Actor,
    session: Option<Arc<Session>>,
    started: Started,
    /// Cancelled when the client cancels the request.
    cancelled: CancellationToken,
    /// What a `subscriptions/listen` watches, or why it cannot.
    listening: Result<watch::Sender<Watched>, Error>,
    request_id: String,
    span: tracing::Span,
}

impl Handler {
    /// A handler of a request of this caller.
    pub fn new(
        state: AppState,
        actor: Actor,
        session: Option<Arc<Session>>,
        started: Started,
        cancelled: CancellationToken,
        request_id: String,
    ) -> Self {
        let listening = Ok(watch::Sender::default());
        Self { state, actor, session, started, cancelled, listening, request_id, span: tracing::Span::current() }
    }

    fn call(&self, context: &RequestContext<RoleServer>) -> Call {
        let client = match &self.session {
            Some(session) => session.client.clone(),
            None => {
                let info = context.meta.client_info();
                info.map_or_else(|| ClientName::new("", ""), |info| ClientName::new(&info.name, &info.version))
            }
        };
        let (services, actor, session) = (self.state.services.clone(), self.actor.clone(), self.session.clone());
        Call::new(services, actor, session, client, self.cancelled.clone())
    }

    /// Runs the work of a request in a separate task, so that a client that disconnects cannot stop it halfway. A read
    /// ends when the client cancels the request; a write decides itself.
    async fn run<T: Send + 'static>(
        &self,
        kind: OperationType,
        name: &str,
        work: impl Future<Output = Result<T, Error>> + Send + 'static,
    ) -> Result<T, Error> {
        let (state, actor) = (self.state.clone(), self.actor.clone());
        let measured = state.measure(kind, Some(&format!("mcp {name}")), true, &self.request_id);
        let (tasks, cancelled) = (state.tasks.clone(), self.cancelled.clone());
        let run = async move {
            profile::meet(&state.services, &actor).await;
            let work = AssertUnwindSafe(in_time(&state.limits, Box::pin(work))).catch_unwind();
            let done = tokio::select! {
                biased;
                () = cancelled.cancelled(), if kind == OperationType::Query => return Err(call::cancelled()),
                done = measured.run(work) => done,
            };
            let done = match done {
                Ok(Ok(done)) => done,
                Ok(Err(too_long)) => Err(too_long),
                Err(_) => Err(Error::internal("a request of MCP panicked")),
            };
            measured.ended(done.as_ref().map_or_else(Error::code, |_| "OK"));
            done
        };
        tasks.spawn(run.instrument(self.span.clone())).await.unwrap_or_else(|error| Err(Error::internal(error)))
    }

    /// Runs a read. A read that fails on a replica is repeated on the primary, as in the API.
    async fn read<T, F>(
        &self,
        context: &RequestContext<RoleServer>,
        name: &str,
        read: impl Fn(Call) -> F,
    ) -> Result<T, Error>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Error>> + Send + 'static,
    {
        let call = self.call(context);
        let reader = call.reader.clone();
        let done = self.run(OperationType::Query, name, read(call)).await;
        if done.is_ok() || !reader.has_used_replica() {
            return done;
        }
        self.run(OperationType::Query, name, read(self.call_of_present(context))).await
    }

    /// A request that reads what only the primary has.
    fn call_of_present(&self, context: &RequestContext<RoleServer>) -> Call {
        let call = self.call(context);
        call.reader.need_the_present();
        call
    }

    /// Begins to watch what a `subscriptions/listen` asks for. The SDK acknowledges such a request before its handler
    /// runs, and the client must not miss a change after that.
    pub async fn begin_listening(&mut self, filter: SubscriptionFilter) {
        let watched = watch::Sender::<Watched>::default();
        let (sender, client) = (watched.clone(), ClientName::new("", ""));
        let (services, actor) = (self.state.services.clone(), self.actor.clone());
        let call = Call::new(services, actor, None, client, self.cancelled.clone());
        call.reader.need_the_present();
        let work = async move {
            for uri in filter.resource_subscriptions.iter().flatten() {
                resources::subscribe(&call, &sender, uri).await?;
            }
            if filter.resources_list_changed == Some(true) {
                resources::watch_lists(&call, &sender).await?;
            }
            Ok(())
        };
        let begun = self.run(OperationType::Query, "subscriptions/listen", work).await;
        self.listening = begun.map(|()| watched);
    }

    fn protocol_error(&self, error: &Error) -> ErrorData {
        answer::protocol_error(error, &self.request_id)
    }

    /// The session of a request that needs one.
    fn session(&self) -> Result<Arc<Session>, ErrorData> {
        let missing = || ErrorData::invalid_request("Subscriptions need a session: send its Mcp-Session-Id.", None);
        self.session.clone().ok_or_else(missing)
    }
}

impl ServerHandler for Handler {
    fn get_info(&self) -> ServerConfig {
        let capabilities = ServerCapabilities::builder()
            .enable_tools()
            .enable_resources()
            .enable_resources_subscribe()
            .enable_resources_list_changed()
            .build();
        let server = Implementation::new("antiphon", env!("CARGO_PKG_VERSION"));
        ServerConfig::new(capabilities).with_server_info(server).with_instructions(INSTRUCTIONS)
    }

    async fn initialize(
        &self,
        request: InitializeRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<InitializeResult, ErrorData> {
        let mut result = self.negotiate_initialize(&request)?;
        if request.protocol_version == ProtocolVersion::V_2025_03_26 {
            // A client of this version may not know the later ones, which the SDK offers.
            result.protocol_version = ProtocolVersion::V_2024_11_05;
        }
        context.peer.set_peer_info(request.clone());
        let client = ClientName::new(&request.client_info.name, &request.client_info.version);
        let started = self.state.mcp_sessions.start(self.actor.user_id, client);
        *self.started.lock() = Some(started.clone());
        started.map(|_| result).map_err(|error| self.protocol_error(&error))
    }

    async fn list_tools(
        &self,
        _request: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        Ok(ListToolsResult {
            tools: tools::all().iter().map(|tool| tool.definition.clone()).collect(),
            ..ListToolsResult::default()
        })
    }

    fn get_tool(&self, name: &str) -> Option<Tool> {
        tools::find(name).map(|tool| tool.definition.clone())
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let Some(tool) = tools::find(&request.name) else {
            let message = format!("Unknown tool: {}. tools/list has all tools.", request.name);
            return Err(self.protocol_error(&Error::bad_input("name", message)));
        };
        let (name, arguments) = (&tool.definition.name, request.arguments.unwrap_or_default());
        let answer = if tool.is_read_only() {
            self.read(&context, name, |call| (tool.run)(call, arguments.clone())).await
        } else {
            let work = (tool.run)(self.call_of_present(&context), arguments);
            self.run(OperationType::Mutation, name, work).await
        };
        Ok(answer::result(answer, &self.request_id).into())
    }

    async fn list_resources(
        &self,
        request: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListResourcesResult, ErrorData> {
        let cursor = request.and_then(|request| request.cursor);
        let list = |call: Call| {
            let cursor = cursor.clone();
            async move { resources::list(&call, cursor).await }
        };
        let listed = self.read(&context, "resources/list", list).await;
        listed.map_err(|error| self.protocol_error(&error))
    }

    async fn list_resource_templates(
        &self,
        _request: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListResourceTemplatesResult, ErrorData> {
        let template = ResourceTemplate::new(uri::TEMPLATE, "file")
            .with_title("A file of a project")
            .with_description("The present content of a file. The path is percent-encoded.");
        Ok(ListResourceTemplatesResult { resource_templates: vec![template], ..ListResourceTemplatesResult::default() })
    }

    async fn read_resource(
        &self,
        request: ReadResourceRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<ReadResourceResponse, ErrorData> {
        let read = |call: Call| {
            let uri = request.uri.clone();
            async move { resources::read(&call, &uri).await }
        };
        let read = self.read(&context, "resources/read", read).await;
        read.map(Into::into).map_err(|error| self.protocol_error(&error))
    }

    async fn subscribe(
        &self,
        request: SubscribeRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        let (session, call) = (self.session()?, self.call_of_present(&context));
        let work = async move { resources::subscribe(&call, &session.watched, &request.uri).await };
        let done = self.run(OperationType::Query, "resources/subscribe", work).await;
        done.map_err(|error| self.protocol_error(&error))
    }

    async fn unsubscribe(
        &self,
        request: UnsubscribeRequestParams,
        _context: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        let session = self.session()?;
        resources::unsubscribe(&session.watched, &request.uri).map_err(|error| self.protocol_error(&error))
    }

    async fn on_custom_request(
        &self,
        request: CustomRequest,
        _context: RequestContext<RoleServer>,
    ) -> Result<CustomResult, ErrorData> {
        let CustomRequest { method, params, .. } = request;
        Err(match params::refuse(&method, params) {
            Some(error) => self.protocol_error(&error),
            None => {
                let unknown = Error::bad_input("", format!("Unknown method: {method}."));
                let error = self.protocol_error(&unknown);
                ErrorData::new(ErrorCode::METHOD_NOT_FOUND, error.message, error.data)
            }
        })
    }

    fn supported_protocol_versions(&self) -> Cow<'static, [ProtocolVersion]> {
        Cow::Borrowed(VERSIONS)
    }

    fn accepted_subscription_filter(&self, requested: &SubscriptionFilter) -> Option<SubscriptionFilter> {
        Some(requested.clone())
    }

    /// Protocol versions from 2026-07-28 have this stream instead of sessions.
    async fn listen(&self, context: SubscriptionContext) -> Result<(), ErrorData> {
        let place = self.state.throttle.open_socket(self.actor.user_id);
        let _place = place.map_err(|error| self.protocol_error(&error))?;
        let watched = self.listening.clone().map_err(|error| self.protocol_error(&error))?;
        let (live, services) = (self.state.executor.live.clone(), self.state.services.clone());
        let mut watch = Watch::new(live, services, self.actor.clone(), watched);
        let mut heartbeat = self.state.heartbeat();
        let mut expired = std::pin::pin!(tokio::time::sleep(auth::time_left(Some(&self.actor))));
        let measured = self.state.measure(OperationType::Subscription, Some("mcp stream"), true, &self.request_id);
        loop {
            let notice = tokio::select! {
                biased;
                () = self.state.shutdown.cancelled() => return Ok(()),
                () = context.cancelled() => return Ok(()),
                () = &mut expired => return Ok(()),
                notice = watch.next() => notice.map_err(|error| self.protocol_error(&error))?,
                _ = heartbeat.tick() => {
                    if stream::is_revoked(&self.state, &self.actor).await {
                        return Ok(());
                    }
                    continue;
                }
            };
            measured.delivered();
            if context.sink().send(notification(notice)).await.is_err() {
                return Ok(());
            }
        }
    }
}

fn notification(notice: Notice) -> ServerNotification {
    match notice {
        Notice::Updated(uri) => ServerNotification::ResourceUpdatedNotification(Notification::new(
            ResourceUpdatedNotificationParam::new(uri),
        )),
        Notice::ListChanged => {
            ServerNotification::ResourceListChangedNotification(ResourceListChangedNotification::default())
        }
    }
}
