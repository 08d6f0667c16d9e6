//! The six views of the original system and the view of pending invitations, one file each.

pub mod file_change_history;
pub mod file_version_history;
pub mod pending_invitations;
pub mod project_collaboration_overview;
pub mod project_overview;
pub mod recent_chat_activity;
pub mod user_activity_summary;
