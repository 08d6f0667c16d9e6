//! Decodes the content of a file for display. The stored bytes are not changed.

use std::borrow::Cow;

use encoding_rs::{Encoding, UTF_8, UTF_16BE, UTF_16LE};

/// Size of the part at the beginning of a file that can declare an encoding, in bytes.
const HEAD: usize = 1_024;

/// The text of a file: UTF-8, or else decoded according to its byte order mark or to a declaration in its first two
/// lines (`coding: latin-1` as in Python and Emacs, `fileencoding=` as in Vim, `encoding="…"` as in XML). `None` if no
/// encoding is declared or the bytes are invalid in it.
pub fn shown(bytes: &[u8]) -> Option<Cow<'_, str>> {
    if let Ok(text) = std::str::from_utf8(bytes) {
        return Some(Cow::Borrowed(text));
    }
    let (encoding, bytes) = match bytes {
        [0xff, 0xfe, rest @ ..] => (UTF_16LE, rest),
        [0xfe, 0xff, rest @ ..] => (UTF_16BE, rest),
        _ => (declared(bytes)?, bytes),
    };
    let text = encoding.decode_without_bom_handling_and_without_replacement(bytes)?;
    Some(Cow::Owned(text.into_owned()))
}

/// The encoding declared in the first two lines, if it is ASCII-compatible and not UTF-8.
fn declared(bytes: &[u8]) -> Option<&'static Encoding> {
    let head = bytes.get(..HEAD.min(bytes.len()))?;
    let mut lines = head.split(|byte| *byte == b'\n').take(2).map(String::from_utf8_lossy);
    lines.find_map(|line| {
        let (_, rest) = line.split_once("coding")?;
        let rest = rest.trim_start().strip_prefix([':', '='])?.trim_start().trim_start_matches(['"', '\'']);
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && !"-_.:".contains(c)).unwrap_or(rest.len());
        let label = rest.get(..end)?.to_ascii_lowercase().replace('_', "-");
        let label = if label.starts_with("latin-") { label.replacen('-', "", 1) } else { label };
        Encoding::for_label(label.as_bytes()).filter(|found| *found != UTF_8 && found.is_ascii_compatible())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_decoded_as_declared() {
        for (bytes, text) in [
            (&b"plain"[..], Some("plain")),
            ("\u{feff}größe".as_bytes(), Some("\u{feff}größe")),
            (b"\xff\xfeg\0\xf6\0\n\0", Some("gö\n")),
            (b"\xfe\xff\0g\0\xf6", Some("gö")),
            (b"# -*- coding: latin-1 -*-\n\xf6\n", Some("# -*- coding: latin-1 -*-\nö\n")),
            (
                b"#!/usr/bin/python\n# vim: set fileencoding=cp1251 :\n\xcf",
                Some("#!/usr/bin/python\n# vim: set fileencoding=cp1251 :\nП"),
            ),
            (b"<?xml version='1.0' encoding='ISO-8859-1'?>\xe9", Some("<?xml version='1.0' encoding='ISO-8859-1'?>é")),
            // No declaration, a late one, an unknown or wrong encoding, and invalid bytes.
            (b"\xf6", None),
            (b"\n\n# coding: latin-1\n\xf6", None),
            (b"# coding: klingon\n\xf6", None),
            (b"# coding: utf-8\n\xf6", None),
            (b"\xff\xfe\0", None),
            (b"\xff\xfe\0\xd8", None),
        ] {
            assert_eq!(shown(bytes).as_deref(), text, "{bytes:?}");
        }
    }
}
