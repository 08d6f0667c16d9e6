//! Secret settings.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use anyhow::{Context, anyhow, ensure};

/// Reads a secret from a file, without the trailing line break.
///
/// # Errors
/// The file is unreadable, or other users have access to it, so that the secret may be known to them.
pub fn read_secret(path: &Path) -> anyhow::Result<Secret> {
    let mut file = File::open(path)?;
    #[cfg(unix)]
    {
        let mode = std::os::unix::fs::PermissionsExt::mode(&file.metadata()?.permissions());
        ensure!(
            mode & 0o077 == 0,
            "other users can read or write it (mode {:04o}, must be 0600 or 0400), so the secret may be known: create \
             a new one",
            mode & 0o7777
        );
    }
    let mut text = String::new();
    file.read_to_string(&mut text).map_err(|error| anyhow!("it cannot be read as text: {error}"))?;
    Ok(Secret(text.trim().to_owned()))
}

/// Reads a secret from the file that a setting names.
///
/// # Errors
/// What is wrong with the file, with the setting's name.
pub(super) fn read_setting(setting: &str, path: &Path) -> anyhow::Result<Secret> {
    let secret = read_secret(path).and_then(|secret| {
        ensure!(!secret.expose().is_empty(), "the file is empty");
        Ok(secret)
    });
    secret.with_context(|| format!("{setting}, {}, is not usable", path.display()))
}

/// A setting that must not appear in logs.
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    /// The value.
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
