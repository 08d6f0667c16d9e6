//! The secret that signs tokens: given by the operator, or made by the server for itself.

use std::{
    fs::OpenOptions,
    io::{ErrorKind, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context, bail, ensure};
use rand::RngCore;

use crate::{
    config::{Settings, read_secret},
    database_url::DatabaseUrl,
    transport::auth::{Rules, Trusted, Verifier},
};

/// Shortest accepted secret, in bytes: the output of HS256 (RFC 7518, section 3.2).
const MIN_SECRET_BYTES: usize = 32;

/// Where the secret that signs tokens comes from.
#[derive(Debug, PartialEq)]
pub(crate) enum SecretSource {
    Given(String),
    /// No secret: issuers sign every token with a key that they publish.
    Nowhere,
    /// A file that the server makes next to the SQLite file. The server then prints a sign-in link for developers.
    OwnFile(PathBuf),
}

/// Chooses the source. A server makes its own secret only if it listens on a loopback address, because everyone who can open the
/// sign-in link can sign in.
pub(crate) fn secret_source(settings: &Settings, target: &DatabaseUrl) -> anyhow::Result<SecretSource> {
    if let Some(secret) = &settings.auth.signing.jwt_secret {
        let secret = secret.expose();
        ensure!(
            secret.len() >= MIN_SECRET_BYTES,
            "JWT_SECRET (--jwt-secret) has {} bytes and must have at least {MIN_SECRET_BYTES}: `openssl rand -hex 32` \
             makes one",
            secret.len()
        );
        return Ok(SecretSource::Given(secret.to_owned()));
    }
    if !settings.auth.jwt_jwks_url.is_empty() {
        return Ok(SecretSource::Nowhere);
    }
    let advice = "set JWT_JWKS_URL or JWT_SECRET (Supabase: the project's signing keys or its JWT secret; else \
                  `openssl rand -hex 32` makes one)";
    let DatabaseUrl::Sqlite(options) = target else {
        bail!("on PostgreSQL the secret of the tokens must be given: {advice}");
    };
    let address = settings.listen.address(false);
    ensure!(
        address.is_loopback(),
        "without a secret for tokens the server listens on a loopback address only, and {address} is none: {advice}, or listen \
         on 127.0.0.1"
    );
    let mut path = options.get_filename().to_owned().into_os_string();
    path.push(".secret");
    Ok(SecretSource::OwnFile(path.into()))
}

/// Whether the operator configured a secret or an issuer's keys.
pub(crate) fn has_keys(settings: &Settings) -> bool {
    settings.auth.signing.jwt_secret.is_some() || !settings.auth.jwt_jwks_url.is_empty()
}

/// Makes the verifier of tokens, and the server's own secret if it needs one.
pub(crate) fn verifier(settings: &Settings, source: &SecretSource, trusted: Vec<Trusted>) -> anyhow::Result<Verifier> {
    let secret = match source {
        SecretSource::Given(secret) => Some(secret.clone()),
        SecretSource::Nowhere => None,
        SecretSource::OwnFile(path) => Some(
            own_secret(path).with_context(|| format!("the server's own secret, {}, is not usable", path.display()))?,
        ),
    };
    let secret = secret.as_ref().map(String::as_bytes);
    let signing = &settings.auth.signing;
    let rules = Rules {
        issuers: signing.jwt_issuer.clone(),
        audiences: if signing.jwt_any_audience { Vec::new() } else { signing.jwt_audience.clone() },
        roles: signing.jwt_roles.clone(),
    };
    Ok(Verifier::new(secret, trusted, rules))
}

/// Reads the secret from the file; makes the file if it is missing.
fn own_secret(path: &Path) -> anyhow::Result<String> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    match options.open(path) {
        Ok(mut file) => {
            let mut bytes = [0; 32];
            rand::rng().fill_bytes(&mut bytes);
            let secret = hex::encode(bytes);
            file.write_all(format!("{secret}\n").as_bytes())?;
            file.sync_all()?;
            Ok(secret)
        }
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            let secret = read_secret(path)?.expose().to_owned();
            ensure!(
                secret.len() >= MIN_SECRET_BYTES,
                "it holds less than {MIN_SECRET_BYTES} bytes: remove it for a new one"
            );
            Ok(secret)
        }
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{commands::token, config::Cli, model::clock};

    fn source(flags: &[&str]) -> Result<SecretSource, String> {
        // Flags that the environment of the tests could set are always given.
        let url = if flags.contains(&"--database-url") { &[][..] } else { &["--database-url", "sqlite://data/a.db"] };
        let listen = if flags.contains(&"--listen") { &[][..] } else { &["--listen", "127.0.0.1:8080"] };
        let settings = Cli::try_parse_from([&["antiphon"], url, listen, flags].concat()).unwrap().settings;
        let target = DatabaseUrl::parse(settings.store.database_url.expose()).unwrap();
        secret_source(&settings, &target).map_err(|error| format!("{error:#}"))
    }

    #[test]
    fn a_given_secret_is_taken_anywhere_if_it_is_long_enough() {
        let long = "s".repeat(32);
        for more in [&["--listen", "0.0.0.0:80"][..], &["--database-url", "postgres://u:p@h/d"], &[]] {
            let flags = [&["--jwt-secret", long.as_str()], more].concat();
            assert_eq!(source(&flags), Ok(SecretSource::Given(long.clone())));
        }
        for short in ["s", &"s".repeat(31)] {
            let message = source(&["--jwt-secret", short]).unwrap_err();
            assert!(message.contains("at least 32"), "{message}");
        }
    }

    #[test]
    fn published_keys_need_no_secret_anywhere_and_make_no_dev_login() {
        let keys = ["--jwt-jwks-url", "https://p.supabase.co/auth/v1/.well-known/jwks.json"];
        for more in [&["--listen", "0.0.0.0:80"][..], &["--database-url", "postgres://u:p@h/d"], &[]] {
            assert_eq!(source(&[&keys, more].concat()), Ok(SecretSource::Nowhere), "{more:?}");
        }
        let settings = Cli::try_parse_from([&["antiphon"][..], &keys].concat()).unwrap().settings;
        let message = format!("{:#}", token(&settings, "ada@example.com", None, 1).unwrap_err());
        assert!(message.contains("no secret") && message.contains("JWT_SECRET"), "{message}");
        // A secret beside the keys is held to the same rules as one alone.
        assert!(source(&[&keys[..], &["--jwt-secret", "short"]].concat()).is_err());
    }

    #[test]
    fn a_server_makes_its_own_secret_on_sqlite_and_loopback_only() {
        let own = Ok(SecretSource::OwnFile(PathBuf::from("data/a.db.secret")));
        for address in ["127.0.0.1:8080", "127.0.0.53:0", "[::1]:8080", "[::ffff:127.0.0.1]:8080"] {
            assert_eq!(source(&["--listen", address]), own, "{address}");
        }
        for address in ["0.0.0.0:8080", "[::]:8080", "192.168.1.5:8080", "[::ffff:10.0.0.1]:80"] {
            let message = source(&["--listen", address]).unwrap_err();
            assert!(message.contains("JWT_SECRET") && message.contains(address), "{message}");
        }
        let message = source(&["--database-url", "postgres://u:hunter2@h/d"]).unwrap_err();
        assert!(message.contains("JWT_SECRET") && !message.contains("hunter2"), "{message}");
        let beside = source(&["--database-url", "sqlite:///srv/b%20c.db?mode=rwc"]);
        assert_eq!(beside, Ok(SecretSource::OwnFile(PathBuf::from("/srv/b c.db.secret"))));
    }

    #[test]
    fn the_servers_own_secret_stays_the_same_and_its_owners() {
        let path = std::env::temp_dir().join(format!("antiphon-secret-{}", clock::new_id()));
        let made = own_secret(&path).unwrap();
        assert_eq!(made.len(), 64);
        assert_eq!(own_secret(&path).unwrap(), made);

        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
            for mode in [0o640, 0o604, 0o620] {
                std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
                let message = own_secret(&path).unwrap_err().to_string();
                assert!(message.contains("other users") && !message.contains(&made), "{message}");
            }
            std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
        }

        std::fs::write(&path, "short\n").unwrap();
        assert!(own_secret(&path).unwrap_err().to_string().contains("32 bytes"));
        std::fs::remove_file(&path).unwrap();
        let missing = path.join("folder/secret");
        assert!(own_secret(&missing).is_err());
    }

    #[test]
    fn a_database_url_is_checked_without_being_repeated() {
        for url in ["sqlite://a.db", "sqlite:a.db", "sqlite:///a.db?mode=rwc", "postgres://u:p@h/d", "postgresql:///d"]
        {
            assert!(DatabaseUrl::parse(url).is_ok(), "{url}");
        }
        for url in [
            "",
            "hunter2",
            "a.db",
            "mysql://u:hunter2@h/d",
            "sqlite::memory:",
            "sqlite://:memory:",
            "sqlite://",
            "sqlite://a.db?mode=memory",
            "sqlite://a.db?mode=hunter",
            "postgres://u:hunter2@h:port/d",
            "postgres://u:hunter2#@h/d",
            "postgres://u:hunter2/@h/d",
            "postgres://u:5/hunter2@h/d",
            "postgres://u:5?hunter2@h/d",
            "postgres://u:5@hunter2#@h/d",
        ] {
            let message = format!("{:#}", DatabaseUrl::parse(url).unwrap_err());
            assert!(message.contains("DATABASE_URL") && !message.contains("hunter2"), "{url}: {message}");
        }
        let told = DatabaseUrl::parse("postgres://u:hunter2@db.example:6543/d").unwrap().to_string();
        assert_eq!(told, "PostgreSQL database d as u at db.example:6543");
    }
}
