//! The parents of lists, with the proofs that the caller is a member of their projects.

use std::hash::Hash;

use crate::domain::{Member, Tx, access};
use crate::model::error::Result;
use crate::model::file::FilesOf;
use crate::model::ids::{ProjectId, Within};

/// The owner of a list: a project, or an object in a project.
pub trait Parent: Copy + Eq + Hash {
    /// The rest of the key besides its project.
    type Inner: Copy;

    fn project(&self) -> ProjectId;
    fn inner(self) -> Self::Inner;
}

impl Parent for ProjectId {
    type Inner = ();

    fn project(&self) -> ProjectId {
        *self
    }

    fn inner(self) {}
}

impl Parent for FilesOf {
    type Inner = Option<i32>;

    fn project(&self) -> ProjectId {
        self.project
    }

    fn inner(self) -> Option<i32> {
        self.at
    }
}

impl<I: Copy + Eq + Hash> Parent for Within<I> {
    type Inner = I;

    fn project(&self) -> ProjectId {
        self.project
    }

    fn inner(self) -> I {
        self.id
    }
}

/// The parents whose projects the caller is a member of, in the form that storage expects.
pub(super) async fn parents<'t, P: Parent>(tx: &'t Tx, of: &[P]) -> Result<Vec<(Member<'t>, P::Inner)>> {
    Ok(member_pairs(access::within(tx, of, P::project).await?, P::inner))
}

pub(super) fn member_pairs<'t, K, I>(keys: Vec<(Member<'t>, K)>, inner: impl Fn(K) -> I) -> Vec<(Member<'t>, I)> {
    keys.into_iter().map(|(member, key)| (member, inner(key))).collect()
}

pub(super) fn members<'t>(projects: &[(Member<'t>, ())]) -> Vec<Member<'t>> {
    projects.iter().map(|(member, ())| *member).collect()
}

pub(super) async fn projects<'t, K>(
    tx: &'t Tx,
    keys: &[K],
    project: impl Fn(&K) -> ProjectId,
) -> Result<Vec<Member<'t>>> {
    Ok(access::members(tx, keys.iter().map(project)).await?.into_values().collect())
}

pub(super) async fn objects<'t, K, I: Copy + Eq + Hash>(
    tx: &'t Tx,
    keys: &[K],
    thing: impl Fn(&K) -> Within<I>,
) -> Result<Vec<(Member<'t>, I)>> {
    parents(tx, &keys.iter().map(thing).collect::<Vec<_>>()).await
}

pub(super) async fn revisions<'t, K>(
    tx: &'t Tx,
    keys: &[K],
    revision: impl Fn(&K) -> (ProjectId, i32),
) -> Result<Vec<(Member<'t>, i32)>> {
    let revisions: Vec<(ProjectId, i32)> = keys.iter().map(revision).collect();
    Ok(member_pairs(access::within(tx, &revisions, |key| key.0).await?, |key| key.1))
}
