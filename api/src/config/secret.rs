//! Settings that nobody else may read.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use anyhow::{anyhow, ensure};

/// The secret in a file, without the line break at its end.
///
/// # Errors
/// The file cannot be read, or others than its owner can; then what is in it may be known by now.
pub fn read_secret(path: &Path) -> anyhow::Result<Secret> {
    let mut file = File::open(path)?;
    #[cfg(unix)]
    {
        let mode = std::os::unix::fs::PermissionsExt::mode(&file.metadata()?.permissions());
        ensure!(
            mode & 0o077 == 0,
            "others than its owner may read or write it (mode {:04o}, must be 0600 or 0400), so what it holds may be known \
             by now: make a new one",
            mode & 0o7777
        );
    }
    let mut text = String::new();
    file.read_to_string(&mut text).map_err(|error| anyhow!("it cannot be read as text: {error}"))?;
    Ok(Secret(text.trim().to_owned()))
}

/// A setting whose value must not appear in logs.
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    /// The value itself, for the one place that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl From<String> for Secret {
    fn from(value: String) -> Self {
        Self(value)
    }
}

impl std::str::FromStr for Secret {
    type Err = std::convert::Infallible;

    fn from_str(value: &str) -> Result<Self, Self::Err> {
        Ok(Self(value.to_owned()))
    }
}
