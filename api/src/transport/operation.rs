//! A GraphQL operation, independent of the endpoint: strict parameter parsing, checks that the library omits, and
//! responses in which every error has a code and reveals no internals.

use std::any::{Any, TypeId};
use std::sync::Arc;

use async_graphql::{
    ErrorExtensionValues, Extensions, Request, Response, ServerError, Value,
    parser::types::{DocumentOperations, ExecutableDocument, OperationDefinition, OperationType},
};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::{
    graphql::{
        arguments,
        document::{self, Fault, FaultKind, FrontEnd, Given},
        documents::{Documents, Missing, Name, Parsed},
        error::{RETRY_AFTER, is_outage, outage},
        error_path, guard, variables,
    },
    model::{
        error::{Error, Newest},
        limits::Limits,
    },
};

/// The document has a syntax error.
const PARSE_FAILED: &str = "GRAPHQL_PARSE_FAILED";
/// The document is not valid for this schema.
const VALIDATION_FAILED: &str = "GRAPHQL_VALIDATION_FAILED";
const BAD_USER_INPUT: &str = "BAD_USER_INPUT";
const QUERY_TOO_COMPLEX: &str = "QUERY_TOO_COMPLEX";
/// Clients identify these two by their messages, and some by their codes
/// (<https://github.com/apollographql/apollo-link-persisted-queries#protocol>).
const DOCUMENT_NOT_FOUND: (&str, &str) = ("PERSISTED_QUERY_NOT_FOUND", "PersistedQueryNotFound");
const DOCUMENTS_NOT_SUPPORTED: (&str, &str) = ("PERSISTED_QUERY_NOT_SUPPORTED", "PersistedQueryNotSupported");

/// The code of a defect of the service.
pub const INTERNAL: &str = "INTERNAL";
/// The database is read-only at the moment.
const READ_ONLY: &str = "READ_ONLY";

/// Every possible error code.
const CODES: [&str; 14] = [
    "UNAUTHENTICATED",
    "FORBIDDEN",
    "NOT_FOUND",
    BAD_USER_INPUT,
    "CONFLICT",
    "PAYLOAD_TOO_LARGE",
    "RATE_LIMITED",
    QUERY_TOO_COMPLEX,
    READ_ONLY,
    "POSITION_LOST",
    "UNAVAILABLE",
    INTERNAL,
    PARSE_FAILED,
    VALIDATION_FAILED,
];

/// The outcome of an operation.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Outcome {
    /// It ran. `data` is null if an error propagated to the root.
    Ran(Response),
    /// It was refused before it ran, so there is no `data` (a request error: GraphQL specification, section 7.1).
    Refused {
        /// The reasons, at least one.
        errors: Vec<ServerError>,
    },
}

impl Outcome {
    /// `OK` or an error code; `INTERNAL` takes precedence.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Ran(response) => code_of_all(&response.errors),
            Self::Refused { errors } => code_of_all(errors),
        }
    }

    /// The longest retry delay that the errors state, in seconds.
    pub fn retry_after(&self) -> Option<u64> {
        let (Self::Refused { errors } | Self::Ran(Response { errors, .. })) = self;
        let seconds = |error: &ServerError| match error.extensions.as_ref()?.get(RETRY_AFTER)? {
            Value::Number(seconds) => seconds.as_u64(),
            _ => None,
        };
        errors.iter().filter_map(seconds).max()
    }

    /// Whether it was refused with this code.
    pub fn refused_for(&self, code: &str) -> bool {
        match self {
            Self::Ran(_) => false,
            Self::Refused { errors } => errors.iter().any(|error| code_of(error) == Some(code)),
        }
    }

    /// Whether all errors are validation errors.
    pub fn failed_validation(&self) -> bool {
        match self {
            Self::Ran(_) => false,
            Self::Refused { errors } => errors.iter().all(|error| code_of(error) == Some(VALIDATION_FAILED)),
        }
    }
}

impl From<Vec<ServerError>> for Outcome {
    fn from(errors: Vec<ServerError>) -> Self {
        Self::Refused { errors }
    }
}

impl From<ServerError> for Outcome {
    fn from(error: ServerError) -> Self {
        Self::Refused { errors: vec![error] }
    }
}

/// Converts an error for the client. `INTERNAL` carries the request id, and its cause is logged here.
pub fn refusal(error: &Error, request_id: &str) -> ServerError {
    if let Some(cause) = error.cause() {
        tracing::error!(request.id = request_id, cause, "internal error");
    }
    let mut refusal = coded(error.code(), error.message());
    if let Some(extensions) = &mut refusal.extensions {
        match error {
            Error::BadInput { field, .. } if !field.is_empty() => extensions.set("field", field.as_str()),
            Error::RateLimited { retry_after: Some(seconds), .. } => extensions.set(RETRY_AFTER, *seconds),
            Error::PositionLost(Newest::Revision(revision)) => extensions.set("revision", *revision),
            error if error.cause().is_some() => extensions.set("requestId", request_id),
            _ => {}
        }
        if matches!(error, Error::Unavailable(_)) {
            extensions.set(RETRY_AFTER, 1);
        }
    }
    if matches!(error, Error::Unavailable(_) | Error::RateLimited { .. }) {
        refusal.source = Some(outage());
    }
    refusal
}

/// The error for a panic: the client gets the request id, the log gets the rest.
pub fn panicked(panic: &(dyn Any + Send), request_id: &str) -> ServerError {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message");
    refusal(&Error::Internal(format!("panic: {text}")), request_id)
}

/// Parses the parameters of one request from JSON (GraphQL over HTTP, "Request Parameters").
///
/// # Errors
/// `BadInput` with the invalid parameter.
pub fn read(json: &str) -> Result<Request, Error> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Fields<'a> {
        #[serde(borrow)]
        query: Option<&'a RawValue>,
        #[serde(borrow)]
        document_id: Option<&'a RawValue>,
        #[serde(borrow)]
        operation_name: Option<&'a RawValue>,
        #[serde(borrow)]
        variables: Option<&'a RawValue>,
        #[serde(borrow)]
        extensions: Option<&'a RawValue>,
    }

    // serde would accept an array for a struct, by position.
    if !json.trim_ascii_start().starts_with('{') {
        return Err(Error::bad_input("", "A GraphQL request is a JSON object with a `query`."));
    }
    let fields: Fields = serde_json::from_str(json)
        .map_err(|error| Error::bad_input("", format!("The request is not usable JSON: {error}.")))?;
    let text = |field: &str, raw: Option<&RawValue>| {
        let text = raw.map(|raw| serde_json::from_str::<String>(raw.get())).transpose();
        text.map_err(|_| match raw {
            Some(raw) if has_lone_surrogate(raw.get()) => lone_surrogate(field),
            _ => Error::bad_input(field, format!("`{field}` must be a string.")),
        })
    };
    request(Parameters {
        query: text("query", fields.query)?,
        document_id: text("documentId", fields.document_id)?,
        operation_name: text("operationName", fields.operation_name)?,
        variables: fields.variables.map(RawValue::get),
        extensions: fields.extensions.map(RawValue::get),
    })
}

/// The parameters of a request.
pub struct Parameters<'a> {
    /// The document; `None` if the request refers to a stored one.
    pub query: Option<String>,
    /// The id of a registered document.
    pub document_id: Option<String>,
    /// The operation to run, if the document has several.
    pub operation_name: Option<String>,
    /// JSON text.
    pub variables: Option<&'a str>,
    /// JSON text.
    pub extensions: Option<&'a str>,
}

/// Builds a request from its parameters.
///
/// # Errors
/// `BadInput` with the invalid parameter.
pub fn request(parameters: Parameters<'_>) -> Result<Request, Error> {
    let mut extensions = Extensions::default();
    if let Some(json) = parameters.extensions {
        extensions = variables::extensions(json)?;
    }
    let name = match (parameters.document_id, extensions.get("persistedQuery")) {
        (Some(id), _) => Some(Name::Id(id)),
        (None, None | Some(Value::Null)) => None,
        (None, Some(kept)) => Some(Name::Hash(hash_of(kept)?)),
    };
    let query = match (parameters.query, &name) {
        (Some(query), _) => query,
        (None, Some(_)) => String::new(),
        (None, None) => {
            let message = "The request needs a GraphQL document in `query`, or a `documentId`.";
            return Err(Error::bad_input("query", message));
        }
    };
    let mut request = Request::new(query);
    if let Some(name) = name {
        name.attach(&mut request);
    }
    // An empty name counts as absent.
    request.operation_name = parameters.operation_name.filter(|name| !name.is_empty());
    request.extensions = extensions;
    if let Some(json) = parameters.variables {
        request.variables = variables::variables(json)?;
    }
    Ok(request)
}

/// The error for a string with half of a character.
pub fn lone_surrogate(field: &str) -> Error {
    let message = format!(
        "`{field}` contains a lone surrogate (an escape from \\ud800 to \\udfff without its other half), which is not \
         valid Unicode."
    );
    Error::bad_input(field, message)
}

/// Whether JSON contains an escaped lone surrogate, as JavaScript writes for a string that was cut inside a character.
pub fn has_lone_surrogate(json: &str) -> bool {
    let bytes = json.as_bytes();
    let unit = |at: usize| {
        let digits = json.get(at..at + 4)?;
        u32::from_str_radix(digits, 16).ok()
    };
    let mut at = 0;
    while let Some(found) = bytes.iter().skip(at).position(|byte| *byte == b'\\') {
        at += found;
        if bytes.get(at + 1) != Some(&b'u') {
            at += 2;
            continue;
        }
        match unit(at + 2) {
            Some(0xd800..=0xdbff) => {
                let is_pair = json.get(at + 6..at + 8) == Some("\\u")
                    && unit(at + 8).is_some_and(|unit| (0xdc00..=0xdfff).contains(&unit));
                if !is_pair {
                    return true;
                }
                at += 12;
            }
            Some(0xdc00..=0xdfff) => return true,
            _ => at += 6,
        }
    }
    false
}

/// The hash in `extensions.persistedQuery` (version 1 of the protocol). It can also be the id of a registered document,
/// in any format.
fn hash_of(kept: &Value) -> Result<String, Error> {
    let Value::Object(kept) = kept else {
        return Err(Error::bad_input("extensions.persistedQuery", "This must be an object."));
    };
    match kept.get("version") {
        Some(Value::Number(version)) if version.as_i64() == Some(1) => {}
        _ => return Err(Error::bad_input("extensions.persistedQuery.version", "The version must be 1.")),
    }
    match kept.get("sha256Hash") {
        Some(Value::String(hash)) => Ok(hash.clone()),
        _ => Err(Error::bad_input("extensions.persistedQuery.sha256Hash", "This must be a string.")),
    }
}

/// The operation's type and name, or the request errors.
type Prepared = Result<(OperationType, Option<String>), Vec<ServerError>>;

/// Loads the document if the request refers to one, checks its cost limits, parses and validates it (unless cached),
/// selects the operation, and coerces its variables. Preparing a request again returns the first result.
///
/// # Errors
/// Request errors for the client, at least one.
pub fn prepare(request: &mut Request, documents: &Documents, limits: &Limits) -> Prepared {
    if let Some(prepared) = request.data.get(&TypeId::of::<Prepared>()).and_then(|any| any.downcast_ref::<Prepared>()) {
        return prepared.clone();
    }
    let prepared = read_document(request, documents, limits);
    request.data.insert(prepared.clone());
    prepared
}

fn read_document(request: &mut Request, documents: &Documents, limits: &Limits) -> Prepared {
    let refused = |error: &Error| vec![refusal(error, "")];
    documents.find(request).map_err(|missing| match missing {
        Missing::NotFound => vec![coded(DOCUMENT_NOT_FOUND.0, DOCUMENT_NOT_FOUND.1)],
        Missing::NotSupported => vec![coded(DOCUMENTS_NOT_SUPPORTED.0, DOCUMENTS_NOT_SUPPORTED.1)],
        Missing::Refused(error) => refused(&error),
    })?;
    let front_end = &documents.front_end;
    let parsed = match documents.parsed(&request.query) {
        Some(parsed) => parsed,
        None => {
            let tokens = guard::check_text(&request.query, limits).map_err(|error| refused(&error))?;
            let draft = front_end.parse(&request.query).map_err(located)?;
            guard::check(&draft.document, limits).map_err(|error| refused(&error))?;
            let document = front_end.validate(&draft).map_err(|mut faults| {
                faults.extend(faults_of_variables(front_end, &draft.document, request));
                located(faults)
            })?;
            let parsed = Arc::new(Parsed::new(front_end, document, tokens));
            documents.remember(&request.query, &parsed);
            parsed
        }
    };
    let (name, operation) = choose(&parsed.document, request.operation_name.as_deref()).map_err(|error| vec![error])?;
    request.variables =
        front_end.coerce(&parsed.document, operation, std::mem::take(&mut request.variables)).map_err(located)?;
    let mut document = parsed.document.clone();
    document::keep_chosen(&mut document, name.as_deref());
    document::without_absent(&mut document, name.as_deref(), &request.variables);
    document::merge_root_fields(&mut document, name.as_deref(), &request.variables);
    let kind = operation.ty;
    let chosen = choose(&document, request.operation_name.as_deref()).map_err(|error| vec![error])?.1;
    let (given, long_columns) = front_end.given(&document, chosen, &request.variables);
    let refused = |refused: Vec<_>| refused.iter().map(at_field).collect::<Vec<_>>();
    let mut horizon = arguments::check(limits, kind, given).map_err(refused)?;
    horizon.long_columns = long_columns;
    request.data.insert(horizon);
    request.set_parsed_query(document);
    request.data.insert(parsed);
    Ok((kind, name))
}

/// The error for an argument that is refused before the operation runs.
fn at_field((field, error): &(Given, Error)) -> ServerError {
    ServerError { path: field.path.clone(), locations: vec![field.pos], ..refusal(error, "") }
}

/// Errors in the variables, reported together with those of an invalid document.
fn faults_of_variables(front_end: &FrontEnd, document: &ExecutableDocument, request: &mut Request) -> Vec<Fault> {
    let Ok((_, operation)) = choose(document, request.operation_name.as_deref()) else { return Vec::new() };
    front_end.coerce(document, operation, std::mem::take(&mut request.variables)).err().unwrap_or_default()
}

/// Converts faults of a document or its variables for the client.
fn located(faults: Vec<Fault>) -> Vec<ServerError> {
    let located = faults.into_iter().map(|fault| {
        let error = match fault.kind {
            FaultKind::Syntax => coded(PARSE_FAILED, fault.message),
            FaultKind::Invalid => coded(VALIDATION_FAILED, fault.message),
            FaultKind::Literal(field) => {
                let mut error = coded(VALIDATION_FAILED, fault.message);
                error.extensions.get_or_insert_default().set("field", field);
                error
            }
            FaultKind::Input(field) => input_error(&field, fault.message),
        };
        ServerError { locations: vec![fault.pos], ..error }
    });
    located.collect()
}

fn choose<'a>(
    document: &'a ExecutableDocument,
    wanted: Option<&str>,
) -> Result<(Option<String>, &'a OperationDefinition), ServerError> {
    let refuse = |message: String| Err(input_error("operationName", message));
    match (&document.operations, wanted) {
        (DocumentOperations::Single(operation), None) => Ok((None, &operation.node)),
        (DocumentOperations::Multiple(operations), Some(wanted)) => match operations.get(wanted) {
            Some(operation) => Ok((Some(wanted.to_owned()), &operation.node)),
            None => refuse(format!("The document has no operation named \"{wanted}\".")),
        },
        (DocumentOperations::Multiple(operations), None) => {
            let mut all = operations.iter();
            match (all.next(), all.next()) {
                (Some((name, operation)), None) => Ok((Some(name.to_string()), &operation.node)),
                _ => refuse("The document has several operations: `operationName` must select one.".to_owned()),
            }
        }
        (DocumentOperations::Single(_), Some(_)) => {
            refuse("The document's operation has no name, so `operationName` must be left out.".to_owned())
        }
    }
}

/// The document of a prepared request.
pub fn document_of(request: &Request) -> Option<Arc<Parsed>> {
    Parsed::of(request).cloned()
}

/// Converts the response of an executed operation for the client: the library's errors get a code and complete paths,
/// and an error of unknown origin goes to the log only.
pub fn settle(
    mut response: Response,
    parsed: Option<&Arc<Parsed>>,
    operation: Option<&str>,
    request_id: &str,
) -> Outcome {
    if let Some(parsed) = parsed {
        response.errors.iter_mut().for_each(|error| error_path::restore(error, &parsed.document, operation));
        if parsed.selects_interfaces {
            document::correct_interfaces(&mut response.data);
        }
    }
    let refused = response.data == Value::Null
        && !response.errors.is_empty()
        && response.errors.iter().all(|error| error.path.is_empty());
    for error in response.errors.iter_mut().filter(|error| code_of(error).is_none()) {
        add_code(error, refused, request_id);
    }
    if refused { Outcome::Refused { errors: response.errors } } else { Outcome::Ran(response) }
}

/// The library's errors have no codes, so they are identified by their texts in async-graphql 7.0. A test below checks
/// these.
fn add_code(error: &mut ServerError, refused: bool, request_id: &str) {
    const BAD_ARGUMENT: &str = "Invalid value for argument ";
    const BAD_VALUE: [&str; 4] =
        [BAD_ARGUMENT, "Invalid default value for argument", "Failed to parse \"", "Expected input type \""];
    const TOO_COMPLEX: [(&str, &str); 2] = [
        (
            "Query is too complex.",
            "The operation can return too many values (--max-query-complexity): request fewer fields or smaller pages.",
        ),
        (
            "The recursion depth of the query cannot be greater",
            "The operation is nested too deeply (--max-query-depth).",
        ),
    ];
    let mut extensions = error.extensions.take().unwrap_or_default();
    if BAD_VALUE.iter().any(|start| error.message.starts_with(start)) {
        extensions.set("code", BAD_USER_INPUT);
        if let Some(field) = error.message.strip_prefix(BAD_ARGUMENT).and_then(argument_path) {
            extensions.set("field", field);
        }
    } else if let Some((_, message)) = TOO_COMPLEX.iter().find(|(start, _)| error.message.starts_with(start)) {
        extensions.set("code", QUERY_TOO_COMPLEX);
        error.message = (*message).to_owned();
    } else if refused {
        extensions.set("code", VALIDATION_FAILED);
    } else {
        let cause = std::mem::take(&mut error.message);
        let cause = if is_outage(error) { Error::Unavailable(cause) } else { Error::Internal(cause) };
        let internal = refusal(&cause, request_id);
        error.message = internal.message;
        let committed = extensions.get("committed").cloned();
        extensions = internal.extensions.unwrap_or_default();
        committed.into_iter().for_each(|committed| extensions.set("committed", committed));
    }
    error.extensions = Some(extensions);
}

/// The argument that a validation message refers to, named as in our own errors: `"input.files.3.path", expected type
/// "String"` becomes `files[3].path`, and `"input", field "name" of type …` becomes `name`.
fn argument_path(reason: &str) -> Option<String> {
    let (path, rest) = reason.strip_prefix('"')?.split_once('"')?;
    let missing = rest.strip_prefix(", field \"").or_else(|| rest.strip_prefix(", unknown field \""));
    let segments = path.split('.').chain(missing.and_then(|name| name.split('"').next()));
    let mut named = String::new();
    for (at, segment) in segments.enumerate() {
        match segment.parse::<usize>() {
            Ok(index) => named.push_str(&format!("[{index}]")),
            Err(_) if at == 1 && named == "input" => segment.clone_into(&mut named),
            Err(_) if named.is_empty() => named.push_str(segment),
            Err(_) => {
                named.push('.');
                named.push_str(segment);
            }
        }
    }
    Some(named)
}

fn input_error(field: &str, message: String) -> ServerError {
    let mut error = coded(BAD_USER_INPUT, message);
    if let Some(extensions) = &mut error.extensions {
        extensions.set("field", field);
    }
    error
}

fn coded(code: &str, message: impl Into<String>) -> ServerError {
    let mut extensions = ErrorExtensionValues::default();
    extensions.set("code", code);
    let mut error = ServerError::new(message, None);
    error.extensions = Some(extensions);
    error
}

/// `OK` or an error code; `INTERNAL` takes precedence.
pub fn code_of_all(errors: &[ServerError]) -> &'static str {
    let known = |error| CODES.into_iter().find(|code| code_of(error) == Some(code)).unwrap_or(INTERNAL);
    let mut codes = errors.iter().map(known);
    if codes.clone().any(|code| code == INTERNAL) { INTERNAL } else { codes.next().unwrap_or("OK") }
}

/// The value of `extensions.code`.
pub fn code_of(error: &ServerError) -> Option<&str> {
    match error.extensions.as_ref()?.get("code")? {
        Value::String(code) => Some(code),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use async_graphql::{EmptyMutation, EmptySubscription, InputObject, Object, Schema};
    use serde_json::json;

    use super::*;

    #[derive(InputObject)]
    struct Input {
        name: String,
        sizes: Option<Vec<i32>>,
    }

    struct Query;

    #[Object]
    impl Query {
        async fn echo(&self, text: String) -> String {
            text
        }

        async fn take(&self, input: Input) -> String {
            format!("{}{}", input.name, input.sizes.unwrap_or_default().len())
        }

        async fn at(&self, time: chrono::DateTime<chrono::Utc>) -> String {
            time.to_rfc3339()
        }

        async fn leak(&self) -> async_graphql::Result<&str> {
            Err("the password is swordfish".into())
        }

        async fn itself(&self) -> Query {
            Query
        }
    }

    fn limits(flags: &[&str]) -> Limits {
        #[derive(clap::Parser)]
        struct Flags {
            #[command(flatten)]
            limits: Limits,
        }
        <Flags as clap::Parser>::parse_from(["test"].iter().chain(flags)).limits
    }

    /// The response to a request, as JSON.
    async fn answer(parameters: serde_json::Value) -> serde_json::Value {
        let limits = limits(&["--max-query-depth=5"]);
        let schema = Schema::build(Query, EmptyMutation, EmptySubscription).limit_complexity(20).finish();
        let front_end = Arc::new(FrontEnd::new(&schema.sdl()).unwrap());
        let documents = Documents::load(front_end, None, false, &limits).unwrap();
        let mut request = read(&parameters.to_string()).unwrap();
        let outcome = match prepare(&mut request, &documents, &limits) {
            Ok((_, name)) => {
                let document = document_of(&request);
                settle(schema.execute(request).await, document.as_ref(), name.as_deref(), "id-1")
            }
            Err(errors) => errors.into(),
        };
        serde_json::to_value(outcome).unwrap()
    }

    #[tokio::test]
    async fn every_error_has_a_code_and_a_request_error_has_no_data() {
        let nested = format!("{}leak{}", "{itself".repeat(6), "}".repeat(6)).replace("itselfleak", "itself{leak}");
        let wide: String = (0..30).map(|at| format!(" f{at}: echo(text: \"\")")).collect();
        for (query, code) in [
            ("{", "GRAPHQL_PARSE_FAILED"),
            ("", "GRAPHQL_PARSE_FAILED"),
            ("fragment a on Query { leak }", "GRAPHQL_VALIDATION_FAILED"),
            ("{ nothing }", "GRAPHQL_VALIDATION_FAILED"),
            ("{ echo }", "GRAPHQL_VALIDATION_FAILED"),
            ("query($a: Int) { leak }", "GRAPHQL_VALIDATION_FAILED"),
            ("query A { leak } query B { leak }", "BAD_USER_INPUT"),
            ("{ echo(text: 5) }", "GRAPHQL_VALIDATION_FAILED"),
            ("query($text: String = 5) { echo(text: $text) }", "GRAPHQL_VALIDATION_FAILED"),
            (&nested, "QUERY_TOO_COMPLEX"),
            (&format!("{{{wide}}}"), "QUERY_TOO_COMPLEX"),
        ] {
            let answer = answer(json!({ "query": query })).await;
            assert_eq!(answer["errors"][0]["extensions"]["code"], code, "{query}: {answer}");
            assert!(answer.get("data").is_none(), "{query}: {answer}");
        }
    }

    #[tokio::test]
    async fn an_invalid_variable_is_named_like_any_other_argument() {
        let take = "query($input: Input!) { take(input: $input) }";
        for (query, variables, field) in [
            (take, json!({}), "input"),
            (take, json!({ "input": null }), "input"),
            (take, json!({ "input": { "sizes": [] } }), "name"),
            (take, json!({ "input": { "name": "a", "size": 1 } }), "size"),
            (take, json!({ "input": { "name": 5 } }), "name"),
            (take, json!({ "input": { "name": "a", "sizes": [1, "b"] } }), "sizes[1]"),
            ("query($text: String!) { echo(text: $text) }", json!({ "text": 5 }), "text"),
        ] {
            let answer = answer(json!({ "query": query, "variables": variables })).await;
            assert_eq!(
                answer["errors"][0]["extensions"],
                json!({ "code": "BAD_USER_INPUT", "field": field }),
                "{answer}"
            );
        }
        let answer = answer(json!({ "query": "{ at(time: \"never\") }" })).await;
        assert_eq!(answer["errors"][0]["extensions"]["code"], "BAD_USER_INPUT", "{answer}");
    }

    #[tokio::test]
    async fn an_error_of_unknown_origin_goes_to_the_log_only() {
        let answer = answer(json!({ "query": "{ leak }" })).await;
        assert_eq!(answer["errors"][0]["extensions"], json!({ "code": "INTERNAL", "requestId": "id-1" }));
        assert_eq!((&answer["data"], &answer["errors"][0]["path"]), (&json!(null), &json!(["leak"])));
        assert!(!answer.to_string().contains("swordfish"));
    }

    #[tokio::test]
    async fn a_syntax_error_states_what_was_expected_and_where() {
        let answer = answer(json!({ "query": "{\n  echo(" })).await;
        let message = answer["errors"][0]["message"].as_str().unwrap();
        assert!(message.starts_with("Syntax error: expected ") && !message.contains('\n'), "{message}");
        assert_eq!(answer["errors"][0]["locations"][0]["line"], 2);
    }

    #[test]
    fn lone_surrogates_are_found_anywhere() {
        for json in [
            r#""\ud83d""#,
            r#""a\ude00b""#,
            r#""\ud83d\ud83d\ude00""#,
            r#"["\\","\uDBFFa"]"#,
            r#""\ud83d\u0041""#,
            r#""\\\ud83d""#,
        ] {
            assert!(has_lone_surrogate(json), "{json}");
        }
        for json in [r#""\ud83d\ude00""#, r#""\\ud83d""#, r#""\u0041\n""#, r#""\u"#, r#""\"#, "\"\u{1f600}\"", ""] {
            assert!(!has_lone_surrogate(json), "{json}");
        }
    }

    #[test]
    fn parameters_have_their_types() {
        assert!(read(r#"{"query":"{a}","operationName":null,"variables":null,"extensions":null,"other":1}"#).is_ok());
        for (json, field) in [
            (r#"["{a}"]"#, ""),
            ("null", ""),
            (r#"{"query":"{a}""#, ""),
            (r#"{"query":"{a}","query":"{b}"}"#, ""),
            (r#"{"notQuery":"{a}"}"#, "query"),
            (r#"{"query":5}"#, "query"),
            (r#"{"query":"{a}","operationName":["b"]}"#, "operationName"),
            (r#"{"query":"{a}","variables":[1]}"#, "variables"),
            (r#"{"query":"{a}","extensions":"b"}"#, "extensions"),
            (r#"{"query":"\ud83d"}"#, "query"),
        ] {
            match read(json) {
                Err(Error::BadInput { field: named, .. }) => assert_eq!(named, field, "{json}"),
                other => panic!("{json}: {other:?}"),
            }
        }
    }
}
