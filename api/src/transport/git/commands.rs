//! The commands of a push (gitprotocol-pack(5), "Reference Update Request").

use super::packet::{Packet, take};

/// The only branch.
pub(super) const REFERENCE: &str = "refs/heads/main";

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

    /// Why the reference cannot be changed at all.
    pub(super) fn flaw(&self) -> Option<&'static str> {
        match (self.name == REFERENCE, self.new == ZERO) {
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
    /// The number of parsed bytes.
    parsed: usize,
    pub(super) list: Vec<Command>,
    capabilities: Vec<String>,
}

/// The list of commands is malformed or too long.
pub(super) struct Invalid;

impl Commands {
    /// Adds bytes. Returns what follows the commands once they are complete.
    pub(super) fn add(&mut self, bytes: &[u8]) -> Result<Option<Vec<u8>>, Invalid> {
        self.bytes.extend_from_slice(bytes);
        loop {
            let (line, rest) = match take(self.bytes.get(self.parsed..).unwrap_or_default()) {
                Packet::Line(line, rest) => (line, rest),
                Packet::End(rest) => return Ok(Some(rest.to_vec())),
                Packet::Part if self.bytes.len() <= MAX_BYTES => return Ok(None),
                Packet::Part | Packet::Invalid => return Err(Invalid),
            };
            self.parsed = self.bytes.len() - rest.len();
            if self.parsed > MAX_BYTES {
                return Err(Invalid);
            }
            let text = std::str::from_utf8(line).map_err(|_| Invalid)?;
            let (text, capabilities) = text.split_once('\0').unwrap_or((text, ""));
            // A shallow clone names the commits whose parents it lacks.
            if !text.starts_with("shallow ") {
                let command = Command::parse(text).ok_or(Invalid)?;
                if self.list.iter().any(|other| other.name == command.name) {
                    return Err(Invalid);
                }
                self.list.push(command);
                self.capabilities.extend(capabilities.split_whitespace().map(str::to_owned));
            }
        }
    }

    /// Whether the client has asked for a capability.
    pub(super) fn has(&self, capability: &str) -> bool {
        self.capabilities.iter().any(|has| has == capability)
    }
}
