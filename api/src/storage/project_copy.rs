//! Copies all rows of a project from one database to another, of either kind, without what belongs to its team or to a
//! server: memberships, access tokens, webhooks, invitations, addresses, unfinished streaming messages, and sums that can be
//! computed again.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use entity::{
    agent_configuration_versions, agent_configurations, blobs, chat_messages, chat_sessions, file_snapshots,
    hidden_messages, project_events, project_files, project_former_collaborators, project_snapshot_changes,
    project_snapshots, project_undone_files, project_undos, project_versions, projects, user_profiles,
};
use migration::{Migrator, MigratorTrait};
use sea_orm::prelude::DateTimeWithTimeZone;
use sea_orm::sea_query::{Expr, OnConflict};
use sea_orm::{
    ActiveModelTrait, ColumnTrait, ColumnType, Condition, ConnectionTrait, DatabaseTransaction, DbBackend, DbErr,
    EntityTrait, FromQueryResult, IdenStatic, IntoActiveModel, Iterable, ModelTrait, PrimaryKeyToColumn, QueryFilter,
    QueryOrder, QuerySelect, TransactionTrait, Value,
};
use uuid::Uuid;

use super::copy_error::CopyError;
use super::db::{Db, sqlite_url};
use crate::model::ids::{ProjectId, UserId};
use crate::model::limits::DatabaseLimits;
use crate::model::path::FilePath;
use crate::model::profile::MAX_AVATAR_URL_BYTES;

/// Rows that are read and written at once, and their bytes; at least one row.
const PAGE: usize = 100;
const PAGE_BYTES: i64 = 4 * 1024 * 1024;

/// The owner of the copy.
pub struct Owner {
    /// The user.
    pub id: UserId,
    /// Their address, if they have no profile yet.
    pub email: String,
}

/// What was copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Copied {
    /// The project's id in the copy.
    pub project: ProjectId,
    /// Number of rows.
    pub rows: u64,
    /// Whether its objects got new ids, since the project's id was taken.
    pub has_new_ids: bool,
}

/// Receives the number of rows that are copied, and of all.
pub type Report<'a> = &'a mut (dyn FnMut(u64, u64) + Send + Sync);

/// A copy in progress.
struct Copy<'a, C> {
    from: &'a C,
    to: &'a DatabaseTransaction,
    /// The project's id in the source.
    project: Uuid,
    /// By how much ids move back in time, in milliseconds.
    shift: u64,
    rows: u64,
    /// The number of rows to copy.
    total: u64,
    /// Receives `rows` and `total` after each page.
    report: Report<'a>,
}

/// Copies a project to a new SQLite file, or an empty one. Returns the database, and the number of rows.
///
/// # Errors
/// As [`CopyError`].
pub async fn to_file(
    from: &impl ConnectionTrait,
    project: ProjectId,
    path: &Path,
    limits: &DatabaseLimits,
    report: Report<'_>,
) -> Result<(Db, u64), CopyError> {
    let cannot = |why: String| CopyError::Target(DbErr::Custom(why));
    let url = sqlite_url(path).map_err(|error| cannot(error.to_string()))?;
    let to = Db::connect(&url, limits).await;
    let to = to.map_err(|error| cannot(error.cause().map_or_else(|| error.message(), str::to_owned)))?;
    let copied = async {
        Migrator::up(to.migrations(), None).await?;
        let target = to.migrations().begin().await?;
        copy(from, target, project, None, report).await
    };
    match copied.await {
        Ok(copied) => Ok((to, copied.rows)),
        Err(error) => {
            to.close().await;
            Err(error)
        }
    }
}

/// Copies a project from a transaction that sees one state of the source, keeps its ids if they are free, and commits. Otherwise
/// all ids of its objects, but not those of users, move back in time by the same number of milliseconds, so that they keep their
/// order. Without an owner, the project keeps its own. `report` receives the progress.
///
/// # Errors
/// As [`CopyError`].
pub async fn copy<C: ConnectionTrait>(
    from: &C,
    to: DatabaseTransaction,
    project: ProjectId,
    owner: Option<&Owner>,
    report: Report<'_>,
) -> Result<Copied, CopyError> {
    let copied = copy_rows(from, &to, project, owner, report).await?;
    to.commit().await?;
    Ok(copied)
}

async fn copy_rows<C: ConnectionTrait>(
    from: &C,
    to: &DatabaseTransaction,
    project: ProjectId,
    owner: Option<&Owner>,
    report: Report<'_>,
) -> Result<Copied, CopyError> {
    let source = projects::Entity::find_by_id(project.0).one(from).await.map_err(CopyError::Source)?;
    let source = source.ok_or(CopyError::Missing)?;
    let is_taken = projects::Entity::find_by_id(project.0).one(to).await?.is_some();
    let shift = if is_taken { rand::random_range(1..MAX_SHIFT) } else { 0 };
    let mut copy = Copy { from, to, project: project.0, shift, rows: 0, total: 0, report };
    let owner_id = owner.map_or(source.user_id, |owner| owner.id.0);
    let people = copy.people(&source, owner_id, owner).await?;
    // Also the project's own row and its former members.
    let former = people.iter().filter(|person| **person != owner_id).count();
    copy.total = copy.count().await? + 1 + u64::try_from(former).unwrap_or_default();
    copy.project_row(source.clone(), owner_id).await?;
    copy.former(&source, people, owner_id).await?;
    copy.conversation(owner.map(|owner| (owner.id.0, source.last_activity_at))).await?;
    copy.configurations().await?;
    copy.files().await?;
    copy.log().await?;
    Ok(Copied { project: ProjectId(copy.id(project.0)), rows: copy.rows, has_new_ids: shift > 0 })
}

/// The largest shift: about 35 years.
const MAX_SHIFT: u64 = 1 << 40;

/// The bits of a UUID of version 7 that follow the time.
const TIME_AT: u32 = 80;

impl<C: ConnectionTrait> Copy<'_, C> {
    fn id(&self, id: Uuid) -> Uuid {
        Uuid::from_u128(id.as_u128().wrapping_sub(u128::from(self.shift) << TIME_AT))
    }

    fn id_of(&self, id: Option<Uuid>) -> Option<Uuid> {
        id.map(|id| self.id(id))
    }

    /// The number of rows of all tables.
    async fn count(&self) -> Result<u64, CopyError> {
        let counts = [
            self.count_of::<project_versions::Entity>(project_versions::Column::ProjectId).await?,
            self.count_of::<chat_sessions::Entity>(chat_sessions::Column::ProjectId).await?,
            self.count_of::<chat_messages::Entity>(chat_messages::Column::ProjectId).await?,
            self.count_of::<hidden_messages::Entity>(hidden_messages::Column::ProjectId).await?,
            self.count_of::<agent_configurations::Entity>(agent_configurations::Column::ProjectId).await?,
            self.count_of::<agent_configuration_versions::Entity>(agent_configuration_versions::Column::ProjectId)
                .await?,
            self.count_of::<project_files::Entity>(project_files::Column::ProjectId).await?,
            self.count_of::<blobs::Entity>(blobs::Column::ProjectId).await?,
            self.count_of::<file_snapshots::Entity>(file_snapshots::Column::ProjectId).await?,
            self.count_of::<project_snapshots::Entity>(project_snapshots::Column::ProjectId).await?,
            self.count_of::<project_events::Entity>(project_events::Column::ProjectId).await?,
            self.count_of::<project_snapshot_changes::Entity>(project_snapshot_changes::Column::ProjectId).await?,
            self.count_of::<project_undos::Entity>(project_undos::Column::ProjectId).await?,
            self.count_of::<project_undone_files::Entity>(project_undone_files::Column::ProjectId).await?,
        ];
        Ok(counts.iter().sum())
    }

    async fn count_of<E: EntityTrait>(&self, project: E::Column) -> Result<u64, CopyError> {
        let count = E::find().select_only().column_as(project.count(), "n").filter(project.eq(self.project));
        let count: Option<i64> = count.into_tuple().one(self.from).await.map_err(CopyError::Source)?;
        Ok(u64::try_from(count.unwrap_or_default()).unwrap_or_default())
    }

    /// Copies the rows of a table that belong to the project, in the order of their keys.
    async fn table<E>(
        &mut self,
        project: E::Column,
        change: impl Fn(&Self, &mut E::Model) -> Result<(), CopyError>,
    ) -> Result<(), CopyError>
    where
        E: EntityTrait,
        E::Model: IntoActiveModel<E::ActiveModel> + FromQueryResult + Send + Sync,
        E::ActiveModel: Send,
    {
        let keys: Vec<E::Column> = E::PrimaryKey::iter().map(PrimaryKeyToColumn::into_column).collect();
        let size = size_of_row::<E>(self.from.get_database_backend());
        let mut after: Option<Vec<Value>> = None;
        loop {
            let mut rest = E::find().filter(project.eq(self.project));
            if let Some(after) = &after {
                rest = rest.filter(beyond(&keys, after));
            }
            for key in &keys {
                rest = rest.order_by_asc(*key);
            }
            let sizes = rest.clone().select_only().expr_as(size.clone(), "size").limit(u64::try_from(PAGE).ok());
            let sizes: Vec<i64> = sizes.into_tuple().all(self.from).await.map_err(CopyError::Source)?;
            let mut models =
                rest.limit(u64::try_from(page(&sizes)).ok()).all(self.from).await.map_err(CopyError::Source)?;
            let Some(last) = models.last() else { return Ok(()) };
            after = Some(keys.iter().map(|key| last.get(*key)).collect());
            for model in &mut models {
                change(self, model)?;
            }
            self.insert::<E>(models).await?;
        }
    }

    async fn insert<E>(&mut self, models: Vec<E::Model>) -> Result<(), CopyError>
    where
        E: EntityTrait,
        E::Model: IntoActiveModel<E::ActiveModel>,
        E::ActiveModel: Send,
    {
        let rows = models.len();
        E::insert_many(models.into_iter().map(set::<E>)).exec_without_returning(self.to).await?;
        self.advance(rows);
        Ok(())
    }

    fn advance(&mut self, rows: usize) {
        self.rows += u64::try_from(rows).unwrap_or_default();
        (self.report)(self.rows, self.total);
    }

    /// Copies the people of the history as names, and returns their ids.
    async fn people(
        &mut self,
        source: &projects::Model,
        owner_id: Uuid,
        owner: Option<&Owner>,
    ) -> Result<HashSet<Uuid>, CopyError> {
        let mut people = HashSet::from([source.user_id]);
        people.extend(
            self.users::<chat_sessions::Entity>(chat_sessions::Column::UserId, chat_sessions::Column::ProjectId)
                .await?,
        );
        people.extend(
            self.users::<chat_messages::Entity>(chat_messages::Column::UserId, chat_messages::Column::ProjectId)
                .await?,
        );
        people.extend(
            self.users::<agent_configurations::Entity>(
                agent_configurations::Column::UserId,
                agent_configurations::Column::ProjectId,
            )
            .await?,
        );
        people.extend(
            self.users::<project_events::Entity>(project_events::Column::ActorId, project_events::Column::ProjectId)
                .await?,
        );
        let mut profiles = self.profiles(&people, owner.is_none()).await?;
        if let Some(owner) = owner {
            match profiles.iter_mut().find(|profile| profile.id == owner_id) {
                Some(profile) => profile.email = Some(owner.email.clone()),
                None => profiles.push(user_profiles::Model {
                    id: owner_id,
                    email: Some(owner.email.clone()),
                    full_name: None,
                    avatar_url: None,
                    created_at: source.last_activity_at,
                    updated_at: source.last_activity_at,
                    own_full_name: false,
                    own_avatar_url: false,
                    claims_at: None,
                    is_machine: false,
                }),
            }
        }
        // An account that exists stays as it is.
        let known = OnConflict::column(user_profiles::Column::Id).do_nothing().to_owned();
        for page in profiles.chunks(100) {
            let insert = user_profiles::Entity::insert_many(page.iter().cloned().map(set::<user_profiles::Entity>))
                .on_conflict(known.clone());
            insert.exec_without_returning(self.to).await?;
        }
        Ok(people)
    }

    /// The profiles of users, with what the copy has of them.
    async fn profiles(
        &self,
        people: &HashSet<Uuid>,
        keeps_machines: bool,
    ) -> Result<Vec<user_profiles::Model>, CopyError> {
        use user_profiles::Column;
        // Only the columns that members can read.
        let columns = [Column::Id, Column::FullName, Column::AvatarUrl, Column::CreatedAt, Column::UpdatedAt];
        let profiles = user_profiles::Entity::find().select_only().columns(columns).column(Column::IsMachine);
        let profiles: Vec<(Uuid, _, Option<String>, _, _, bool)> = profiles
            .filter(Column::Id.is_in(people.iter().copied()))
            .into_tuple()
            .all(self.from)
            .await
            .map_err(CopyError::Source)?;
        let profiles = profiles.into_iter().map(|(id, full_name, avatar_url, created_at, updated_at, is_machine)| {
            user_profiles::Model {
                id,
                email: None,
                full_name,
                // A file can claim any length.
                avatar_url: avatar_url.filter(|url| url.len() <= MAX_AVATAR_URL_BYTES),
                created_at,
                updated_at,
                own_full_name: false,
                own_avatar_url: false,
                claims_at: None,
                // Tokens stay behind, and a file can claim that anybody is a machine.
                is_machine: is_machine && keeps_machines,
            }
        });
        Ok(profiles.collect())
    }

    /// The users in a column of the project's rows.
    async fn users<E: EntityTrait>(&self, user: E::Column, project: E::Column) -> Result<Vec<Uuid>, CopyError> {
        let users = E::find().select_only().column(user).distinct().filter(project.eq(self.project));
        let users: Vec<Option<Uuid>> = users.into_tuple().all(self.from).await.map_err(CopyError::Source)?;
        Ok(users.into_iter().flatten().collect())
    }

    async fn project_row(&mut self, source: projects::Model, owner: Uuid) -> Result<(), CopyError> {
        let copied = projects::Model { id: self.id(source.id), user_id: owner, ..source };
        self.insert::<projects::Entity>(vec![copied]).await?;
        self.table::<project_versions::Entity>(project_versions::Column::ProjectId, |copy, row| {
            row.project_id = copy.id(row.project_id);
            Ok(())
        })
        .await
    }

    /// Everyone but the owner is a former member, whose name the history shows.
    async fn former(&mut self, source: &projects::Model, people: HashSet<Uuid>, owner: Uuid) -> Result<(), CopyError> {
        let (project_id, left_at) = (self.id(source.id), source.last_activity_at);
        let others = people.into_iter().filter(|person| *person != owner);
        let former: Vec<_> =
            others.map(|user_id| project_former_collaborators::Model { project_id, user_id, left_at }).collect();
        for page in former.chunks(100) {
            self.insert::<project_former_collaborators::Entity>(page.to_vec()).await?;
        }
        Ok(())
    }

    /// Copies sessions and messages. With a new owner, the sessions of all others end at a time: they are no members.
    async fn conversation(&mut self, owner: Option<(Uuid, DateTimeWithTimeZone)>) -> Result<(), CopyError> {
        // A trigger counts the messages on SQLite.
        let is_counted = self.to.get_database_backend() == DbBackend::Sqlite;
        self.table::<chat_sessions::Entity>(chat_sessions::Column::ProjectId, move |copy, row| {
            (row.id, row.project_id) = (copy.id(row.id), copy.id(row.project_id));
            if is_counted {
                row.message_count = 0;
            }
            if let Some((owner, time)) = owner
                && row.is_active
                && row.user_id != owner
            {
                (row.is_active, row.ended_at) = (false, Some(time));
            }
            Ok(())
        })
        .await?;
        self.table::<chat_messages::Entity>(chat_messages::Column::ProjectId, |copy, row| {
            (row.id, row.project_id, row.session_id) =
                (copy.id(row.id), copy.id(row.project_id), copy.id(row.session_id));
            Ok(())
        })
        .await?;
        self.table::<hidden_messages::Entity>(hidden_messages::Column::ProjectId, |copy, row| {
            (row.message_id, row.project_id) = (copy.id(row.message_id), copy.id(row.project_id));
            Ok(())
        })
        .await
    }

    async fn configurations(&mut self) -> Result<(), CopyError> {
        self.table::<agent_configurations::Entity>(agent_configurations::Column::ProjectId, |copy, row| {
            (row.id, row.project_id) = (copy.id(row.id), copy.id(row.project_id));
            Ok(())
        })
        .await?;
        let project = agent_configuration_versions::Column::ProjectId;
        self.table::<agent_configuration_versions::Entity>(project, |copy, row| {
            (row.configuration_id, row.project_id) = (copy.id(row.configuration_id), copy.id(row.project_id));
            Ok(())
        })
        .await
    }

    async fn files(&mut self) -> Result<(), CopyError> {
        self.table::<project_files::Entity>(project_files::Column::ProjectId, |copy, row| {
            (row.id, row.project_id) = (copy.id(row.id), copy.id(row.project_id));
            is_path(&row.file_path)
        })
        .await?;
        let blobs = self.blobs().await?;
        self.table::<file_snapshots::Entity>(file_snapshots::Column::ProjectId, |copy, row| {
            (row.id, row.project_id, row.file_id) = (copy.id(row.id), copy.id(row.project_id), copy.id(row.file_id));
            row.blob_id = row.blob_id.map(|id| copied(&blobs, id)).transpose()?;
            is_path(&row.path)
        })
        .await?;
        self.table::<project_snapshots::Entity>(project_snapshots::Column::ProjectId, |copy, row| {
            (row.id, row.project_id) = (copy.id(row.id), copy.id(row.project_id));
            Ok(())
        })
        .await
    }

    /// Copies the contents, which get new ids: those of one depth after those that they build on.
    async fn blobs(&mut self) -> Result<HashMap<i64, i64>, CopyError> {
        use blobs::{Column, Entity};
        let of = Column::ProjectId;
        let sources = Entity::find().select_only().columns([Column::Depth, Column::Id, Column::Sha256]);
        let sources: Vec<(i16, i64, Vec<u8>, i64)> = sources
            .expr_as(size_of_row::<Entity>(self.from.get_database_backend()), "size")
            .filter(of.eq(self.project))
            .order_by_asc(Column::Depth)
            .order_by_asc(Column::Id)
            .into_tuple()
            .all(self.from)
            .await
            .map_err(CopyError::Source)?;
        let mut ids: HashMap<i64, i64> = HashMap::with_capacity(sources.len());
        let new_project = self.id(self.project);
        for depth in sources.chunk_by(|(one, ..), (other, ..)| one == other) {
            let mut hashes: HashMap<&[u8], i64> = HashMap::with_capacity(depth.len());
            let mut left = depth;
            while !left.is_empty() {
                let sizes: Vec<i64> = left.iter().take(PAGE).map(|(.., size)| *size).collect();
                let (page, rest) = left.split_at(page(&sizes));
                left = rest;
                hashes.extend(page.iter().map(|(_, id, sha256, _)| (sha256.as_slice(), *id)));
                let wanted = Column::Id.is_in(page.iter().map(|(_, id, ..)| *id));
                let rows = Entity::find()
                    .filter(wanted)
                    .order_by_asc(Column::Id)
                    .all(self.from)
                    .await
                    .map_err(CopyError::Source)?;
                let count = rows.len();
                let rows = rows.into_iter().map(|row| {
                    let base_id = row.base_id.map(|base| copied(&ids, base)).transpose()?;
                    let mut new = set::<Entity>(blobs::Model { project_id: new_project, base_id, ..row });
                    new.id = sea_orm::ActiveValue::NotSet;
                    Ok(new)
                });
                let rows = rows.collect::<Result<Vec<_>, CopyError>>()?;
                Entity::insert_many(rows).exec_without_returning(self.to).await?;
                self.advance(count);
            }
            let depth = depth.first().map_or(0, |(depth, ..)| *depth);
            let made = Entity::find().select_only().columns([Column::Id, Column::Sha256]);
            let made = made.filter(of.eq(new_project)).filter(Column::Depth.eq(depth));
            let made: Vec<(i64, Vec<u8>)> = made.into_tuple().all(self.to).await?;
            ids.extend(made.iter().filter_map(|(new, sha256)| Some((*hashes.get(sha256.as_slice())?, *new))));
        }
        Ok(ids)
    }

    async fn log(&mut self) -> Result<(), CopyError> {
        self.table::<project_events::Entity>(project_events::Column::ProjectId, |copy, row| {
            row.project_id = copy.id(row.project_id);
            (row.session_id, row.message_id) = (copy.id_of(row.session_id), copy.id_of(row.message_id));
            Ok(())
        })
        .await?;
        self.table::<project_snapshot_changes::Entity>(project_snapshot_changes::Column::ProjectId, |copy, row| {
            (row.project_id, row.snapshot_id) = (copy.id(row.project_id), copy.id(row.snapshot_id));
            Ok(())
        })
        .await?;
        self.table::<project_undos::Entity>(project_undos::Column::ProjectId, |copy, row| {
            row.project_id = copy.id(row.project_id);
            Ok(())
        })
        .await?;
        self.table::<project_undone_files::Entity>(project_undone_files::Column::ProjectId, |copy, row| {
            (row.project_id, row.file_id) = (copy.id(row.project_id), copy.id(row.file_id));
            Ok(())
        })
        .await
    }
}

/// The number of bytes of a row's texts and contents.
fn size_of_row<E: EntityTrait>(backend: DbBackend) -> Expr {
    let lengths = E::Column::iter().filter_map(|column| {
        let (table, name) = (E::default().table_name(), column.as_str());
        match column.def().get_column_type() {
            ColumnType::VarBinary(_) | ColumnType::Blob => Some(format!("coalesce(octet_length({table}.{name}), 0)")),
            ColumnType::Text | ColumnType::String(_) | ColumnType::Json | ColumnType::JsonBinary => {
                Some(match backend {
                    DbBackend::Sqlite => format!("coalesce(octet_length({table}.{name}), 0)"),
                    _ => format!("coalesce(octet_length(CAST({table}.{name} AS text)), 0)"),
                })
            }
            _ => None,
        }
    });
    let sum = lengths.fold("0".to_owned(), |sum, length| format!("{sum} + {length}"));
    Expr::cust(format!("CAST({sum} AS bigint)"))
}

/// The number of rows of the next page: as many as fit, and at least one.
fn page(sizes: &[i64]) -> usize {
    let mut left = PAGE_BYTES;
    let fit = sizes.iter().take_while(|size| {
        left = left.saturating_sub(**size);
        left >= 0
    });
    fit.count().max(1).min(sizes.len())
}

/// The rows after the one with these keys.
fn beyond<C: ColumnTrait>(keys: &[C], after: &[Value]) -> Condition {
    let mut beyond = Condition::any();
    for (index, (key, value)) in keys.iter().zip(after).enumerate() {
        let equal = keys.iter().zip(after).take(index);
        let equal = equal.fold(Condition::all(), |all, (key, value)| all.add(key.eq(value.clone())));
        beyond = beyond.add(equal.add(key.gt(value.clone())));
    }
    beyond
}

/// A row to insert, with all its values.
fn set<E: EntityTrait>(model: E::Model) -> E::ActiveModel
where
    E::Model: IntoActiveModel<E::ActiveModel>,
{
    model.into_active_model().reset_all()
}

fn copied(ids: &HashMap<i64, i64>, id: i64) -> Result<i64, CopyError> {
    ids.get(&id).copied().ok_or_else(|| CopyError::Damaged(format!("content {id} is missing")))
}

/// Checks that a path is one that a request could have written.
fn is_path(path: &str) -> Result<(), CopyError> {
    match FilePath::parse(path, "path") {
        Ok(parsed) if parsed.as_str() == path => Ok(()),
        _ => Err(CopyError::Damaged(format!("{path:?} is not the path of a file"))),
    }
}
