//! A request with any document, name and variables is prepared or refused with an error for the client.
#![no_main]

use std::sync::LazyLock;

use antiphon::graphql::documents::Documents;
use antiphon::graphql::schema;
use antiphon::model::limits::Limits;
use antiphon::transport::operation::{self, Parameters};
use clap::Parser;
use libfuzzer_sys::fuzz_target;

#[derive(Parser)]
struct Flags {
    #[command(flatten)]
    limits: Limits,
}

static SERVER: LazyLock<(Limits, Documents)> = LazyLock::new(|| {
    let limits = Flags::parse_from(["documents"]).limits;
    let sdl = schema::sdl(&schema::build(&limits));
    let documents = Documents::load(&sdl, None, false, &limits).expect("the schema is valid");
    (limits, documents)
});

fuzz_target!(|parts: (String, Option<String>, Option<String>)| {
    let (limits, documents) = &*SERVER;
    let (query, operation_name, variables) = parts;
    let parameters = Parameters {
        query: Some(query),
        document_id: None,
        operation_name,
        variables: variables.as_deref(),
        extensions: None,
    };
    if let Ok(mut request) = operation::request(parameters)
        && let Err(errors) = operation::prepare(&mut request, documents, limits)
    {
        assert!(!errors.is_empty());
        for error in errors {
            assert_ne!(operation::code_of(&error), Some("INTERNAL"), "{error:?}");
        }
    }
});
