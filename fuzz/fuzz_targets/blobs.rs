//! A content is decoded as it was encoded, with and without a base; damaged bytes are an error.
#![no_main]

use antiphon::storage::blob_codec::{self, Encoding};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (Vec<u8>, Option<Vec<u8>>, Vec<u8>, u16)| {
    let (content, base, damaged, size) = input;
    let base = base.as_deref();
    let encoded = blob_codec::encode(&content, base);
    let decoded = blob_codec::read(encoded.encoding, &encoded.data, base, content.len());
    assert_eq!(decoded.as_deref(), Ok(content.as_slice()));
    for encoding in [Encoding::Raw, Encoding::Zstd, Encoding::ZstdDelta] {
        let size = usize::from(size);
        if let Ok(decoded) = blob_codec::read(encoding, &damaged, base, size) {
            assert_eq!(decoded.len(), size);
        }
    }
});
