//! Commit objects, parsed in the same way as git (its `split_ident_line` and `find_commit_subject`), including
//! malformed ones.

use std::borrow::Cow;

use chrono::{DateTime, FixedOffset};
use encoding_rs::Encoding;

use super::fsck::is_zone;

/// The author or committer of a commit, with the time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Signature {
    pub(super) name: String,
    pub(super) email: String,
    /// Seconds since 1970, UTC.
    pub(super) seconds: u64,
    /// The offset from UTC as in the commit: a sign and digits, not always a valid time.
    pub(super) zone: String,
}

/// A commit object.
#[derive(Debug)]
pub(super) struct Commit {
    pub(super) author: Signature,
    pub(super) committer: Signature,
    /// All parents.
    pub(super) parents: Vec<String>,
    pub(super) message: String,
    /// Missing or unreadable parts of the object, and their replacements.
    pub(super) replaced: Vec<String>,
}

impl Commit {
    /// Parses a commit object.
    pub(super) fn parse(object: &[u8]) -> Self {
        let mut replaced = Vec::new();
        let (head, message) = match object.windows(2).position(|pair| pair == b"\n\n") {
            Some(end) => object.split_at(end),
            None => {
                replaced.push("no blank line before the message: it is empty".to_owned());
                (object, &b""[..])
            }
        };
        let headers: Vec<(&[u8], &[u8])> = head
            .split(|byte| *byte == b'\n')
            .filter_map(|line| {
                let space = line.iter().position(|byte| *byte == b' ').filter(|at| *at > 0)?;
                Some((line.get(..space)?, line.get(space + 1..)?))
            })
            .collect();
        let named = |name: &'static str| {
            headers.iter().filter(move |(key, _)| *key == name.as_bytes()).map(|(_, value)| *value)
        };
        let declared = named("encoding").next().map(|label| String::from_utf8_lossy(label).into_owned());
        let charset = declared.as_deref().map_or(Charset::Undeclared, |label| {
            Charset::of(label).unwrap_or_else(|| {
                replaced.push(format!("unknown encoding {label}"));
                Charset::Undeclared
            })
        });
        let mut signature = |role: &'static str| {
            // If there are several, git takes the last one.
            let line = charset.decode(named(role).next_back().unwrap_or_default(), role, &mut replaced);
            let (signature, lacks) = Signature::parse(&line);
            replaced.extend(lacks.into_iter().map(|what| format!("the {role} {what}")));
            signature
        };
        let (author, committer) = (signature("author"), signature("committer"));
        let mut message = message.get(2..).unwrap_or_default();
        if let Some(end) = message.iter().position(|byte| *byte == 0) {
            replaced.push(format!("the message has a NUL at byte {end}: it ends there, as in git"));
            message = message.get(..end).unwrap_or_default();
        }
        let message = charset.decode(message, "message", &mut replaced);
        let parents = headers.iter().filter(|(key, _)| *key == b"parent");
        let parents = parents.map(|(_, id)| String::from_utf8_lossy(id).into_owned()).collect();
        Self { author, committer, parents, message, replaced }
    }
}

/// The character encoding of a commit's texts.
#[derive(Clone, Copy)]
enum Charset {
    /// Not declared: UTF-8, otherwise Latin-1, which loses no byte.
    Undeclared,
    /// ISO-8859-1: each byte is the character of its number.
    Latin1,
    /// An encoding of the WHATWG standard. With `has_controls`, bytes 80 to 9F are control characters, unlike in that
    /// standard.
    Other { encoding: &'static Encoding, has_controls: bool },
}

impl Charset {
    /// Finds an encoding by a name that git and iconv accept. Encodings such as UTF-16, in which the commit's own
    /// header has other bytes, are not accepted: git shows nothing of such a commit. ISO-2022-JP is accepted: each of
    /// its lines begins in ASCII.
    fn of(label: &str) -> Option<Self> {
        let name = label.trim().to_ascii_lowercase().replace('_', "-");
        let part = name
            .strip_prefix("iso-8859-")
            .or_else(|| name.strip_prefix("iso8859-"))
            .or_else(|| name.strip_prefix("8859-"));
        if part.is_some_and(|part| part == "1" || part.starts_with("1:"))
            || ["latin1", "latin-1", "l1", "cp819", "ibm819", "iso-ir-100", "csisolatin1", "iso88591"].contains(&&*name)
        {
            return Some(Self::Latin1);
        }
        if ["us-ascii", "ascii", "ansi-x3.4-1968", "iso646-us", "us", "c"].contains(&&*name) {
            return Some(Self::Undeclared);
        }
        let known = match &*name {
            "cp932" | "ms932" => "shift_jis",
            "cp936" | "ms936" => "gbk",
            "cp949" | "uhc" | "euckr" => "euc-kr",
            "cp950" => "big5",
            "eucjp" => "euc-jp",
            "iso-2022-jp" | "iso2022jp" | "iso-2022-jp-1" | "iso-2022-jp-2" | "iso-2022-jp-3" | "iso-2022-jp-ms"
            | "cp50220" | "cp50221" | "cp50222" => "iso-2022-jp",
            _ => label.trim(),
        };
        let encoding = Encoding::for_label(known.as_bytes())
            .filter(|encoding| encoding.is_ascii_compatible() || *encoding == encoding_rs::ISO_2022_JP)?;
        let is_text = encoding != encoding_rs::X_USER_DEFINED && encoding != encoding_rs::REPLACEMENT;
        let has_controls = part.is_some() || name.starts_with("latin") || ["l5", "tis-620"].contains(&&*name);
        is_text.then_some(Self::Other { encoding, has_controls })
    }

    /// Reads text, and replaces NUL, which a message cannot contain.
    fn decode(self, bytes: &[u8], what: &str, replaced: &mut Vec<String>) -> String {
        let latin1 = |bytes: &[u8]| bytes.iter().map(|byte| char::from(*byte)).collect::<String>();
        let text: Cow<'_, str> = match (self, std::str::from_utf8(bytes)) {
            (Self::Latin1, _) => latin1(bytes).into(),
            (Self::Other { encoding, has_controls }, _) => {
                let mut has_errors = false;
                let mut decode = |bytes| {
                    let (text, failed) = encoding.decode_without_bom_handling(bytes);
                    has_errors |= failed;
                    text
                };
                let is_control = |byte: &u8| has_controls && (0x80..0xa0).contains(byte);
                let parts = bytes.chunk_by(|one, other| is_control(one) == is_control(other));
                let parts = parts
                    .map(|part| if part.first().is_some_and(is_control) { latin1(part).into() } else { decode(part) });
                let text: String = parts.collect::<Vec<Cow<'_, str>>>().concat();
                if has_errors {
                    replaced
                        .push(format!("the {what} is not {} throughout: U+FFFD stands for the rest", encoding.name()));
                }
                text.into()
            }
            (Self::Undeclared, Ok(text)) => text.into(),
            (Self::Undeclared, Err(_)) => {
                replaced.push(format!(
                    "the {what} is not UTF-8 and declares no other encoding that is known: it is read as Latin-1"
                ));
                latin1(bytes).into()
            }
        };
        text.replace('\0', "\u{fffd}")
    }
}

impl Signature {
    /// Parses `name <email> seconds zone`, and returns what is missing. The address ends at the first `>`, the date is
    /// searched after the last one.
    fn parse(line: &str) -> (Self, Vec<String>) {
        let mut lacks = Vec::new();
        let (name, rest) = line.split_once('<').unwrap_or_else(|| {
            lacks.push("has no address".to_owned());
            (line, "")
        });
        let email = match rest.split_once('>') {
            Some((email, _)) => email,
            None if rest.is_empty() => "",
            None => {
                lacks.push("has an address that does not end in its line".to_owned());
                rest
            }
        };
        let date = rest.rsplit_once('>').map_or("", |(_, date)| date.trim_start());
        let digits = date.len() - date.trim_start_matches(|letter: char| letter.is_ascii_digit()).len();
        let (seconds, zone) = date.split_at(digits);
        let seconds = match parse_seconds(seconds) {
            Some(seconds) => seconds,
            None => {
                lacks.push("has no date: 1970-01-01 stands for it".to_owned());
                0
            }
        };
        let zone = match zone.split_whitespace().next().filter(|zone| digits > 0 && is_offset(zone)) {
            Some(zone) => zone,
            None => {
                if digits > 0 {
                    lacks.push("has no time zone: UTC stands for it".to_owned());
                }
                "+0000"
            }
        };
        let (name, email, zone) = (name.trim().to_owned(), email.to_owned(), zone.to_owned());
        (Self { name, email, seconds, zone }, lacks)
    }

    /// A signature with a time.
    pub(super) fn at(name: String, email: String, time: DateTime<FixedOffset>) -> Self {
        let seconds = u64::try_from(time.timestamp()).unwrap_or_default();
        Self { name, email, seconds, zone: time.format("%z").to_string() }
    }

    /// The time, if RFC 3339 can express it: up to the year 9999, and with a zone of hours and minutes.
    pub(super) fn time(&self) -> Option<DateTime<FixedOffset>> {
        /// 9999-12-31T00:00:00Z, a day before the limit, so that it fits in every zone.
        const LAST: u64 = 253_402_214_400;
        let seconds = i64::try_from(self.seconds).ok().filter(|_| self.seconds < LAST)?;
        let (sign, digits) = self.zone.split_at_checked(1)?;
        let number: i32 = digits.parse().ok().filter(|_| digits.len() == 4)?;
        let (hours, minutes) = (number / 100, number % 100);
        let offset = (hours < 24 && minutes < 60).then_some((hours * 60 + minutes) * 60)?;
        let zone = if sign == "-" { FixedOffset::west_opt(offset) } else { FixedOffset::east_opt(offset) };
        let time = DateTime::from_timestamp(seconds, 0)?.with_timezone(&zone?);
        // `-0000` is not `+0000`.
        (time.format("%z").to_string() == self.zone).then_some(time)
    }

    /// Seconds and zone as in a commit.
    pub(super) fn raw_date(&self) -> String {
        format!("{} {}", self.seconds, self.zone)
    }

    /// A signature with a date as [`Signature::raw_date`] writes it.
    pub(super) fn with_raw_date(name: String, email: String, date: &str) -> Option<Self> {
        let (seconds, zone) = date.split_once(' ')?;
        let (seconds, zone) = (parse_seconds(seconds)?, is_offset(zone).then(|| zone.to_owned())?);
        Some(Self { name, email, seconds, zone })
    }

    /// Whether [`Signature::line`] differs from what was recorded.
    pub(super) fn is_repaired(&self) -> bool {
        self.name.contains(ENDS) || self.email.contains(ENDS) || !is_zone(&self.zone)
    }

    /// The signature as git accepts it: without characters that would end a part of it, and with a valid offset from
    /// UTC.
    pub(super) fn line(&self) -> String {
        let clean = |text: &str| text.replace(ENDS, "");
        let zone = if is_zone(&self.zone) { &self.zone } else { "+0000" };
        format!("{} <{}> {} {zone}", clean(&self.name), clean(&self.email), self.seconds)
    }
}

/// Characters that end a part of a signature.
const ENDS: [char; 4] = ['<', '>', '\n', '\0'];

/// Seconds since 1970, if git can compute with them.
fn parse_seconds(text: &str) -> Option<u64> {
    let seconds: u64 = text.parse().ok()?;
    i64::try_from(seconds).is_ok().then_some(seconds)
}

/// Whether a text is an offset from UTC, not always a valid one.
fn is_offset(text: &str) -> bool {
    let digits = text.strip_prefix(['+', '-']);
    digits.is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn commit(author: &str, message: &[u8]) -> Commit {
        let head = format!("tree 1\nparent 2\nparent 3\nauthor {author}\ncommitter B <b@x> 5 -0330\ngpgsig a\n b\n\n");
        Commit::parse(&[head.as_bytes(), message].concat())
    }

    #[test]
    fn a_commit_is_read_and_its_signatures_written_back() {
        let read = commit("Ada L. <ada@example.com> 1700000000 +0545", b"Subject\n\nBody\n\n");
        assert_eq!(read.author.line(), "Ada L. <ada@example.com> 1700000000 +0545");
        assert_eq!(read.committer.line(), "B <b@x> 5 -0330");
        assert_eq!(read.message, "Subject\n\nBody\n\n");
        assert_eq!(read.parents, ["2", "3"]);
        assert!(read.replaced.is_empty());
    }

    #[test]
    fn odd_signatures_are_read_as_git_reads_them() {
        for (author, line, replaced) in [
            ("<> 0 +0000", " <> 0 +0000", 0),
            ("A <a@x> 7 +9999", "A <a@x> 7 +9999", 0),
            ("A <a@x> 7 -0000", "A <a@x> 7 -0000", 0),
            ("A <a@x> 7 +051800", "A <a@x> 7 +0000", 0),
            ("A <a@x> 999999999999 +0000", "A <a@x> 999999999999 +0000", 0),
            ("A <a@x> b> 7 +0100", "A <a@x> 7 +0100", 0),
            ("A <a<b@x> 7 +0100", "A <ab@x> 7 +0100", 0),
            ("A <a@x> 7", "A <a@x> 7 +0000", 1),
            ("A <a@x>", "A <a@x> 0 +0000", 1),
            ("A <a@x> yesterday", "A <a@x> 0 +0000", 1),
            ("A <a@x> -7 +0000", "A <a@x> 0 +0000", 1),
            ("A <a@x> 9223372036854775807 +0000", "A <a@x> 9223372036854775807 +0000", 0),
            ("A <a@x> 9223372036854775808 +0000", "A <a@x> 0 +0000", 1),
            ("A <a@x> 99999999999999999999999 +0000", "A <a@x> 0 +0000", 1),
            ("A <a", "A <a> 0 +0000", 2),
            ("nobody", "nobody <> 0 +0000", 2),
            ("", " <> 0 +0000", 2),
        ] {
            let read = commit(author, b"");
            assert_eq!((read.author.line().as_str(), read.replaced.len()), (line, replaced), "{author}");
        }
    }

    #[test]
    fn an_address_begins_after_the_first_bracket() {
        let read = commit("A <<a@b> 1700000000 +0000", b"");
        assert_eq!((read.author.name.as_str(), read.author.email.as_str()), ("A", "<a@b"));
        assert!(read.replaced.is_empty());
    }

    #[test]
    fn a_date_that_rfc_3339_cannot_say_is_kept_raw() {
        for (date, time) in [
            ("1700000000 +0545", Some("2023-11-15T03:58:20+05:45")),
            ("5 -0330", Some("1969-12-31T20:30:05-03:30")),
            ("253402300800 +0000", None),
            ("7 +9999", None),
            ("7 -0000", None),
            ("7 +051800", None),
        ] {
            let signature = Signature::with_raw_date(String::new(), String::new(), date).unwrap();
            assert_eq!(signature.time().map(|time| time.to_rfc3339()).as_deref(), time, "{date}");
            assert_eq!(signature.raw_date(), date);
        }
    }

    #[test]
    fn text_has_the_encoding_that_the_commit_declares() {
        let read = |encoding: &str, message: &[u8]| {
            let head = format!("author A <a@x> 1 +0000\ncommitter A <a@x> 1 +0000\n{encoding}\n");
            let read = Commit::parse(&[head.as_bytes(), b"\n", message].concat());
            (read.message, read.replaced.len())
        };
        assert_eq!(read("encoding cp1251", b"\xcf\xf0\xe8\xe2\xe5\xf2"), ("Привет".to_owned(), 0));
        assert_eq!(read("encoding Shift_JIS", b"\x93\xfa"), ("日".to_owned(), 0));
        for label in ["ISO-2022-JP", "iso-2022-jp", "csISO2022JP", "ISO_2022_JP", "ISO-2022-JP-2", "CP50221"] {
            let japanese = b"\x1b$BF|K\\\x1b(B <1>\n\x1b$B8l\x1b(B\n";
            assert_eq!(read(&format!("encoding {label}"), japanese), ("日本 <1>\n語\n".to_owned(), 0), "{label}");
        }
        assert_eq!(read("encoding ISO-2022-JP", b"\x1b$BF|\xff\x1b(B\n").1, 1);
        assert_eq!(read("encoding ISO-2022-KR", b"hello"), ("hello".to_owned(), 1));
        assert_eq!(read("encoding utf-8", b"\xff"), ("\u{fffd}".to_owned(), 1));
        assert_eq!(read("encoding klingon", "é".as_bytes()), ("é".to_owned(), 1));
        assert_eq!(read("x y", b"\xe9"), ("\u{e9}".to_owned(), 1));
        assert_eq!(read("encoding latin-1", b"\xe9\x80\x9f"), ("é\u{80}\u{9f}".to_owned(), 0));
        assert_eq!(read("encoding ISO-8859-1", b"\x80"), ("\u{80}".to_owned(), 0));
        assert_eq!(read("encoding ISO-8859-9", b"\xf0\x9f"), ("ğ\u{9f}".to_owned(), 0));
        assert_eq!(read("encoding CP1252", b"\x80"), ("€".to_owned(), 0));
        assert_eq!(read("encoding CP437", b"\x82"), ("\u{82}".to_owned(), 2));
        assert_eq!(read("encoding UTF-16", b"hello"), ("hello".to_owned(), 1));
        assert_eq!(read("encoding latin-1\nencoding UTF-8", b"\xe9"), ("é".to_owned(), 0));
        assert_eq!(read("x y", b"sub\0rest"), ("sub".to_owned(), 1));
    }

    #[test]
    fn of_two_authors_git_takes_the_last() {
        let read = Commit::parse(
            b"tree 1\nauthor A <a@x> 1 +0000\nauthor B <b@x> 2 +0000\ncommitter C <c@x> 3 +0000\ncommitter D <d@x> 4 +0000\n\nHi\n",
        );
        assert_eq!(
            (read.author.line().as_str(), read.committer.line().as_str()),
            ("B <b@x> 2 +0000", "D <d@x> 4 +0000")
        );
    }

    #[test]
    fn an_unknown_encoding_is_named() {
        let head = b"author A <a@x> 1 +0000\ncommitter A <a@x> 1 +0000\nencoding CP437\n\n\x82";
        assert_eq!(Commit::parse(head).replaced.first().map(String::as_str), Some("unknown encoding CP437"));
    }

    #[test]
    fn what_is_no_commit_is_empty() {
        for object in
            [&b""[..], b"tree 1", b"\n\n", b"author", b"author A <a@x> 1 +0000\ncommitter A <a@x> 1 +0000\ntext"]
        {
            assert_eq!(Commit::parse(object).message, "");
        }
    }
}
