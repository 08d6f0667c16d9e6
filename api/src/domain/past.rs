//! Objects as of a revision. Objects that did not exist at the revision, and revisions that the project has not
//! reached, are left out.

use std::collections::{HashMap, HashSet};

use super::{Tx, access};
use crate::model::chat::Session;
use crate::model::error::Result;
use crate::model::event::{AsOf, Moment};
use crate::model::ids::{ProjectId, SessionId};
use crate::model::long_columns::Needing;
use crate::model::project::Project;
pub use crate::storage::agent_configuration::as_of as agent_configurations;
pub use crate::storage::chat::messages_as_of as messages;
pub use crate::storage::file::as_of as files;
use crate::storage::{chat, event, project};

/// Projects of the actor, each as of a revision.
pub async fn projects(tx: &Tx, wanted: &[Needing<(ProjectId, i32)>]) -> Result<Vec<(i32, Project)>> {
    let ids: Vec<Needing<ProjectId>> = wanted.iter().map(|Needing((id, _), columns)| Needing(*id, *columns)).collect();
    let rows: HashMap<ProjectId, Project> =
        project::by_ids(tx, &ids).await?.into_iter().map(|row| (row.id, row)).collect();
    let moments = moments(tx, wanted.iter().map(|Needing(key, _)| *key)).await?;
    let mut found = Vec::with_capacity(wanted.len());
    for (member, Needing(key, columns)) in access::within(tx, wanted, |Needing((id, _), _)| *id).await? {
        if let (Some(row), Some(as_of)) = (rows.get(&key.0), moments.get(&key)) {
            found.push((member, Needing(row.clone(), columns), *as_of));
        }
    }
    let rows = project::as_of(tx, found).await?;
    Ok(rows.into_iter().filter_map(|row| Some((row.as_of?.revision, row))).collect())
}

/// Sessions of the actor's projects, each as of a revision.
pub async fn sessions(tx: &Tx, wanted: &[Needing<(SessionId, i32)>]) -> Result<Vec<(i32, Session)>> {
    let ids: Vec<Needing<SessionId>> = wanted.iter().map(|Needing((id, _), columns)| Needing(*id, *columns)).collect();
    let rows: HashMap<SessionId, Session> =
        chat::sessions_by_ids(tx, &ids).await?.into_iter().map(|row| (row.id, row)).collect();
    let begun = |Needing((id, at), _): &Needing<(SessionId, i32)>| {
        rows.get(id).filter(|row| row.revision <= *at).map(|row| (row, *at))
    };
    let moments = moments(tx, wanted.iter().filter_map(begun).map(|(row, at)| (row.project_id, at))).await?;
    let then = |(row, at): (&Session, i32)| {
        Some((at, Session { as_of: Some(*moments.get(&(row.project_id, at))?), ..row.clone() }))
    };
    Ok(wanted.iter().filter_map(begun).filter_map(then).collect())
}

/// The moments at which projects of the actor reached these revisions.
async fn moments(
    tx: &Tx,
    wanted: impl IntoIterator<Item = (ProjectId, i32)>,
) -> Result<HashMap<(ProjectId, i32), AsOf>> {
    let wanted: HashSet<(ProjectId, i32)> = wanted.into_iter().collect();
    let wanted: Vec<(ProjectId, i32)> = wanted.into_iter().collect();
    let wanted = access::within(tx, &wanted, |(id, _)| *id).await?;
    let wanted: Vec<_> = wanted.into_iter().map(|(member, (_, at))| (member, Moment::Revision(at))).collect();
    if wanted.is_empty() {
        return Ok(HashMap::new());
    }
    let found = event::at(tx, &wanted).await?;
    Ok(found.into_iter().map(|((project, _), as_of)| ((project, as_of.revision), as_of)).collect())
}
