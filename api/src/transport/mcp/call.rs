//! A request of a client: its caller, and the transaction for its reads.

use std::sync::Arc;

use super::{
    cancellation::Cancellation,
    sessions::{ClientName, McpSession},
};
use crate::{
    domain::{Needs, Services, Size, Tx, Writer, access, file, project},
    graphql::reader::Reader,
    model::{
        actor::Actor,
        error::{Error, Result},
        file::Entry,
        ids::ProjectId,
        long_columns::{LongColumn, LongColumns},
        path::FilePath,
        project::Project,
    },
};

/// A request.
pub struct Call {
    /// The use cases.
    pub services: Arc<Services>,
    /// The caller.
    pub actor: Actor,
    /// The session, if the request names one.
    pub session: Option<Arc<McpSession>>,
    /// The client.
    pub client: ClientName,
    /// How the client cancels it.
    pub cancellation: Arc<Cancellation>,
    /// The view of the database, which all reads share.
    pub reader: Arc<Reader>,
}

impl Call {
    /// A request of this caller.
    pub fn new(
        services: Arc<Services>,
        actor: Actor,
        session: Option<Arc<McpSession>>,
        client: ClientName,
        cancellation: Arc<Cancellation>,
    ) -> Self {
        use LongColumn::{ChangeDescription, MessageContent, ProjectDescription, SessionMetadata};
        // What the tools read.
        let columns = LongColumns::of([ChangeDescription, MessageContent, ProjectDescription, SessionMetadata]);
        // Any tool can do CPU-bound work.
        let reader = Arc::new(Reader::new(services.clone(), actor.clone(), Needs::Own, Size::Large, columns));
        Self { services, actor, session, client, cancellation, reader }
    }

    /// The transaction of the reads.
    pub async fn tx(&self) -> Result<Arc<Tx>> {
        self.reader.tx().await
    }

    /// Runs a write. Later reads see its result.
    pub async fn write<T, W>(&self, write: impl FnOnce(Writer) -> W) -> Result<T>
    where
        T: Send + 'static,
        W: Future<Output = Result<T>> + Send + 'static,
    {
        // A request that waits for its turn to write holds no connection.
        self.reader.end().await;
        self.reader.need_the_present();
        self.services.write(&self.actor, write).await
    }

    /// The project in the argument `projectId`.
    ///
    /// # Errors
    /// `BadInput` if it is no id; `NotFound` if the caller is not a member.
    pub async fn project(&self, id: &str) -> Result<Project> {
        self.project_by_id(ProjectId::parse(id, "projectId")?).await
    }

    /// As [`Call::project`].
    ///
    /// # Errors
    /// `NotFound` if the caller is not a member.
    pub async fn project_by_id(&self, id: ProjectId) -> Result<Project> {
        let tx = self.tx().await?;
        let found = project::by_ids(&tx, &[id]).await?.into_iter().next();
        found.ok_or_else(|| Error::not_found("project", "projectId"))
    }
}

/// The file or folder at a path, now or as of a revision.
pub async fn entry(tx: &Tx, project: ProjectId, path: &FilePath, at: Option<i32>) -> Result<Option<Entry>> {
    let found = file::entries(tx, at, &[(access::required(tx, project).await?, path.clone())]).await?;
    Ok(found.into_iter().next())
}

/// Checks a revision to read at.
///
/// # Errors
/// `BadInput` if the project has not reached it.
pub fn check_at(project: &Project, at: Option<i32>, field: &str) -> Result<()> {
    match at {
        Some(at) if !(0..=project.revision).contains(&at) => {
            let newest = project.revision;
            Err(Error::bad_input(field, format!("Give a revision from 0, before the first, to {newest}.")))
        }
        _ => Ok(()),
    }
}
