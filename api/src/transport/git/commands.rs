//! The commands of a push (gitprotocol-pack(5), "Reference Update Request").

use super::packet::{Taken, take};

/// The only branch.
pub(super) const BRANCH: &str = "refs/heads/main";

/// Stands for no commit.
pub(super) const ZERO: &str = "0000000000000000000000000000000000000000";

/// Longest list of commands, in bytes.
const MAX_BYTES: usize = 64 * 1024;

/// A change of a reference.
pub(super) struct Command {
    pub(super) old: String,
    pub(super) new: String,
    pub(super) name: String,
}

impl Command {
    /// Parses `OLD NEW NAME`.
    fn parse(line: &str) -> Option<Self> {
        let mut words = line.trim_end_matches('\n').splitn(3, ' ').map(str::to_owned);
        let (old, new, name) = (words.next()?, words.next()?, words.next()?);
        let is_id = |id: &str| id.len() == ZERO.len() && id.bytes().all(|byte| byte.is_ascii_hexdigit());
        let is_safe = !name.is_empty() && !name.contains(char::is_control);
        (is_id(&old) && is_id(&new) && is_safe).then_some(Self { old, new, name })
    }

    /// Why a change cannot be made, whatever it contains.
    pub(super) fn flaw(&self) -> Option<&'static str> {
        match (self.name == BRANCH, self.new == ZERO) {
            (false, _) => Some("only refs/heads/main can be pushed"),
            (true, true) => Some("the branch cannot be deleted"),
            (true, false) => None,
        }
    }
}

/// The commands of a push, as they arrive.
#[derive(Default)]
pub(super) struct Commands {
    bytes: Vec<u8>,
    pub(super) list: Vec<Command>,
    abilities: Vec<String>,
}

/// The list of commands is not one.
pub(super) struct Invalid;

impl Commands {
    /// Adds bytes. Returns what follows the commands once they are complete.
    pub(super) fn add(&mut self, bytes: &[u8]) -> Result<Option<Vec<u8>>, Invalid> {
        self.bytes.extend_from_slice(bytes);
        loop {
            let (line, rest) = match take(&self.bytes) {
                Taken::Line(line, rest) => (line, rest),
                Taken::End(rest) => return Ok(Some(rest.to_vec())),
                Taken::Part if self.bytes.len() <= MAX_BYTES => return Ok(None),
                Taken::Part | Taken::Invalid => return Err(Invalid),
            };
            let text = std::str::from_utf8(line).map_err(|_| Invalid)?;
            let (text, abilities) = text.split_once('\0').unwrap_or((text, ""));
            // A shallow clone names the commits whose parents it lacks.
            if !text.starts_with("shallow ") {
                let command = Command::parse(text).ok_or(Invalid)?;
                if self.list.iter().any(|other| other.name == command.name) {
                    return Err(Invalid);
                }
                self.list.push(command);
                self.abilities.extend(abilities.split_whitespace().map(str::to_owned));
            }
            if self.list.len() > MAX_BYTES / ZERO.len() {
                return Err(Invalid);
            }
            let rest = rest.to_vec();
            self.bytes = rest;
        }
    }

    /// Whether the client has asked for an ability.
    pub(super) fn has(&self, ability: &str) -> bool {
        self.abilities.iter().any(|has| has == ability)
    }
}
