//! Any commit and any output of `git diff-tree` is read or refused.
#![no_main]

use antiphon::domain::import_export::fuzzing;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|parts: (&[u8], &[u8])| {
    let (commit, differences) = parts;
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(fuzzing::read(commit, differences));
});
