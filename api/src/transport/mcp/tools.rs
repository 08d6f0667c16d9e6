//! The tools, with the schemas of their arguments and results.

use std::sync::LazyLock;

use futures::{FutureExt, future::BoxFuture};
use rmcp::{
    model::{JsonObject, ToolAnnotations},
    schemars::JsonSchema,
};
use serde::de::DeserializeOwned;

use super::{answer::Answer, call::Call, parameters, reads, schemas, versions, writes};
use crate::model::error::Result;

/// A tool.
pub struct Tool {
    /// What the client knows of it.
    pub definition: rmcp::model::Tool,
    /// Runs it with the client's arguments.
    pub run: Box<dyn Fn(Call, JsonObject) -> BoxFuture<'static, Result<Answer>> + Send + Sync>,
}

impl Tool {
    /// Whether it changes nothing.
    pub fn is_read_only(&self) -> bool {
        self.definition.annotations.as_ref().is_some_and(|hints| hints.read_only_hint == Some(true))
    }
}

/// What a tool does to a project. Nothing is ever lost: the history keeps what a destructive tool replaces.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Effect {
    /// It reads.
    Reads,
    /// It adds to the project.
    Adds,
    /// It replaces or removes files. Repeating it changes nothing more if `true`.
    Replaces(bool),
}

/// All tools.
pub static ALL: LazyLock<Vec<Tool>> = LazyLock::new(|| {
    use Effect::{Adds, Reads, Replaces};
    vec![
        tool::<_, reads::Projects, _>(
            "list_projects",
            "List projects",
            Reads,
            reads::list_projects,
            "Lists the projects that you can read, the last active one first.",
        ),
        tool::<_, reads::Files, _>(
            "list_files",
            "List files",
            Reads,
            reads::list_files,
            "Lists the files of a project, or below a folder, by path; now or as of a revision.",
        ),
        tool::<_, reads::Content, _>(
            "read_file",
            "Read a file",
            Reads,
            reads::read_file,
            "Reads a file, or a range of its lines; now or as of a revision. Returns its version for `expectedVersion`.",
        ),
        tool::<_, reads::Matches, _>(
            "search",
            "Search in files",
            Reads,
            reads::search,
            "Finds lines that contain a text in the present files of a project.",
        ),
        tool::<_, writes::Written, _>(
            "write_file",
            "Write a file",
            Replaces(true),
            writes::write_file,
            "Creates a file, or replaces the whole content of one. To replace a file, pass the version that you have read \
             (`expectedVersion`), or the hash of its content (`expectedHash`): if the file has changed since, nothing is written.",
        ),
        tool::<_, writes::Written, _>(
            "rename",
            "Rename or move",
            Replaces(false),
            writes::rename,
            "Moves a file, or a folder with everything below it, to another path.",
        ),
        tool::<_, writes::Written, _>(
            "delete",
            "Delete",
            Replaces(false),
            writes::delete,
            "Deletes a file, or a folder with everything below it. The history keeps it.",
        ),
        tool::<_, versions::Differences, _>(
            "diff",
            "Compare revisions",
            Reads,
            versions::diff,
            "Shows what changed in the files between two revisions, as unified diffs.",
        ),
        tool::<_, versions::Changes, _>(
            "history",
            "History",
            Reads,
            versions::history,
            "Lists the changes of a file, of a folder or of the whole project, the newest first, with their authors and \
             the messages that explain them.",
        ),
        tool::<_, versions::Blame, _>(
            "blame",
            "Blame",
            Reads,
            versions::blame,
            "Shows for each line of a file which revision wrote it, by whom, and the message that explains why.",
        ),
        tool::<_, writes::Checkpoint, _>(
            "checkpoint",
            "Checkpoint",
            Adds,
            writes::checkpoint,
            "Marks the present state of the files with a message, so that it can be restored.",
        ),
        tool::<_, versions::Differences, _>(
            "restore_preview",
            "Preview a restore",
            Reads,
            versions::restore_preview,
            "Shows what `restore` would change, without changing anything.",
        ),
        tool::<_, writes::Restored, _>(
            "restore",
            "Restore",
            Replaces(true),
            writes::restore,
            "Makes the files equal to those of an earlier revision, snapshot or message. This is a new revision, which \
             can be undone, after a snapshot of the state before.",
        ),
        tool::<_, writes::Restored, _>(
            "undo",
            "Undo",
            Replaces(false),
            writes::undo,
            "Undoes a revision, or everything that was written for a message; by default the newest change of anybody \
             that is not undone. Later changes elsewhere are kept.",
        ),
        tool::<_, versions::Messages, _>(
            "list_messages",
            "List messages",
            Reads,
            versions::list_messages,
            "Lists the messages of a project's conversation, or of one chat session, the newest first.",
        ),
    ]
});

/// The tool with this name.
pub fn find(name: &str) -> Option<&'static Tool> {
    ALL.iter().find(|tool| tool.definition.name == name)
}

fn tool<A, O, F>(
    name: &'static str,
    title: &str,
    effect: Effect,
    run: fn(Call, A) -> F,
    description: &'static str,
) -> Tool
where
    A: DeserializeOwned + JsonSchema + Send + 'static,
    O: JsonSchema + 'static,
    F: Future<Output = Result<Answer>> + Send + 'static,
{
    let is_read_only = effect == Effect::Reads;
    let is_destructive = matches!(effect, Effect::Replaces(_));
    let is_idempotent = is_read_only || effect == Effect::Replaces(true);
    let hints = ToolAnnotations::with_title(title)
        .read_only(is_read_only)
        .destructive(is_destructive)
        .idempotent(is_idempotent)
        .open_world(false);
    let definition = rmcp::model::Tool::new(name, description, schemas::input::<A>())
        .with_title(title)
        .with_raw_output_schema(schemas::output::<O>())
        .with_annotations(hints);
    let run = Box::new(move |call: Call, arguments: JsonObject| {
        let arguments = parameters::arguments::<A>(name, arguments);
        let budget = call.reader.budget();
        async move {
            let answer = run(call, arguments?).await?;
            budget.answer(answer.size())?;
            Ok(answer)
        }
        .boxed()
    });
    Tool { definition, run }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn every_tool_has_schemas_and_hints() {
        for tool in ALL.iter() {
            let definition = &tool.definition;
            assert!(definition.input_schema.contains_key("properties"), "{definition:?}");
            assert_eq!(
                definition.input_schema.get("additionalProperties"),
                Some(&Value::Bool(false)),
                "{definition:?}"
            );
            let output = definition.output_schema.as_ref().unwrap();
            assert_eq!(output.get("type"), Some(&Value::from("object")), "{definition:?}");
            let text = serde_json::to_string(definition).unwrap();
            assert!(!text.contains("\"format\":\"") && !text.contains("\"type\":[") && !text.contains("\\n"), "{text}");
            assert!(definition.description.as_ref().is_some_and(|text| text.ends_with('.')));
        }
        assert_eq!(ALL.iter().filter(|tool| tool.is_read_only()).count(), 9);
    }
}
