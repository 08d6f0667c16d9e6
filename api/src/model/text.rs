//! Decodes the content of a file for display, and encodes merges again. The stored bytes are not changed.

use std::borrow::Cow;

use encoding_rs::{Encoding, UTF_8, UTF_16BE, UTF_16LE};

/// Size of the part at the beginning of a file that can declare an encoding, in bytes.
const HEAD: usize = 1_024;

/// The character encoding of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Coding(&'static Encoding);

impl Coding {
    /// The encoding of most texts.
    pub const UTF_8: Self = Self(UTF_8);

    /// The name, as in `UTF-8`, `UTF-16LE`, `windows-1252`.
    pub fn name(self) -> &'static str {
        self.0.name()
    }

    /// Whether ASCII characters have their usual bytes.
    pub fn is_ascii_compatible(self) -> bool {
        self.0.is_ascii_compatible()
    }

    /// Encodes a text, with a byte order mark in UTF-16. `None` if the encoding lacks a character of the text.
    pub fn encode(self, text: &str) -> Option<Vec<u8>> {
        let units = || std::iter::once(0xfeff).chain(text.encode_utf16());
        if self.0 == UTF_16LE {
            return Some(units().flat_map(u16::to_le_bytes).collect());
        }
        if self.0 == UTF_16BE {
            return Some(units().flat_map(u16::to_be_bytes).collect());
        }
        let (bytes, _, has_unmappable) = self.0.encode(text);
        (!has_unmappable).then(|| bytes.into_owned())
    }
}

/// The text of a file: UTF-8, or else decoded according to its byte order mark or to a declaration in its first two
/// lines (`coding: latin-1` as in Python and Emacs, `fileencoding=` as in Vim, `encoding="…"` as in XML). `None` if no
/// encoding is declared or the bytes are invalid in it.
pub fn shown(bytes: &[u8]) -> Option<Cow<'_, str>> {
    decoded(bytes).map(|(text, _)| text)
}

/// As [`shown`], with the encoding.
pub fn decoded(bytes: &[u8]) -> Option<(Cow<'_, str>, Coding)> {
    if let Ok(text) = std::str::from_utf8(bytes) {
        return Some((Cow::Borrowed(text), Coding::UTF_8));
    }
    let (encoding, bytes) = match bytes {
        // The byte order marks of UTF-32, which browsers do not support either. The first one begins like UTF-16LE's.
        [0xff, 0xfe, 0, 0, ..] | [0, 0, 0xfe, 0xff, ..] => return None,
        [0xff, 0xfe, rest @ ..] => (UTF_16LE, rest),
        [0xfe, 0xff, rest @ ..] => (UTF_16BE, rest),
        _ => (declared(bytes)?, bytes),
    };
    let text = encoding.decode_without_bom_handling_and_without_replacement(bytes)?;
    Some((Cow::Owned(text.into_owned()), Coding(encoding)))
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
    fn a_text_is_encoded_as_it_was() {
        for bytes in [
            &b"plain"[..],
            "größe".as_bytes(),
            b"\xff\xfeg\0\xf6\0\n\0",
            b"\xff\xfe=\xd8\0\xde",
            b"\xfe\xff\0g\0\xf6",
            b"# coding: latin-1\n\xf6\x80\n",
            b"# coding: cp1251\n\xcf\n",
            b"# coding: Shift_JIS\n\x93\xfa\n",
        ] {
            let (text, coding) = decoded(bytes).unwrap();
            assert_eq!(coding.encode(&text).as_deref(), Some(bytes), "{bytes:?}");
        }
        let (_, latin_1) = decoded(b"# coding: latin-1\n\xf6\n").unwrap();
        assert_eq!(latin_1.encode("日"), None);
    }

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
            // UTF-32, including an empty text.
            (b"\xff\xfe\0\0g\0\0\0\n\0\0\0", None),
            (b"\xff\xfe\0\0", None),
            (b"\0\0\xfe\xff\0\0\0g", None),
            (b"\xff\xfe\0\xd8", None),
        ] {
            assert_eq!(shown(bytes).as_deref(), text, "{bytes:?}");
        }
    }
}
