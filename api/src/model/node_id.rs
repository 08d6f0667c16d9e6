//! Globally unique ids, as `node` accepts them. An object with a row has its UUID; the id of any other object starts
//! with its kind.

use std::fmt;

use uuid::Uuid;

use super::collaborator::EmailAddress;
use super::error::Result;
use super::ids::{AgentConfigurationId, FileSnapshotId, FolderId, MessageId, ProjectId, ReadId, UserId, not_an_id};

/// Maximum number of ids of `nodes`.
pub const MAX_NODES: usize = 100;

/// The id of any object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NodeId {
    /// An object with its own row and id, now or as of a revision.
    Row(ReadId<Uuid>),
    /// An implicit folder.
    Folder(FolderId),
    /// The preferences of a user.
    Preferences(UserId),
    /// The membership of a user in a project.
    Collaborator(ProjectId, UserId),
    /// The presence of a user in a project.
    Presence(ProjectId, UserId),
    /// An invitation as the invited user sees it.
    Invitation(ProjectId, UserId),
    /// An invitation to an e-mail address, as the project's owner sees it.
    EmailInvitation(ProjectId, EmailAddress),
    /// An entry of a project's log.
    Event(ProjectId, i32),
    /// A message in the list of recent activity, now or as of a revision.
    Activity(ReadId<MessageId>),
    /// A streaming message. When finished, it is a message with a plain id.
    StreamingMessage(MessageId),
    /// A version of an agent configuration.
    AgentConfigurationVersion(AgentConfigurationId, i32),
    /// The last version of coalesced autosaves, with their number.
    CoalescedVersion(FileSnapshotId, i32),
    /// The change from the version before coalesced autosaves to the last of them, with their number.
    CoalescedChange(FileSnapshotId, i32),
}

impl NodeId {
    /// Parses the format that `Display` writes.
    ///
    /// # Errors
    /// `BadInput` with `field` for any other text.
    pub fn parse(text: &str, field: &str) -> Result<Self> {
        let parsed = match text.split_once(':') {
            Some((kind, rest)) => Self::of_kind(kind, rest),
            None => ReadId::parse(text, field).ok().map(Self::Row),
        };
        parsed.or_else(|| FolderId::parse(text).map(Self::Folder)).ok_or_else(|| not_an_id(field))
    }

    fn of_kind(kind: &str, rest: &str) -> Option<Self> {
        fn uuid<I: From<Uuid>>(text: &str) -> Option<I> {
            // Without a revision: these objects have no history.
            ReadId::parse(text, "id").ok().filter(|id| id.at.is_none()).map(|id| id.id)
        }
        let pair = || rest.split_once(':');
        let members = || pair().and_then(|(project, user)| Some((uuid(project)?, uuid(user)?)));
        // Accept only one spelling of a number, so that no object has two ids.
        let numbered = || {
            let (id, number) = pair()?;
            let parsed: i32 = number.parse().ok()?;
            (parsed >= 1 && parsed.to_string() == number).then_some((id, parsed))
        };
        Some(match kind {
            "preferences" => Self::Preferences(uuid(rest)?),
            "collaborator" => members().map(|(project, user)| Self::Collaborator(project, user))?,
            "presence" => members().map(|(project, user)| Self::Presence(project, user))?,
            "invitation" => members().map(|(project, user)| Self::Invitation(project, user))?,
            "email-invitation" => {
                let (project, address) = pair()?;
                let email = EmailAddress::parse(address, "id").ok().filter(|email| email.as_str() == address)?;
                Self::EmailInvitation(uuid(project)?, email)
            }
            "event" => numbered().and_then(|(project, revision)| Some(Self::Event(uuid(project)?, revision)))?,
            "activity" => Self::Activity(ReadId::parse(rest, "id").ok()?),
            "streaming-message" => Self::StreamingMessage(uuid(rest)?),
            "agent-configuration-version" => {
                let (id, version) = numbered()?;
                Self::AgentConfigurationVersion(uuid(id)?, version)
            }
            "coalesced-version" | "coalesced-change" => {
                // A single version has a plain id.
                let (id, count) = numbered().filter(|(_, count)| *count > 1)?;
                match kind {
                    "coalesced-version" => Self::CoalescedVersion(uuid(id)?, count),
                    _ => Self::CoalescedChange(uuid(id)?, count),
                }
            }
            _ => return None,
        })
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Row(id) => write!(f, "{id}"),
            Self::Folder(id) => write!(f, "{id}"),
            Self::Preferences(user) => write!(f, "preferences:{}", user.0),
            Self::Collaborator(project, user) => write!(f, "collaborator:{}:{}", project.0, user.0),
            Self::Presence(project, user) => write!(f, "presence:{}:{}", project.0, user.0),
            Self::Invitation(project, user) => write!(f, "invitation:{}:{}", project.0, user.0),
            Self::EmailInvitation(project, email) => write!(f, "email-invitation:{}:{}", project.0, email.as_str()),
            Self::Event(project, revision) => write!(f, "event:{}:{revision}", project.0),
            Self::Activity(id) => write!(f, "activity:{id}"),
            Self::StreamingMessage(id) => write!(f, "streaming-message:{}", id.0),
            Self::AgentConfigurationVersion(id, version) => {
                write!(f, "agent-configuration-version:{}:{version}", id.0)
            }
            Self::CoalescedVersion(id, count) => write!(f, "coalesced-version:{}:{count}", id.0),
            Self::CoalescedChange(id, count) => write!(f, "coalesced-change:{}:{count}", id.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "0192d3c4-0000-7000-8000-00000000000a";
    const B: &str = "0192d3c4-0000-7000-8000-00000000000b";

    #[test]
    fn parsing_and_formatting_round_trip() {
        for id in [
            A.to_owned(),
            format!("{A}@0"),
            format!("{A}@2147483647"),
            format!("{A}/src"),
            format!("{A}@7/src/a:b@3"),
            format!("preferences:{A}"),
            format!("collaborator:{A}:{B}"),
            format!("presence:{A}:{B}"),
            format!("invitation:{A}:{B}"),
            format!("email-invitation:{A}:ada@example.com"),
            format!("event:{A}:12"),
            format!("activity:{A}"),
            format!("activity:{A}@3"),
            format!("streaming-message:{A}"),
            format!("agent-configuration-version:{A}:2"),
            format!("coalesced-version:{A}:2"),
            format!("coalesced-change:{A}:12"),
        ] {
            assert_eq!(NodeId::parse(&id, "id").unwrap().to_string(), id);
        }
    }

    #[test]
    fn invalid_ids_are_refused() {
        for id in [
            String::new(),
            "nonsense".to_owned(),
            format!("{A}@"),
            format!("{A}@-1"),
            format!("{A}@+1"),
            format!("{A}@01"),
            format!("{A}@1@2"),
            format!("{A}@2147483648"),
            format!("{A}@x"),
            format!("@1{A}"),
            format!("{A}/"),
            format!("{A}/../x"),
            format!("preferences:{A}@1"),
            format!("collaborator:{A}"),
            format!("collaborator:{A}:{B}@1"),
            format!("event:{A}:0"),
            format!("event:{A}:01"),
            format!("event:{A}"),
            format!("email-invitation:{A}:Ada@example.com"),
            format!("coalesced-change:{A}:1"),
            format!("coalesced-change:{A}:02"),
            format!("coalesced-version:{A}"),
            format!("thing:{A}"),
            "activity:".to_owned(),
        ] {
            assert!(NodeId::parse(&id, "id").is_err(), "{id:?}");
        }
    }
}
