//! What the databases hold and how it is asked for.

pub mod blob_codec;
