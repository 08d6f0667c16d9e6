//! Storage formats of a file's bytes: raw, a zstd frame (RFC 8878), or a zstd frame whose prefix is another content of
//! the same file. Both kinds of frames are standard: `zstd -d` and `zstd -d --patch-from=BASE` can read them.

use parking_lot::Mutex;
use sha2::{Digest, Sha256};
use zstd::bulk::Compressor;
use zstd::zstd_safe::{CCtx, CParameter, DCtx, compress_bound, get_error_name};

/// Longest chain of deltas. A content at this depth is not used as a base, so that reading stays cheap.
pub const MAX_DEPTH: i16 = 64;

/// Contents larger than this use [`LARGE_LEVEL`] and long-distance matching.
const LARGE: usize = 256 * 1024;

/// Measured per version of this repository's files against its predecessor. For files of 5 KB, level 3 produces 260
/// bytes in 7 us, level 8 221 bytes in 23 us, level 9 221 bytes in 151 us, level 12 223 bytes in 223 us. For files of
/// 29 KB: 551 bytes in 36 us, 454 bytes in 166 us, 446 bytes in 236 us, 432 bytes in 4.2 ms. From level 9 on, zstd
/// sorts the base into a binary tree.
const SMALL_LEVEL: i32 = 8;

/// For contents of 0.2 to 6 MB with small edits, long-distance matching finds all matches at any level (2 KB instead of
/// 400 KB to 2.3 MB without it). Level 6 takes 7 ms per MB, level 9 a third more, level 15 300 ms. Plain frames are a
/// fifth smaller than at level 3.
const LARGE_LEVEL: i32 = 6;

/// Format of `data`. The numbers are stored in the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i16)]
pub enum Encoding {
    /// Uncompressed.
    Raw = 0,
    /// A zstd frame.
    Zstd = 1,
    /// A zstd frame with a base as prefix.
    ZstdDelta = 2,
}

impl From<Encoding> for i16 {
    fn from(encoding: Encoding) -> Self {
        encoding as Self
    }
}

impl TryFrom<i16> for Encoding {
    type Error = CodecError;

    fn try_from(number: i16) -> Result<Self, CodecError> {
        match number {
            0 => Ok(Self::Raw),
            1 => Ok(Self::Zstd),
            2 => Ok(Self::ZstdDelta),
            _ => Err(CodecError::UnknownEncoding(number)),
        }
    }
}

/// A content in its stored form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoded {
    /// Format of `data`.
    pub encoding: Encoding,
    /// The bytes to store.
    pub data: Vec<u8>,
}

/// Why stored bytes cannot be read. The cause is always damage or a defect, never a client.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// The encoding's number is unknown.
    #[error("unknown blob encoding {0}")]
    UnknownEncoding(i16),
    /// A delta was passed without its base.
    #[error("a delta has no base")]
    NoBase,
    /// zstd cannot read the data, or the content is larger than its stored size.
    #[error("a blob cannot be decompressed: {0}")]
    Damaged(&'static str),
    /// The content does not have its stored size.
    #[error("a blob has {found} bytes instead of {expected}")]
    WrongSize {
        /// The stored size.
        expected: usize,
        /// The actual size.
        found: usize,
    },
    /// The content does not have its stored hash, or was read with a wrong base.
    #[error("a blob does not match its SHA-256")]
    WrongHash,
}

/// Idle zstd contexts. Creating a context takes longer than processing most contents.
struct Idle<T>(Mutex<Vec<T>>);

static COMPRESSORS: Idle<CCtx<'static>> = Idle(Mutex::new(Vec::new()));
static DECOMPRESSORS: Idle<DCtx<'static>> = Idle(Mutex::new(Vec::new()));

/// Maximum number of idle contexts of a kind. A compressor takes up to 4 MiB, and more contexts than processors have no
/// benefit.
const MAX_IDLE: usize = 4;

impl<T> Idle<T> {
    /// `None` if there is no memory for a context.
    fn with<R>(&self, create: fn() -> Option<T>, work: impl FnOnce(&mut T) -> R) -> Option<R> {
        let idle = self.0.lock().pop();
        let mut context = idle.or_else(create)?;
        let result = work(&mut context);
        let mut idle = self.0.lock();
        if idle.len() < MAX_IDLE {
            idle.push(context);
        }
        Some(result)
    }
}

/// Whether zstd's functions that take a dictionary would parse this base as a trained dictionary (RFC 8878, section 5)
/// instead of raw bytes.
fn looks_trained(base: &[u8]) -> bool {
    base.starts_with(&0xEC30_A437_u32.to_le_bytes())
}

/// Encodes a content as raw, zstd, or zstd with `base`, whichever is smallest. A delta larger than half of the content
/// is not used: it saves little and costs every reader another step.
pub fn encode(content: &[u8], base: Option<&[u8]>) -> Encoded {
    let delta = base
        .and_then(|base| compress(content, Some(base)))
        .filter(|data| data.len() <= content.len() / 2)
        .map(|data| Encoded { encoding: Encoding::ZstdDelta, data });
    // A plain frame is never smaller than such a small delta, so do not create one.
    let delta = match delta {
        Some(delta) if delta.data.len() <= content.len() / 16 => return delta,
        delta => delta,
    };
    let plain = compress(content, None)
        .filter(|data| data.len() < content.len())
        .map(|data| Encoded { encoding: Encoding::Zstd, data });
    [plain, delta]
        .into_iter()
        .flatten()
        .min_by_key(|encoded| encoded.data.len())
        .unwrap_or_else(|| Encoded { encoding: Encoding::Raw, data: content.to_vec() })
}

/// `None` if zstd fails, which happens only for lack of memory. The content is then stored raw.
fn compress(content: &[u8], base: Option<&[u8]>) -> Option<Vec<u8>> {
    let base = base.unwrap_or_default();
    if content.len().max(base.len()) > LARGE || looks_trained(base) {
        return compress_anew(content, base);
    }
    let compress = |context: &mut CCtx<'static>| {
        let mut data = Vec::with_capacity(compress_bound(content.len()));
        context.compress_using_dict(&mut data, content, base, SMALL_LEVEL).ok()?;
        Some(data)
    };
    COMPRESSORS.with(CCtx::try_create, compress).flatten()
}

/// Uses a new context: a reused context keeps a hundred times the memory after a large content.
fn compress_anew(content: &[u8], base: &[u8]) -> Option<Vec<u8>> {
    let is_large = content.len().max(base.len()) > LARGE;
    let mut compressor = Compressor::new(if is_large { LARGE_LEVEL } else { SMALL_LEVEL }).ok()?;
    compressor.set_parameter(CParameter::ChecksumFlag(false)).ok()?;
    compressor.set_parameter(CParameter::DictIdFlag(false)).ok()?;
    if is_large {
        // The window must span base and content; matches in the base are out of reach otherwise. All decoders accept 27
        // (128 MiB).
        let window = (content.len() + base.len()).next_power_of_two().ilog2().min(27);
        compressor.set_parameter(CParameter::WindowLog(window)).ok()?;
        compressor.set_parameter(CParameter::EnableLongDistanceMatching(true)).ok()?;
    }
    compressor.context_mut().ref_prefix(base).ok()?;
    compressor.compress(content).ok()
}

/// Decodes a content of `size` bytes. Memory use is bounded by `size`, whatever size the frame states.
///
/// # Errors
/// If the bytes are damaged, or do not have that size and hash.
pub fn decode(
    encoding: Encoding,
    data: &[u8],
    base: Option<&[u8]>,
    size: usize,
    sha256: &[u8; 32],
) -> Result<Vec<u8>, CodecError> {
    let content = read(encoding, data, base, size)?;
    check(&content, sha256)?;
    Ok(content)
}

/// Checks the hash of a content.
///
/// # Errors
/// If the hash differs.
pub fn check(content: &[u8], sha256: &[u8; 32]) -> Result<(), CodecError> {
    if <[u8; 32]>::from(Sha256::digest(content)) == *sha256 { Ok(()) } else { Err(CodecError::WrongHash) }
}

/// Decodes a content of `size` bytes without checking its hash; call [`check`] for that.
///
/// # Errors
/// If the bytes are damaged, or do not have that size.
pub fn read(encoding: Encoding, data: &[u8], base: Option<&[u8]>, size: usize) -> Result<Vec<u8>, CodecError> {
    let content = match encoding {
        Encoding::Raw => data.to_vec(),
        Encoding::Zstd => decompress(data, &[], size)?,
        Encoding::ZstdDelta => decompress(data, base.ok_or(CodecError::NoBase)?, size)?,
    };
    if content.len() == size {
        Ok(content)
    } else {
        Err(CodecError::WrongSize { expected: size, found: content.len() })
    }
}

fn decompress(data: &[u8], base: &[u8], size: usize) -> Result<Vec<u8>, CodecError> {
    let mut content = Vec::with_capacity(size);
    let read = if looks_trained(base) {
        DCtx::try_create().map(|mut context| {
            context.ref_prefix(base)?;
            context.decompress(&mut content, data)
        })
    } else {
        DECOMPRESSORS.with(DCtx::try_create, |context| context.decompress_using_dict(&mut content, data, base))
    };
    read.ok_or(CodecError::Damaged("not enough memory"))?.map_err(|code| CodecError::Damaged(get_error_name(code)))?;
    Ok(content)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hash(content: &[u8]) -> [u8; 32] {
        Sha256::digest(content).into()
    }

    fn read_back(encoded: &Encoded, base: Option<&[u8]>, content: &[u8]) -> Result<Vec<u8>, CodecError> {
        decode(encoded.encoding, &encoded.data, base, content.len(), &hash(content))
    }

    /// Text of `lines` different lines of 65 bytes, which compresses to half its size.
    fn text(lines: u32) -> Vec<u8> {
        (0..lines).flat_map(|n| format!("{}\n", hex::encode(hash(&n.to_le_bytes()))).into_bytes()).collect()
    }

    #[test]
    fn each_encoding_where_it_is_the_smallest() {
        let noise = hash(b"noise");
        assert_eq!(encode(b"", None), Encoded { encoding: Encoding::Raw, data: vec![] });
        assert_eq!(encode(&noise, None).encoding, Encoding::Raw);
        assert_eq!(encode(&noise, Some(b"unrelated")).encoding, Encoding::Raw);
        assert_eq!(encode(&[b'a'; 1000], None).encoding, Encoding::Zstd);
        let old = text(300);
        let mut new = old.clone();
        new.splice(6600..6600, *b"one more line\n");
        let encoded = encode(&new, Some(&old));
        assert_eq!(encoded.encoding, Encoding::ZstdDelta);
        assert!(encoded.data.len() < 100, "{}", encoded.data.len());
        assert_eq!(read_back(&encoded, Some(&old), &new), Ok(new));
    }

    #[test]
    fn a_rewrite_is_no_delta() {
        // Incompressible bytes: parts that are not in the base keep their size.
        let all: Vec<u8> = (0..200_u32).flat_map(|n| hash(&n.to_le_bytes())).collect();
        let (some, most) = (all[..1600].to_vec(), all[..4800].to_vec());
        assert_eq!(encode(&all, Some(&most)).encoding, Encoding::ZstdDelta);
        let encoded = encode(&all, Some(&some));
        assert_ne!(encoded.encoding, Encoding::ZstdDelta);
        assert_eq!(read_back(&encoded, None, &all), Ok(all));
    }

    #[test]
    fn frames_are_standard_and_bare() {
        let old = text(300);
        let new = [old.as_slice(), b"x"].concat();
        let encoded = encode(&new, Some(&old));
        assert_eq!(encoded.data[..4], 0xFD2F_B528_u32.to_le_bytes());
        // RFC 8878, 3.1.1.1.1: no checksum (bit 2), no dictionary id (bits 0 and 1).
        assert_eq!(encoded.data[4] & 0b111, 0);
    }

    #[test]
    fn small_edits_of_large_files_stay_small() {
        let old = text(80_000);
        let mut new = old.clone();
        new.splice(100..140, *b"zzz");
        new.splice(2_000_000..2_000_000, *b"a line near the middle\n");
        new.truncate(5_000_000);
        let encoded = encode(&new, Some(&old));
        assert_eq!(encoded.encoding, Encoding::ZstdDelta);
        assert!(encoded.data.len() < 3_000, "{}", encoded.data.len());
        assert_eq!(read_back(&encoded, Some(&old), &new), Ok(new));
        // The remaining part is the end or the beginning of the base, far from its position in the content.
        for part in [old[..70_000].to_vec(), old[5_000_000..5_070_000].to_vec()] {
            let encoded = encode(&part, Some(&old));
            assert!(encoded.data.len() < 1_000, "{}", encoded.data.len());
            assert_eq!(read_back(&encoded, Some(&old), &part), Ok(part));
        }
    }

    #[test]
    fn damage_is_noticed() {
        let (old, other) = (text(100), text(101));
        let new = [old.as_slice(), b"x"].concat();
        let delta = encode(&new, Some(&old));
        assert_eq!(read_back(&delta, None, &new), Err(CodecError::NoBase));
        assert!(read_back(&delta, Some(&other), &new).is_err());
        let plain = encode(&[b'a'; 1000], None);
        let sum = hash(&[b'a'; 1000]);
        assert!(matches!(decode(plain.encoding, &plain.data, None, 999, &sum), Err(CodecError::Damaged(_))));
        let longer = decode(plain.encoding, &plain.data, None, 1001, &sum);
        assert_eq!(longer, Err(CodecError::WrongSize { expected: 1001, found: 1000 }));
        assert_eq!(decode(plain.encoding, &plain.data, None, 1000, &[0; 32]), Err(CodecError::WrongHash));
        assert!(decode(Encoding::Zstd, b"no frame", None, 8, &[0; 32]).is_err());
        assert!(decode(Encoding::Raw, b"abc", None, 2, &hash(b"abc")).is_err());
        assert_eq!(Encoding::try_from(3), Err(CodecError::UnknownEncoding(3)));
        assert!((0..3).all(|n| Encoding::try_from(n).map(i16::from) == Ok(n)));
    }

    #[test]
    fn a_base_that_begins_like_a_dictionary_is_bytes_like_others() {
        let old = [&0xEC30_A437_u32.to_le_bytes()[..], &text(100)].concat();
        let new = [old.as_slice(), b"x"].concat();
        let encoded = encode(&new, Some(&old));
        assert_eq!(encoded.encoding, Encoding::ZstdDelta);
        assert_eq!(read_back(&encoded, Some(&old), &new), Ok(new));
    }

    #[test]
    fn contexts_are_kept_up_to_a_number() {
        let idle = Idle(Mutex::new(Vec::new()));
        fn nested(idle: &Idle<Vec<u8>>, depth: usize) {
            idle.with(
                || Some(Vec::new()),
                |_| {
                    if depth > 0 {
                        nested(idle, depth - 1)
                    }
                },
            );
        }
        nested(&idle, 2 * MAX_IDLE);
        assert_eq!(idle.0.lock().len(), MAX_IDLE);
        assert_eq!(idle.with(|| None, |_| ()), Some(()));
    }

    #[test]
    fn a_frame_cannot_outgrow_its_size() {
        let bomb = encode(&vec![0; 64 * 1024 * 1024], None);
        assert!(bomb.data.len() < 10_000);
        assert!(matches!(decode(bomb.encoding, &bomb.data, None, 100, &[0; 32]), Err(CodecError::Damaged(_))));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn bytes_come_back(
            content in proptest::collection::vec(any::<u8>(), 0..3000),
            base in proptest::option::of(proptest::collection::vec(any::<u8>(), 0..3000)),
            cut in any::<prop::sample::Index>(),
        ) {
            let encoded = encode(&content, base.as_deref());
            prop_assert!(encoded.data.len() <= content.len());
            prop_assert_eq!(read_back(&encoded, base.as_deref(), &content), Ok(content.clone()));
            // As a successor with a part removed from the middle.
            let at = cut.index(content.len() + 1);
            let next = [&content[..at], &content[(at + 7).min(content.len())..]].concat();
            let encoded = encode(&next, Some(&content));
            prop_assert_eq!(read_back(&encoded, Some(&content), &next), Ok(next.clone()));
        }

        #[test]
        fn a_context_that_is_used_again_writes_the_same_bytes(
            content in proptest::collection::vec(any::<u8>(), 0..3000),
            lines in 0..400_u32,
        ) {
            let base = text(lines);
            let edited = [&base[..base.len() / 3], &content, &base[base.len() / 2..]].concat();
            for (content, base) in [(&content, &base), (&edited, &base), (&base, &edited), (&edited, &vec![])] {
                prop_assert_eq!(compress(content, Some(base)), compress_anew(content, base));
            }
        }

        #[test]
        fn garbage_is_refused(data in proptest::collection::vec(any::<u8>(), 0..200), size in 0_usize..4096) {
            for encoding in [Encoding::Zstd, Encoding::ZstdDelta] {
                prop_assert!(decode(encoding, &data, Some(b"base"), size, &[0; 32]).is_err());
            }
        }
    }
}
