//! Content codings of request bodies (RFC 9110, section 8.4): which coding a body has, and decompression. The
//! compression layers of tower-http decompress on the threads that serve, and read only the first member of a gzip
//! body.

use std::io::{self, Read};

use axum::http::{HeaderMap, header::CONTENT_ENCODING};

use crate::model::error::{Error, Result};

/// The accepted codings, for messages and for the header `Accept-Encoding`.
pub const ACCEPTED: &str = "zstd, br, gzip";

/// Size of the steps in which output is counted, in bytes.
const STEP: usize = 64 * 1024;

/// Largest window of a zstd body, as a power of two (RFC 9659, section 3): the decoder allocates the window.
const MAX_ZSTD_WINDOW_LOG: u32 = 23;

/// A content coding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    /// Zstandard (RFC 8878).
    Zstd,
    /// Brotli (RFC 7932).
    Brotli,
    /// gzip (RFC 1952).
    Gzip,
}

/// Why a body cannot be decompressed.
#[derive(Debug)]
pub enum Failure {
    /// The decompressed body exceeds the limit.
    TooLong,
    /// The body is not what its coding says, or ends too early.
    Damaged(Error),
    /// There is no memory for it.
    NoMemory(Error),
}

impl Coding {
    /// The coding of a body; `None` if it is not compressed. Names are case-insensitive, and `x-gzip` is `gzip`
    /// (RFC 9110, section 8.4.1).
    ///
    /// # Errors
    /// `BadInput` for an unknown coding, or more than one.
    pub fn of(headers: &HeaderMap) -> Result<Option<Self>> {
        let refused = || {
            let message = format!("The body can be compressed once, with one of: {ACCEPTED}.");
            Err(Error::bad_input("content-encoding", message))
        };
        let mut coding = None;
        for value in headers.get_all(CONTENT_ENCODING) {
            let Ok(value) = value.to_str() else { return refused() };
            for name in value.split(',').map(|name| name.trim().to_ascii_lowercase()) {
                let found = match name.as_str() {
                    "" | "identity" => continue,
                    "zstd" => Self::Zstd,
                    "br" => Self::Brotli,
                    "gzip" | "x-gzip" => Self::Gzip,
                    _ => return refused(),
                };
                if coding.replace(found).is_some() {
                    return refused();
                }
            }
        }
        Ok(coding)
    }

    fn name(self) -> &'static str {
        match self {
            Self::Zstd => "zstd",
            Self::Brotli => "br",
            Self::Gzip => "gzip",
        }
    }

    /// Decompresses a whole body: each frame of zstd, each member of gzip, and nothing after the last. `grow` makes
    /// room for this many more bytes of output.
    ///
    /// # Errors
    /// See [`Failure`].
    pub fn decompress(
        self,
        body: &[u8],
        limit: usize,
        grow: impl FnMut(&mut Vec<u8>, usize) -> Result<()>,
    ) -> std::result::Result<Vec<u8>, Failure> {
        let mut rest = body;
        match self {
            Self::Zstd => {
                let mut decoder =
                    zstd::stream::read::Decoder::with_buffer(rest).map_err(|error| self.damaged(&error))?;
                decoder.window_log_max(MAX_ZSTD_WINDOW_LOG).map_err(|error| self.damaged(&error))?;
                self.read(&mut decoder, limit, grow)
            }
            Self::Gzip => self.read(&mut flate2::bufread::MultiGzDecoder::new(rest), limit, grow),
            Self::Brotli => {
                let mut decoder = brotli::Decompressor::new(&mut rest, STEP);
                let plain = self.read(&mut decoder, limit, grow)?;
                // After the end, one more read fails if the decoder has input left.
                decoder.read(&mut [0]).map_err(|error| self.damaged(&error))?;
                drop(decoder);
                if rest.is_empty() { Ok(plain) } else { Err(self.damaged(&io::ErrorKind::InvalidData.into())) }
            }
        }
    }

    fn read(
        self,
        decoder: &mut impl Read,
        limit: usize,
        mut grow: impl FnMut(&mut Vec<u8>, usize) -> Result<()>,
    ) -> std::result::Result<Vec<u8>, Failure> {
        let mut plain = Vec::new();
        loop {
            let before = plain.len();
            let step = STEP.min(limit.saturating_sub(before).saturating_add(1));
            grow(&mut plain, step).map_err(Failure::NoMemory)?;
            decoder.by_ref().take(step as u64).read_to_end(&mut plain).map_err(|error| self.damaged(&error))?;
            let read = plain.len() - before;
            if plain.len() > limit {
                return Err(Failure::TooLong);
            }
            if read == 0 {
                return Ok(plain);
            }
        }
    }

    fn damaged(self, error: &io::Error) -> Failure {
        let name = self.name();
        let message = match error.kind() {
            io::ErrorKind::UnexpectedEof => format!("The body is incomplete: its {name} data ends too early."),
            _ => format!("The body is not {name}, as its Content-Encoding says, or it is damaged."),
        };
        Failure::Damaged(Error::bad_input("content-encoding", message))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use axum::http::HeaderValue;

    use super::*;

    const CODINGS: [Coding; 3] = [Coding::Zstd, Coding::Brotli, Coding::Gzip];

    fn compress(coding: Coding, plain: &[u8]) -> Vec<u8> {
        match coding {
            Coding::Zstd => zstd::encode_all(plain, 3).unwrap(),
            Coding::Gzip => {
                let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
                encoder.write_all(plain).unwrap();
                encoder.finish().unwrap()
            }
            Coding::Brotli => {
                let mut compressed = Vec::new();
                brotli::BrotliCompress(&mut &*plain, &mut compressed, &Default::default()).unwrap();
                compressed
            }
        }
    }

    fn decompress(coding: Coding, body: &[u8], limit: usize) -> std::result::Result<Vec<u8>, Failure> {
        coding.decompress(body, limit, |_, _| Ok(()))
    }

    #[test]
    fn a_body_is_read_to_its_end_and_to_the_limit() {
        let long = "{\"query\": \"{ a }\"}".repeat(20_000);
        for coding in CODINGS {
            for plain in ["", "a", &long] {
                let body = compress(coding, plain.as_bytes());
                assert_eq!(decompress(coding, &body, plain.len()).unwrap(), plain.as_bytes(), "{coding:?}");
                if let Some(less) = plain.len().checked_sub(1) {
                    assert!(matches!(decompress(coding, &body, less), Err(Failure::TooLong)), "{coding:?}");
                }
            }
            let body = compress(coding, long.as_bytes());
            let refused = coding.decompress(&body, long.len(), |_, _| Err(Error::internal("none")));
            assert!(matches!(refused, Err(Failure::NoMemory(_))));
        }
    }

    #[test]
    fn every_member_and_frame_is_read() {
        for coding in [Coding::Gzip, Coding::Zstd] {
            let members = ["{\"query\":", "", "\"{ a }\"", "}"].map(|part| compress(coding, part.as_bytes()));
            assert_eq!(decompress(coding, &members.concat(), 100).unwrap(), b"{\"query\":\"{ a }\"}", "{coding:?}");
        }
    }

    #[test]
    fn what_is_no_whole_body_is_refused_in_words() {
        let message = |failure| match failure {
            Err(Failure::Damaged(error)) => error.message(),
            other => panic!("{other:?}"),
        };
        for coding in CODINGS {
            let good = compress(coding, b"{\"query\":\"{ a }\"}");
            for garbage in [&b"x"[..], b"garbage", &[0; 8], &good[..4]] {
                let said = message(decompress(coding, &[&good, garbage].concat(), 1_000));
                assert!(said.contains(coding.name()), "{coding:?}: {said}");
            }
            // Garbage that the decoder's buffer does not reach.
            message(decompress(coding, &[&good[..], &vec![b'x'; 4 * STEP]].concat(), 1_000));
            let said = message(decompress(coding, b"{\"query\":\"{ a }\"}", 1_000));
            assert!(said.contains("is not"), "{coding:?}: {said}");
            for cut in 1..good.len() {
                message(decompress(coding, &good[..cut], 1_000));
            }
        }
        let said = message(decompress(Coding::Gzip, &compress(Coding::Gzip, &[7; 1_000])[..20], 1_000));
        assert!(said.contains("ends too early"), "{said}");
        let mut damaged = compress(Coding::Gzip, b"abc");
        let checksum = damaged.len() - 8;
        damaged[checksum] ^= 1;
        message(decompress(Coding::Gzip, &damaged, 1_000));
    }

    #[test]
    fn one_known_coding_is_accepted() {
        let of = |values: &[&str]| {
            let values = values.iter().map(|value| (CONTENT_ENCODING, HeaderValue::from_str(value).unwrap()));
            Coding::of(&values.collect()).map_err(|error| match error {
                Error::BadInput { field, .. } => field,
                other => panic!("{other:?}"),
            })
        };
        for (values, coding) in [
            (&[][..], None),
            (&["identity"], None),
            (&[""], None),
            (&["GZIP"], Some(Coding::Gzip)),
            (&["x-gzip"], Some(Coding::Gzip)),
            (&["identity, zstd"], Some(Coding::Zstd)),
            (&["identity", "Br"], Some(Coding::Brotli)),
        ] {
            assert_eq!(of(values), Ok(coding), "{values:?}");
        }
        for values in [&["deflate"][..], &["gzip, gzip"], &["gzip", "br"], &["zstd,gzip"], &["compress"], &["gzip;q=1"]]
        {
            assert_eq!(of(values), Err("content-encoding".to_owned()), "{values:?}");
        }
    }
}
