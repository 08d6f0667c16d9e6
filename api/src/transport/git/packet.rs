//! The lines of git's protocols (gitprotocol-common(5), "pkt-line Format").

/// The end of a list of lines.
pub(super) const FLUSH: &[u8] = b"0000";

/// The most bytes of a line with its length.
const MAX_LINE_BYTES: usize = 65_520;

/// A line with this content.
pub(super) fn line(content: impl AsRef<[u8]>) -> Vec<u8> {
    let content = content.as_ref();
    [format!("{:04x}", content.len() + 4).as_bytes(), content].concat()
}

/// The number of a channel in a response with several.
#[derive(Clone, Copy)]
pub(super) enum Band {
    Data = 1,
    /// Text that git prints.
    Message = 2,
}

/// Content on a channel, in as many lines as it takes.
pub(super) fn on_band(band: Band, content: &[u8]) -> Vec<u8> {
    let parts = content.chunks(MAX_LINE_BYTES - 5);
    parts.flat_map(|part| line([&[band as u8], part].concat())).collect()
}

/// What [`take`] finds at the beginning of bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Packet<'b> {
    /// A line, and the rest.
    Line(&'b [u8], &'b [u8]),
    /// The end of the lines, and the rest.
    End(&'b [u8]),
    /// A part of a line.
    Part,
    /// No line.
    Invalid,
}

/// Takes a line from bytes.
pub(super) fn take(bytes: &[u8]) -> Packet<'_> {
    let Some((length, rest)) = bytes.split_at_checked(4) else { return Packet::Part };
    let hex = std::str::from_utf8(length).ok().filter(|hex| hex.bytes().all(|digit| digit.is_ascii_hexdigit()));
    let length = hex.and_then(|hex| usize::from_str_radix(hex, 16).ok());
    match length {
        Some(0) => Packet::End(rest),
        Some(length @ 4..=MAX_LINE_BYTES) => {
            rest.split_at_checked(length - 4).map_or(Packet::Part, |(line, rest)| Packet::Line(line, rest))
        }
        _ => Packet::Invalid,
    }
}

/// Whether bytes are whole lines, at least one, as every request for a fetch is. The ends of a list and of a section
/// have lengths of their own.
pub(super) fn are_lines(mut bytes: &[u8]) -> bool {
    let is_empty = bytes.is_empty();
    while !bytes.is_empty() {
        bytes = match (take(bytes), bytes.split_at_checked(4)) {
            (Packet::Line(_, rest) | Packet::End(rest), _) | (Packet::Invalid, Some((b"0001" | b"0002", rest))) => rest,
            _ => return false,
        };
    }
    !is_empty
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_taken_as_it_was_made() {
        let bytes = [line("a\n"), FLUSH.to_vec(), b"rest".to_vec()].concat();
        assert_eq!(take(&bytes), Packet::Line(b"a\n", b"0000rest"));
        assert_eq!(take(b"0000rest"), Packet::End(b"rest"));
        for part in [&b""[..], b"00", b"0006a"] {
            assert_eq!(take(part), Packet::Part);
        }
        for invalid in [&b"0001"[..], b"0003", b"zzzz", b"ffff", b"+00a"] {
            assert_eq!(take(invalid), Packet::Invalid, "{invalid:?}");
        }
    }

    #[test]
    fn requests_are_whole_lines() {
        for request in [&b"0000"[..], b"0006a\n0000", b"0014command=ls-refs\n00010009peel\n00000002", b"0004"] {
            assert!(are_lines(request), "{request:?}");
        }
        for request in [&b""[..], b"zzzz", b"0003", b"0000x", b"0006a", b"0006a\n00"] {
            assert!(!are_lines(request), "{request:?}");
        }
    }
}
