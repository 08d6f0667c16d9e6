//! The methods of the protocol.

use std::{borrow::Cow, future::pending, panic::AssertUnwindSafe, sync::Arc};

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
use tracing::Instrument;

use super::{
    answer,
    call::Call,
    cancellation::{Cancellation, RunningCalls},
    following::{Following, Step},
    parameters, resources,
    sessions::{ClientName, McpSession, Watched},
    tools, uri,
    watch::Notice,
};
use crate::{
    domain::profile,
    graphql::execution::in_time,
    model::{actor::Actor, error::Error, memory::Taken},
    transport::{http::respond::Budgets, state::AppState},
};

const INSTRUCTIONS: &str = "Antiphon keeps the conversation and the code of a project in one history. Every write is a \
revision. Begin with list_projects and list_files. Read a file before you change it, and pass the version that you have \
read as `expectedVersion` to write_file; if somebody has changed the file since, the result is a CONFLICT with the \
present version. Pass a short reason as `message` to tools that write. history, blame and diff show what was done and \
why; undo and restore take it back.";

/// The versions of the protocol. 2025-03-26 is left out: it requires batches, which the SDK cannot read.
pub const PROTOCOL_VERSIONS: &[ProtocolVersion] = &[
    ProtocolVersion::V_2024_11_05,
    ProtocolVersion::V_2025_06_18,
    ProtocolVersion::V_2025_11_25,
    ProtocolVersion::V_2026_07_28,
];

/// What the response needs besides its body.
#[derive(Default)]
pub struct Effects {
    /// The session that the request has started, or why it could not.
    pub started: Option<Result<Arc<McpSession>, Error>>,
    /// The memory of the results.
    pub budgets: Budgets,
    /// Whether the client has cancelled the request.
    pub is_cancelled: bool,
}

/// Serves one request.
#[derive(Clone)]
pub struct Handler {
    state: AppState,
    actor: Actor,
    session: Option<Arc<McpSession>>,
    /// What the response needs.
    pub effects: Arc<Mutex<Effects>>,
    /// What a `subscriptions/listen` watches, or why it cannot.
    listening: Result<watch::Sender<Watched>, Error>,
    running: Arc<RunningCalls>,
    /// The memory of the request's body, which a running call keeps.
    memory: Arc<(Taken, Taken)>,
    request_id: String,
    span: tracing::Span,
}

impl Handler {
    /// A handler of a request of this caller, with the memory of its body.
    pub fn new(
        state: AppState,
        actor: Actor,
        session: Option<Arc<McpSession>>,
        memory: (Taken, Taken),
        request_id: String,
    ) -> Self {
        let (listening, memory) = (Ok(watch::Sender::default()), Arc::new(memory));
        let running = session.as_ref().map(|session| session.running.clone()).unwrap_or_default();
        let span = tracing::Span::current();
        let effects = Arc::default();
        Self { state, actor, session, effects, listening, running, memory, request_id, span }
    }

    fn call(&self, context: &RequestContext<RoleServer>, cancellation: &Arc<Cancellation>) -> Call {
        let client = match &self.session {
            Some(session) => session.client.clone(),
            None => {
                let info = context.meta.client_info();
                info.map(|info| ClientName::new(&info.name, &info.version)).unwrap_or_default()
            }
        };
        let (services, session) = (self.state.services.clone(), self.session.clone());
        let call = Call::new(services, self.actor.clone(), session, client, cancellation.clone());
        self.effects.lock().budgets.push(call.reader.budget());
        call
    }

    /// A request that reads what only the primary has.
    fn call_of_present(&self, context: &RequestContext<RoleServer>, cancellation: &Arc<Cancellation>) -> Call {
        let call = self.call(context, cancellation);
        call.reader.need_the_present();
        call
    }

    /// Runs the work of a request in a separate task, so that a client that disconnects cannot cancel it halfway. `stop`
    /// ends it early.
    async fn run<T: Send + 'static>(
        &self,
        kind: OperationType,
        name: &str,
        stop: impl Future<Output = ()> + Send + 'static,
        work: impl Future<Output = Result<T, Error>> + Send + 'static,
    ) -> Result<T, Error> {
        let (state, actor) = (self.state.clone(), self.actor.clone());
        let measured = state.measure(kind, Some(&format!("mcp {name}")), true, &self.request_id);
        let (tasks, memory) = (state.tasks.clone(), self.memory.clone());
        let run = async move {
            let _memory = memory;
            let work = async {
                profile::meet(&state.services, &actor).await;
                let work = AssertUnwindSafe(in_time(&state.limits, Box::pin(work))).catch_unwind();
                match measured.run(work).await {
                    Ok(Ok(done)) => done,
                    Ok(Err(too_long)) => Err(too_long),
                    Err(_) => Err(Error::internal("a request of MCP panicked")),
                }
            };
            let done = tokio::select! {
                biased;
                () = stop => return Err(Error::internal("the client has cancelled the request")),
                done = work => done,
            };
            measured.ended(done.as_ref().map_or_else(Error::code, |_| "OK"));
            done
        };
        tasks.spawn(run.instrument(self.span.clone())).await.unwrap_or_else(|error| Err(Error::internal(error)))
    }

    /// Runs a read, until the client cancels it or disconnects. A read that fails on a replica is repeated on the primary,
    /// as in the API.
    async fn read<T, F>(
        &self,
        context: &RequestContext<RoleServer>,
        name: &str,
        cancellation: &Arc<Cancellation>,
        read: impl Fn(Call) -> F + Send + 'static,
    ) -> Result<T, Error>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Error>> + Send + 'static,
    {
        let (call, again) = (self.call(context, cancellation), self.call_of_present(context, cancellation));
        let work = async move {
            let reader = call.reader.clone();
            let done = read(call).await;
            if done.is_ok() || !reader.has_used_replica() { done } else { read(again).await }
        };
        let (cancellation, disconnected) = (cancellation.clone(), context.ct.clone());
        let stop = async move {
            tokio::select! {
                () = cancellation.cancelled() => {}
                () = disconnected.cancelled() => {}
            }
        };
        self.run(OperationType::Query, name, stop, work).await
    }

    /// Begins to watch what a `subscriptions/listen` asks for. The SDK acknowledges such a request before its handler
    /// runs, and the client must not miss a change after that.
    pub async fn begin_listening(&mut self, filter: SubscriptionFilter) {
        let watched = watch::Sender::<Watched>::default();
        let (sender, client) = (watched.clone(), ClientName::default());
        let cancellation = Arc::default();
        let call = Call::new(self.state.services.clone(), self.actor.clone(), None, client, cancellation);
        call.reader.need_the_present();
        let work = async move {
            resources::subscribe(&call, &sender, &filter.resource_subscriptions.unwrap_or_default()).await?;
            if filter.resources_list_changed == Some(true) {
                resources::watch_lists(&call, &sender).await?;
            }
            Ok(())
        };
        let begun = self.run(OperationType::Query, "subscriptions/listen", pending(), work).await;
        self.listening = begun.map(|()| watched);
    }

    /// Runs a read whose error is one of JSON-RPC.
    async fn read_resources<T, F>(
        &self,
        context: &RequestContext<RoleServer>,
        name: &str,
        read: impl Fn(Call) -> F + Send + 'static,
    ) -> Result<T, ErrorData>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Error>> + Send + 'static,
    {
        let running = self.running.begin(context.id.clone());
        let read = self.read(context, name, &running.cancellation, read).await;
        read.map_err(|error| match running.cancellation.is_cancelled() {
            true => self.cancelled(),
            false => self.protocol_error(&error),
        })
    }

    /// Ends a request that the client has cancelled. The response has no message.
    fn cancelled(&self) -> ErrorData {
        self.effects.lock().is_cancelled = true;
        ErrorData::internal_error("The client has cancelled the request.", None)
    }

    fn protocol_error(&self, error: &Error) -> ErrorData {
        answer::protocol_error(error, &self.request_id)
    }

    /// The session of a request that needs one.
    fn session(&self) -> Result<Arc<McpSession>, ErrorData> {
        let missing = || Error::bad_input("mcp-session-id", "Subscriptions need a session: send its Mcp-Session-Id.");
        let refused = || ErrorData { code: ErrorCode::INVALID_REQUEST, ..self.protocol_error(&missing()) };
        self.session.clone().ok_or_else(refused)
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
        let done = started.as_ref().map(|_| result).map_err(|error| self.protocol_error(error));
        self.effects.lock().started = Some(started);
        done
    }

    async fn list_tools(
        &self,
        _request: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        Ok(ListToolsResult {
            tools: tools::ALL.iter().map(|tool| tool.definition.clone()).collect(),
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
            return Err(self.protocol_error(&Error::bad_input(
                "name",
                format!("Unknown tool: {}. tools/list has all tools.", request.name),
            )));
        };
        let (name, arguments) = (&tool.definition.name, request.arguments.unwrap_or_default());
        let running = self.running.begin(context.id.clone());
        let cancellation = &running.cancellation;
        let answer = if tool.is_read_only() {
            let read = move |call| (tool.run)(call, arguments.clone());
            self.read(&context, name, cancellation, read).await
        } else {
            let work = (tool.run)(self.call_of_present(&context, cancellation), arguments);
            // The work itself goes on until it would begin to write, so that it records a chat session that it has started.
            tokio::select! {
                biased;
                () = cancellation.cancelled() => return Err(self.cancelled()),
                answer = self.run(OperationType::Mutation, name, pending(), work) => answer,
            }
        };
        if answer.is_err() && cancellation.is_cancelled() {
            return Err(self.cancelled());
        }
        Ok(answer::result(answer, &self.request_id).into())
    }

    async fn list_resources(
        &self,
        request: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListResourcesResult, ErrorData> {
        let cursor = request.and_then(|request| request.cursor);
        let list = move |call: Call| {
            let cursor = cursor.clone();
            async move { resources::list(&call, cursor).await }
        };
        self.read_resources(&context, "resources/list", list).await
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
        let read = move |call: Call| {
            let uri = request.uri.clone();
            async move { resources::read(&call, &uri).await }
        };
        self.read_resources(&context, "resources/read", read).await.map(Into::into)
    }

    async fn subscribe(
        &self,
        request: SubscribeRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        let (session, call) = (self.session()?, self.call_of_present(&context, &Arc::default()));
        let work = async move { resources::subscribe(&call, &session.watched, &[request.uri]).await };
        let done = self.run(OperationType::Query, "resources/subscribe", pending(), work).await;
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
        Err(match parameters::mistake(&method, params) {
            Some(mistake) => self.protocol_error(&mistake),
            None => {
                let unknown = Error::bad_input("", parameters::unknown(&method));
                ErrorData { code: ErrorCode::METHOD_NOT_FOUND, ..self.protocol_error(&unknown) }
            }
        })
    }

    fn supported_protocol_versions(&self) -> Cow<'static, [ProtocolVersion]> {
        Cow::Borrowed(PROTOCOL_VERSIONS)
    }

    fn accepted_subscription_filter(&self, requested: &SubscriptionFilter) -> Option<SubscriptionFilter> {
        Some(requested.clone())
    }

    /// Protocol versions from 2026-07-28 have this stream instead of sessions.
    async fn listen(&self, context: SubscriptionContext) -> Result<(), ErrorData> {
        let place = self.state.throttle.open_socket(self.actor.user_id);
        let _place = place.map_err(|error| self.protocol_error(&error))?;
        let watched = self.listening.clone().map_err(|error| self.protocol_error(&error))?;
        let mut following = Following::new(self.state.clone(), self.actor.clone(), watched, &self.request_id);
        loop {
            match following.next(context.cancelled()).await {
                Ok(Some(Step::Notice(notice))) => {
                    if context.sink().send(notification(notice)).await.is_err() {
                        return Ok(());
                    }
                }
                Ok(Some(Step::Heartbeat)) => {}
                Ok(None) => return Ok(()),
                Err(error) => return Err(self.protocol_error(&error)),
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
