//! The command line and the settings, validated once. Flags win over the environment, and what is empty is not set.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use anyhow::Context;
use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand, builder::FalseyValueParser};
use clap_complete::Shell;

use crate::model::limits::{DatabaseLimits, Limits};
use crate::model::locks::Locks;

pub mod auth;
pub mod database;
pub mod listen;
pub mod live;
pub mod observability;
pub mod secret;

use self::auth::{Auth, Signing};
use self::database::Store;
use self::listen::Listen;
use self::live::Live;
pub use self::observability::LogFormat;
use self::observability::{Log, Observability};
pub use self::secret::{Secret, read_secret};

/// What the command line says.
#[derive(Clone, Debug)]
pub struct Cli {
    /// What to do; `serve` if nothing is said.
    pub command: Option<Command>,
    /// What `serve` takes.
    pub serve: Serve,
    /// The settings: those that the command takes, and the environment's.
    pub settings: Settings,
}

/// What the binary can do.
#[derive(Clone, Debug)]
pub enum Command {
    /// Serves the API.
    Serve(Serve),
    /// Applies migrations, or takes steps back.
    Migrate {
        /// How many steps to take back.
        down: Option<u32>,
        /// Whether to take them back, and not only to say what is lost.
        yes: bool,
    },
    /// Prints a bearer token.
    Token {
        /// The user's e-mail.
        email: String,
        /// The user's full name.
        name: Option<String>,
        /// How long it holds.
        hours: u32,
    },
    /// Checks the set-up.
    Doctor,
    /// Prints the GraphQL schema.
    Schema,
    /// Prints a script that completes the command line.
    Completions {
        /// The shell that the script is for.
        shell: Shell,
    },
    /// Prints a manual page.
    Man {
        /// The command that the page is about; the program as a whole if there is none.
        command: Option<String>,
    },
    /// Makes a git history a project.
    Import(Import),
    /// Writes a project's files or its history.
    Export(Export),
    /// Reads projects back.
    Verify {
        /// One project's id.
        project: Option<String>,
    },
}

/// The backend of a web IDE for voice agents: conversation and code in one history, live over GraphQL.
#[derive(Debug, Parser)]
#[command(name = "antiphon", version)]
struct Line {
    /// What to do; `serve` where nothing is said.
    #[command(subcommand)]
    command: Option<Named>,
    /// What `serve` takes, for where no command is named.
    #[command(flatten)]
    serve: ServeLine,
}

#[derive(Args, Clone, Debug)]
struct ServeLine {
    #[command(flatten)]
    serve: Serve,
    #[command(flatten)]
    settings: Settings,
}

/// The commands, each with the settings that it uses.
#[derive(Debug, Subcommand)]
enum Named {
    /// Serve the API (the default)
    Serve(ServeLine),
    /// Apply the migrations that the database lacks, or take steps back
    Migrate {
        /// Say what data is lost by taking back this many migrations; with --yes, do so
        #[arg(long, value_name = "STEPS", value_parser = clap::value_parser!(u32).range(1..))]
        down: Option<u32>,
        /// Take them back
        #[arg(long, requires = "down")]
        yes: bool,
        #[command(flatten)]
        store: Store,
        #[command(flatten)]
        log: Log,
    },
    /// Print a bearer token for a user of this server (needs its JWT secret)
    Token {
        /// The user's e-mail; the same e-mail is the same user
        #[arg(long)]
        email: String,
        /// The user's full name
        #[arg(long)]
        name: Option<String>,
        /// How long the token holds, in hours (at most ten years)
        #[arg(long, default_value_t = 24, value_parser = clap::value_parser!(u32).range(1..=87_600))]
        hours: u32,
        #[command(flatten)]
        signing: Box<Signing>,
        #[command(flatten)]
        store: Store,
        #[command(flatten)]
        log: Log,
    },
    /// Check the set-up, and say in words what is wrong and what to do; the exit code is then 1
    Doctor(ServeLine),
    /// Print the GraphQL schema
    Schema,
    /// Print a script that completes this command line in a shell
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Print a manual page, for man(1)
    Man {
        /// The command that the page is about; the program as a whole if there is none
        command: Option<String>,
    },
    /// Make a git repository's history a project: each commit a checkpoint with its files
    ///
    /// Follows first parents from HEAD, oldest first. Who made a commit and when, its id, other parents and the files' modes are
    /// in the message's metadata. A symbolic link becomes a file that holds its target; submodules, and files that the service
    /// does not take, are left out and named. A part of a commit that cannot be read (a missing date, an unknown encoding) is
    /// replaced by a default and named. Run again, it continues after the last commit imported.
    Import {
        #[command(flatten)]
        import: Import,
        #[command(flatten)]
        store: Store,
        #[command(flatten)]
        log: Log,
    },
    /// Write a project's files as a zip archive, or its history as a git repository
    Export {
        #[command(flatten)]
        export: Export,
        #[command(flatten)]
        store: Store,
        #[command(flatten)]
        log: Log,
    },
    /// Read every project back, or one, and say what is wrong; the exit code is then 1
    Verify {
        /// The project's id
        project: Option<String>,
        #[command(flatten)]
        store: Store,
        #[command(flatten)]
        log: Log,
    },
}

impl Cli {
    /// What the process was started with; ends it with an explanation if that cannot be.
    pub fn parse() -> Self {
        Self::parse_from(std::env::args_os())
    }

    /// The same of these words.
    pub fn parse_from<T: Into<OsString>>(words: impl IntoIterator<Item = T>) -> Self {
        Self::try_parse_from(words).unwrap_or_else(|error| error.exit())
    }

    /// The same, without ending the process.
    ///
    /// # Errors
    /// What cannot be, or the help that was asked for.
    pub fn try_parse_from<T: Into<OsString>>(words: impl IntoIterator<Item = T>) -> Result<Self, clap::Error> {
        let words = named_first(without_empty(words.into_iter().map(Into::into).collect()));
        let mut command = command();
        let mut matches = command.try_get_matches_from_mut(words)?;
        let of_command = matches.subcommand().map(|(_, matches)| matches.clone());
        let of_command = of_command.unwrap_or_else(|| matches.clone());
        let line = Line::from_arg_matches_mut(&mut matches).and_then(|line| {
            Ok(Self {
                command: line.command.map(Command::from),
                serve: Serve::from_arg_matches(&of_command)?,
                settings: Settings::from_arg_matches(&of_command)?,
            })
        });
        line.map_err(|error| error.format(&mut command))
    }
}

impl From<Named> for Command {
    fn from(named: Named) -> Self {
        match named {
            Named::Serve(ServeLine { serve, .. }) => Self::Serve(serve),
            Named::Doctor(_) => Self::Doctor,
            Named::Migrate { down, yes, .. } => Self::Migrate { down, yes },
            Named::Token { email, name, hours, .. } => Self::Token { email, name, hours },
            Named::Schema => Self::Schema,
            Named::Completions { shell } => Self::Completions { shell },
            Named::Man { command } => Self::Man { command },
            Named::Import { import, .. } => Self::Import(import),
            Named::Export { export, .. } => Self::Export(export),
            Named::Verify { project, .. } => Self::Verify { project },
        }
    }
}

/// The command line. A command shows the options that it uses and takes the other settings, too, so that one set of them does for
/// all. A variable of the environment that is empty is none.
fn command() -> clap::Command {
    let command = Line::command().mut_args(|arg| {
        let is_empty = arg.get_env().and_then(std::env::var_os).is_some_and(|value| is_blank(&value));
        let arg = arg.global(false);
        if is_empty { arg.env(None::<&'static str>) } else { arg }
    });
    let settings: Vec<clap::Arg> = command.get_arguments().cloned().collect();
    command.mut_subcommands(|mut command| {
        for setting in &settings {
            let is_own = command.get_arguments().any(|own| own.get_id() == setting.get_id());
            command = match is_own {
                true => command.mut_arg(setting.get_id().as_str(), |_| setting.clone()),
                false => command.arg(setting.clone().hide(true)),
            };
        }
        command
    })
}

/// A script that completes the command line in a shell.
pub fn completions(shell: Shell) -> Vec<u8> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command(), "antiphon", &mut script);
    script
}

/// A manual page: of a command, or of the program with its commands and all settings.
///
/// # Errors
/// There is no such command.
pub fn manual(name: Option<&str>) -> anyhow::Result<Vec<u8>> {
    let mut whole = command();
    whole.build();
    let of = match name {
        Some(name) => whole.find_subcommand(name).cloned().with_context(|| format!("there is no command {name:?}"))?,
        None => whole,
    };
    let mut page = Vec::new();
    clap_mangen::Man::new(of).render(&mut page)?;
    Ok(page)
}

fn is_blank(value: &OsStr) -> bool {
    value.to_str().is_some_and(|value| value.trim().is_empty())
}

/// The words without options that are given an empty value, as a script does with a variable that is not set.
fn without_empty(words: Vec<OsString>) -> Vec<OsString> {
    let mut kept: Vec<OsString> = Vec::with_capacity(words.len());
    for word in words {
        let is_option = |word: &OsString| word.to_str().is_some_and(|word| word.starts_with("--"));
        let takes_value = |word: &OsString| is_option(word) && word.to_str().is_some_and(|word| !word.contains('='));
        if is_blank(&word) && kept.last().is_some_and(takes_value) {
            kept.pop();
        } else if !(is_option(&word) && word.to_str().is_some_and(|word| word.ends_with('='))) {
            kept.push(word);
        }
    }
    kept
}

/// The words with the name of the command first: options may come before it.
fn named_first(mut words: Vec<OsString>) -> Vec<OsString> {
    let names: Vec<String> = command().get_subcommands().map(|command| command.get_name().to_owned()).collect();
    for at in 2..words.len() {
        let is_name =
            words.get(at).and_then(|word| word.to_str()).is_some_and(|word| names.iter().any(|name| name == word));
        // Not a value that only looks like one.
        let before = words.get(..at).unwrap_or_default().to_vec();
        if is_name && command().try_get_matches_from(before).is_ok_and(|matches| matches.subcommand_name().is_none()) {
            let name = words.remove(at);
            words.insert(1, name);
            break;
        }
    }
    words
}

/// What `import` takes.
#[derive(Args, Clone, Debug)]
#[group(skip)]
pub struct Import {
    /// The repository, or a folder in it
    #[arg(long, value_name = "DIR")]
    pub git: PathBuf,
    /// The branch to import; else what HEAD is
    #[arg(long, value_name = "NAME")]
    pub branch: Option<String>,
    /// At most this many commits in this run
    #[arg(long, value_name = "N")]
    pub max: Option<usize>,
    /// E-mail of the project's owner; the same user as a token's
    #[arg(long, default_value = DEV_EMAIL)]
    pub email: String,
    /// Name of the project; the folder's, where it is not given
    #[arg(long)]
    pub name: Option<String>,
}

/// What `export` takes.
#[derive(Args, Clone, Debug)]
#[group(skip)]
pub struct Export {
    /// The project's id
    pub project: String,
    /// Archive to write: files and folders, always the same bytes for the same files
    #[arg(long, value_name = "FILE.zip", required_unless_present = "git", conflicts_with = "git")]
    pub to: Option<PathBuf>,
    /// Revision of the archive's files; the newest, where it is not given
    #[arg(long, value_name = "REVISION", conflicts_with = "git")]
    pub at: Option<i32>,
    /// Folder, new or empty, to write the history to: each message is a commit with the files that were written for it, its
    /// text the commit's message; a message without files is a commit without changes; a write that belongs to no message is
    /// a commit described by its change description. Folders without files are not git's
    #[arg(long, value_name = "DIR")]
    pub git: Option<PathBuf>,
}

/// Whom the link of the dev login signs in.
pub const DEV_EMAIL: &str = "dev@localhost";

/// What only `serve` takes.
#[derive(Args, Clone, Debug, Default)]
pub struct Serve {
    /// Apply pending migrations first (SQLite does so anyway)
    #[arg(long, env = "MIGRATE", value_parser = FalseyValueParser::new())]
    pub migrate: bool,
    /// What keeps from callers what is not theirs. No flag and no variable sets it.
    #[arg(skip)]
    pub locks: Locks,
}

/// The settings, by concern.
#[derive(Args, Clone, Debug)]
pub struct Settings {
    /// Which database.
    #[command(flatten)]
    pub store: Store,
    /// Limits on connections to the database.
    #[command(flatten, next_help_heading = "Database")]
    pub database: DatabaseLimits,
    /// Which tokens hold.
    #[command(flatten)]
    pub auth: Auth,
    /// Where the server listens.
    #[command(flatten)]
    pub listen: Listen,
    /// How servers of one database notify each other.
    #[command(flatten)]
    pub live: Live,
    /// What the server says of itself.
    #[command(flatten)]
    pub observability: Observability,
    /// Limits on requests.
    #[command(flatten, next_help_heading = "Limits")]
    pub limits: Limits,
}

impl Settings {
    /// The settings with what their files hold, which must be nobody else's to read.
    ///
    /// # Errors
    /// Which file is not usable and why, never what is in it.
    pub fn with_files(mut self) -> anyhow::Result<Self> {
        self.store.read_files()?;
        self.auth.signing.read_files()?;
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(words: &[&str]) -> Settings {
        Cli::try_parse_from([&["antiphon"], words].concat()).unwrap().settings
    }

    #[test]
    fn the_command_line_is_consistent() {
        command().debug_assert();
    }

    #[cfg(unix)]
    #[test]
    fn a_secret_may_come_from_a_file_that_is_its_owners_alone() {
        use std::os::unix::fs::PermissionsExt;
        let path = std::env::temp_dir().join(format!("antiphon-setting-{}", crate::model::clock::new_id()));
        std::fs::write(&path, "postgres://u:hunter2@h/d\n").unwrap();
        let given = ["antiphon", "--database-url-file", path.to_str().unwrap()];
        let settings = || Cli::try_parse_from(given).unwrap().settings.with_files();
        for mode in [0o644, 0o640, 0o602] {
            std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
            let message = format!("{:#}", settings().unwrap_err());
            assert!(message.contains("DATABASE_URL_FILE") && !message.contains("hunter2"), "{message}");
        }
        for mode in [0o600, 0o400] {
            std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
            let settings = settings().unwrap();
            assert_eq!(settings.store.database_url.expose(), "postgres://u:hunter2@h/d");
            assert!(!format!("{settings:?}").contains("hunter2"));
        }
        std::fs::remove_file(&path).unwrap();
        assert!(settings().is_err());
        let both = ["antiphon", "--jwt-secret", "a", "--jwt-secret-file", "b"];
        assert!(Cli::try_parse_from(both).is_err());
    }

    #[test]
    fn several_origins_come_by_comma_or_flag() {
        let given =
            ["antiphon", "--allow-origin", "https://a.example,https://b.example", "--allow-origin", "http://c.example"];
        let settings = Cli::try_parse_from(given).unwrap().settings;
        assert_eq!(settings.listen.allow_origins, ["https://a.example", "https://b.example", "http://c.example"]);
        assert!(Cli::try_parse_from(["antiphon", "--allow-origin", "https://a.example/"]).is_err());
    }

    #[test]
    fn each_command_has_its_own_options() {
        let help =
            |words: &[&str]| Cli::try_parse_from([&["antiphon"], words, &["--help"]].concat()).unwrap_err().to_string();
        let schema = help(&["schema"]);
        assert!(!schema.contains("--listen") && !schema.contains("--database-url"), "{schema}");
        assert!(schema.lines().count() < 12, "{schema}");
        for (command, own, others) in [
            (
                "migrate",
                &["--down", "--yes", "--database-url", "--database-schema", "--log-format"][..],
                &["--listen", "--jwt-secret", "--max-text-bytes"][..],
            ),
            (
                "token",
                &["--email", "--hours", "--jwt-secret", "--jwt-issuer", "--database-url"],
                &["--listen", "--max-text-bytes", "--nats-url"],
            ),
            ("import", &["--git", "--email", "--database-url"], &["--listen", "--jwt-secret", "--max-user-rate"]),
            ("export", &["--git", "--to", "--database-url"], &["--listen", "--jwt-secret", "--max-user-rate"]),
            ("verify", &["[PROJECT]", "--database-url"], &["--listen", "--jwt-secret", "--max-user-rate"]),
            ("serve", &["--listen", "--jwt-secret", "--max-user-rate", "--migrate"], &["--down", "--git"]),
            ("doctor", &["--listen", "--jwt-secret", "--max-user-rate"], &["--down", "--git"]),
        ] {
            let help = help(&[command]);
            for own in own {
                assert!(help.contains(own), "{command}: {own}");
            }
            for other in others {
                assert!(!help.contains(other), "{command}: {other}");
            }
        }
    }

    #[test]
    fn completions_and_the_manual_name_commands_and_settings() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let script = String::from_utf8(completions(shell)).unwrap();
            for word in ["doctor", "database-url", "--git", "completions"] {
                let word = if shell == Shell::Fish { word.trim_start_matches('-') } else { word };
                assert!(script.contains(word), "{shell}: {word}");
            }
        }
        let page = |name| String::from_utf8(manual(name).unwrap()).unwrap();
        let (whole, migrate) = (page(None), page(Some("migrate")));
        for word in [".TH antiphon 1", "antiphon\\-doctor(1)", "DATABASE_URL", "MAX_USER_RATE"] {
            assert!(whole.contains(word), "{word}: {whole}");
        }
        assert!(
            migrate.starts_with(".ie") && migrate.contains(".TH antiphon-migrate 1") && migrate.contains("down"),
            "{migrate}"
        );
        assert!(!migrate.contains("MAX_USER_RATE"), "{migrate}");
        assert!(manual(Some("nonsense")).is_err());
    }

    #[test]
    fn options_may_come_before_the_command() {
        let parsed = |words: &[&str]| Cli::try_parse_from([&["antiphon"], words].concat());
        let cli = parsed(&["--database-url", "sqlite://migrate", "migrate", "--down", "2"]).unwrap();
        assert!(matches!(cli.command, Some(Command::Migrate { down: Some(2), yes: false })));
        assert_eq!(cli.settings.store.database_url.expose(), "sqlite://migrate");
        let cli = parsed(&["--jwt-issuer", "schema", "--listen", ":1", "serve"]).unwrap();
        assert!(matches!(cli.command, Some(Command::Serve(_))));
        assert_eq!(cli.settings.auth.signing.jwt_issuer, ["schema"]);
        // A setting that a command has no use for is taken, as it is from the environment.
        assert!(parsed(&["--listen", ":1", "schema"]).is_ok() && parsed(&["migrate", "--jwt-secret", "a"]).is_ok());
        assert!(parsed(&["--listen", "nowhere", "schema"]).is_err() && parsed(&["migrate", "--email", "a"]).is_err());
        assert!(parsed(&["nonsense"]).is_err());
    }

    #[test]
    fn what_is_empty_is_not_set() {
        let settings = settings(&[
            "--jwt-issuer",
            "",
            "--jwt-secret=",
            "--jwt-jwks-url",
            "",
            "--allow-origin=",
            "--nats-url",
            "",
            "--metrics-listen",
            " ",
            "--jwt-audience",
            "",
            "--listen",
            "",
            "--port=",
            "--documents",
            "",
            "--database-schema",
            "",
            "--max-batch",
            "",
            "--jwt-roles=",
        ]);
        let signing = &settings.auth.signing;
        assert!(signing.jwt_issuer.is_empty() && signing.jwt_secret.is_none() && settings.auth.jwt_jwks_url.is_empty());
        assert_eq!(
            (&signing.jwt_audience, &signing.jwt_roles),
            (&vec!["authenticated".to_owned()], &vec!["authenticated".to_owned()])
        );
        let listen = &settings.listen;
        assert!(
            listen.allow_origins.is_empty()
                && listen.address.is_none()
                && listen.port.is_none()
                && listen.documents.is_none()
        );
        assert!(settings.live.nats_url.is_none() && settings.observability.metrics_listen.is_none());
        assert!(settings.store.database_schema.is_none());
        assert_eq!(settings.limits.max_batch, 10);
    }

    #[test]
    fn keys_of_several_issuers_are_each_ones_own() {
        let sets =
            |words: &[&str]| settings(words).auth.key_sets().map(|sets| sets.len()).map_err(|error| error.to_string());
        let two = "https://a.example/jwks,https://b.example/jwks";
        assert_eq!(sets(&[]), Ok(0));
        assert_eq!(sets(&["--jwt-jwks-url", "https://a.example/jwks", "--jwt-issuer", "a,b"]), Ok(1));
        assert_eq!(sets(&["--jwt-jwks-url", two, "--jwt-issuer", "a,b"]), Ok(2));
        for issuers in ["", "a", "a,b,c"] {
            let message = sets(&["--jwt-jwks-url", two, "--jwt-issuer", issuers]).unwrap_err();
            assert!(message.contains("JWT_ISSUER"), "{message}");
        }
    }
}
