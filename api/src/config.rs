//! The command line and the settings, validated once. Flags take precedence over environment variables. An empty value
//! counts as not set.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use anyhow::Context;
use clap::{ArgAction, Args, CommandFactory, FromArgMatches, Parser, Subcommand};
use clap_complete::Shell;

use crate::model::limits::{DatabaseLimits, Limits};
use crate::model::locks::Locks;
use crate::model::setting::{boolean, number};

pub mod auth;
pub mod database;
pub mod git;
pub mod listen;
pub mod live;
pub mod observability;
pub mod secret;
pub mod webhooks;
mod words;

use self::auth::{Auth, Signing};
use self::database::{Replicas, Store};
use self::git::Git;
use self::listen::Listen;
use self::live::Live;
pub use self::observability::LogFormat;
use self::observability::{Log, Observability};
pub use self::secret::{Secret, read_secret};
use self::webhooks::Webhooks;
use self::words::{is_blank, prepared, whole};

/// The parsed command line.
#[derive(Clone, Debug)]
pub struct Cli {
    /// The command; `None` means `serve`.
    pub command: Option<Command>,
    /// Options of `serve`.
    pub serve: Serve,
    /// The settings, from flags and the environment.
    pub settings: Settings,
}

/// The commands.
#[derive(Clone, Debug)]
pub enum Command {
    /// Serve the API.
    Serve(Serve),
    /// Apply migrations, or revert them.
    Migrate {
        /// Number of migrations to revert.
        down: Option<u32>,
        /// Whether to revert them instead of only reporting what data is lost.
        yes: bool,
    },
    /// Print a bearer token.
    Token {
        /// E-mail address of the user.
        email: String,
        /// Full name of the user.
        name: Option<String>,
        /// Lifetime of the token.
        hours: u32,
    },
    /// Check the installation.
    Doctor,
    /// Print the GraphQL schema.
    Schema,
    /// Print a script that completes the command line.
    Completions {
        /// The shell that the script is for.
        shell: Shell,
    },
    /// Print a manual page.
    Man {
        /// The command that the page is about; the program as a whole if there is none.
        command: Option<String>,
    },
    /// Import a git history, or a project from a file.
    Import(Import),
    /// Export a project's files or history, or all of it.
    Export(Export),
    /// Show what a server does.
    Top {
        /// Whether to print one page and end.
        once: bool,
    },
    /// Check the integrity of projects.
    Verify {
        /// Id of the only project to check.
        project: Option<String>,
    },
    /// Back up a SQLite database.
    Backup(Backup),
    /// Restore a SQLite database.
    Restore(Restore),
    /// Remove deleted projects, or list them.
    Purge {
        /// Days since a project was deleted.
        days: u32,
        /// Whether to remove them instead of only listing them.
        yes: bool,
    },
}

/// The backend of a web IDE for voice agents: conversation and code in one history, live over GraphQL.
#[derive(Debug, Parser)]
#[command(name = "antiphon", version)]
struct Line {
    /// The command; `serve` by default.
    #[command(subcommand)]
    command: Option<Named>,
    /// Options of `serve` if no command is given.
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

/// The forms of `import`, of which one must be chosen.
const IMPORT_USAGE: &str = "antiphon import FILE.antiphon [--email EMAIL]
       antiphon import --git DIR [--branch NAME] [--max N] [--name NAME | --project ID] [--email EMAIL]";

/// The forms of `export`.
const EXPORT_USAGE: &str = "antiphon export PROJECT --to FILE.zip [--at REVISION]
       antiphon export PROJECT --to FILE.antiphon
       antiphon export PROJECT --git DIR";

/// The commands with the settings that each uses.
#[derive(Debug, Subcommand)]
enum Named {
    /// Serve the API (the default)
    Serve(Box<ServeLine>),
    /// Apply pending migrations, or revert migrations
    Migrate {
        /// Report what data is lost by reverting this many migrations; with --yes, revert them
        #[arg(long, value_name = "STEPS", value_parser = number(1..=1_000_u32))]
        down: Option<u32>,
        /// Revert them
        #[arg(long, requires = "down")]
        yes: bool,
        #[command(flatten)]
        store: Store,
        #[command(flatten)]
        log: Log,
    },
    /// Print a bearer token for a user of this server, signed with JWT_SECRET or with the secret next to its SQLite file
    Token {
        /// E-mail address of the user; the same address is the same user
        #[arg(long)]
        email: String,
        /// Full name of the user, which others see (default: the address)
        #[arg(long)]
        name: Option<String>,
        /// Lifetime of the token, in hours (at most ten years)
        #[arg(long, default_value_t = 24, value_parser = number(1..=87_600_u32))]
        hours: u32,
        #[command(flatten)]
        signing: Box<Signing>,
        #[command(flatten)]
        store: Store,
        #[command(flatten)]
        log: Log,
    },
    /// Check the installation, and explain each problem and its remedy; changes nothing, and exits with 1 if there is a problem
    Doctor {
        #[command(flatten)]
        settings: Box<Settings>,
    },
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
    /// Import a project from a file, or a git repository's history as a project (each commit becomes a checkpoint with its files)
    ///
    /// With --git: follows first parents from HEAD, oldest first. The message's metadata records the commit's id, author,
    /// committer, times, other parents and file modes.
    /// Submodules, and files that the service does not accept, are left out and reported. An unreadable part of a
    /// commit (a missing date, an unknown encoding) is replaced by a default and reported. A repeated run continues
    /// after the last imported commit.
    #[command(override_usage = IMPORT_USAGE)]
    Import {
        #[command(flatten)]
        import: Import,
        #[command(flatten)]
        store: Store,
        #[command(flatten)]
        log: Log,
    },
    /// Export a project's files as a zip archive, its history as a git repository, or the whole project as one file
    #[command(override_usage = EXPORT_USAGE)]
    Export {
        #[command(flatten)]
        export: Export,
        #[command(flatten)]
        store: Store,
        #[command(flatten)]
        log: Log,
    },
    /// Show what a server does now: rates, connections, the slowest operations, and the projects in use
    ///
    /// Reads the server's metrics at --metrics-listen and the database. On PostgreSQL, the projects are shown only to the
    /// owner's login.
    Top {
        /// Print one page and end, instead of a page every two seconds
        #[arg(long)]
        once: bool,
        #[command(flatten)]
        store: Store,
        #[command(flatten)]
        observability: Observability,
    },
    /// Check the integrity of one or all projects, and report problems; exits with 1 if there is one
    Verify {
        /// Id of the only project to check (default: all projects)
        project: Option<String>,
        #[command(flatten)]
        store: Store,
        #[command(flatten)]
        log: Log,
    },
    /// Back up a SQLite database, also while a server uses it, and check the backup
    Backup {
        #[command(flatten)]
        backup: Backup,
        #[command(flatten)]
        store: Store,
        #[command(flatten)]
        log: Log,
    },
    /// Check a backup and make it the SQLite database; the server must be stopped
    Restore {
        #[command(flatten)]
        restore: Restore,
        #[command(flatten)]
        store: Store,
        #[command(flatten)]
        log: Log,
    },
    /// List the projects that were deleted long ago; with --yes, remove them with their histories
    Purge {
        /// Days since the project was deleted
        #[arg(long, value_name = "DAYS", value_parser = number(0..=36_500_u32))]
        days: u32,
        /// Remove them; this cannot be undone
        #[arg(long)]
        yes: bool,
        #[command(flatten)]
        store: Store,
        #[command(flatten)]
        log: Log,
    },
}

impl Cli {
    /// Parses the arguments of the process. Ends it with an explanation if they are invalid.
    pub fn parse() -> Self {
        Self::parse_from(std::env::args_os())
    }

    /// As [`Cli::parse`], for the given arguments.
    pub fn parse_from<T: Into<OsString>>(words: impl IntoIterator<Item = T>) -> Self {
        Self::try_parse_from(words).unwrap_or_else(|error| error.exit())
    }

    /// As [`Cli::parse_from`], without ending the process.
    ///
    /// # Errors
    /// Invalid arguments, or a request for help.
    pub fn try_parse_from<T: Into<OsString>>(words: impl IntoIterator<Item = T>) -> Result<Self, clap::Error> {
        let words = prepared(words.into_iter().map(Into::into).collect(), &command());
        // The help without a command lists the commands.
        let note = "Without a command, the options are those of `serve`: see `antiphon serve --help`.";
        let mut command = command().mut_args(|arg| arg.hide(true)).after_help(note);
        let mut matches = command.try_get_matches_from_mut(words)?;
        let command_matches = matches.subcommand().map(|(_, matches)| matches.clone());
        let command_matches = command_matches.unwrap_or_else(|| matches.clone());
        let line = Line::from_arg_matches_mut(&mut matches).and_then(|line| {
            Ok(Self {
                command: line.command.map(Command::from),
                serve: Serve::from_arg_matches(&command_matches)?,
                settings: Settings::from_arg_matches(&command_matches)?,
            })
        });
        line.map_err(|error| error.format(&mut command))
    }
}

impl From<Named> for Command {
    fn from(named: Named) -> Self {
        match named {
            Named::Serve(line) => Self::Serve(line.serve),
            Named::Doctor { .. } => Self::Doctor,
            Named::Migrate { down, yes, .. } => Self::Migrate { down, yes },
            Named::Token { email, name, hours, .. } => Self::Token { email, name, hours },
            Named::Schema => Self::Schema,
            Named::Completions { shell } => Self::Completions { shell },
            Named::Man { command } => Self::Man { command },
            Named::Import { import, .. } => Self::Import(import),
            Named::Export { export, .. } => Self::Export(export),
            Named::Top { once, .. } => Self::Top { once },
            Named::Verify { project, .. } => Self::Verify { project },
            Named::Backup { backup, .. } => Self::Backup(backup),
            Named::Restore { restore, .. } => Self::Restore(restore),
            Named::Purge { days, yes, .. } => Self::Purge { days, yes },
        }
    }
}

/// The command line. Each command lists the options that it uses in its help, and accepts all other settings as well,
/// so that the same flags work for every command. Ignores empty environment variables, and lists of empty parts in them.
fn command() -> clap::Command {
    let command = Line::command().mut_args(|arg| {
        let is_unset = |value: &OsStr| match value.to_str() {
            Some(list) if arg.get_value_delimiter().is_some() => whole(list).is_empty(),
            _ => is_blank(value),
        };
        let is_empty = arg.get_env().and_then(std::env::var_os).is_some_and(|value| is_unset(&value));
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

/// Options of `import`.
#[derive(Args, Clone, Debug)]
#[group(skip)]
pub struct Import {
    /// File of a project, which `export --to FILE.antiphon` wrote. The project keeps its id unless the database has a project with
    /// that id, and its history keeps its authors. Nobody but the owner becomes a member
    #[arg(value_name = "FILE.antiphon", required_unless_present = "git", conflicts_with_all = ["git", "branch", "max", "name", "project"])]
    pub file: Option<PathBuf>,
    /// The repository whose history is imported, or a folder in it; instead of FILE.antiphon
    #[arg(long, value_name = "DIR")]
    pub git: Option<PathBuf>,
    /// With --git: branch to import (default: HEAD)
    #[arg(long, value_name = "NAME")]
    pub branch: Option<String>,
    /// With --git: maximum number of commits to import in this run
    #[arg(long, value_name = "N", value_parser = number(1..=1_000_000_000_usize))]
    pub max: Option<usize>,
    /// E-mail address of the user who imports, and who owns a new project: the user of `antiphon token --email`
    #[arg(long, visible_alias = "owner", default_value = DEV_EMAIL)]
    pub email: String,
    /// With --git: name of the user's project, which is created if there is none (default: the name of the folder; a project that
    /// has the repository's history and another name is continued)
    #[arg(long)]
    pub name: Option<String>,
    /// With --git: id of the project to continue, in which the user can write
    #[arg(long, value_name = "ID", conflicts_with = "name")]
    pub project: Option<String>,
}

/// Options of `export`.
#[derive(Args, Clone, Debug)]
#[group(skip)]
pub struct Export {
    /// Id of the project; `ID@REVISION` is the same as --at REVISION
    pub project: String,
    /// File to write: an archive of the files (FILE.zip; identical files give an identical archive), or the whole project with its
    /// conversation and history, for `import` (FILE.antiphon). The name decides which; instead of --git
    #[arg(long, value_name = "FILE", required_unless_present = "git", conflicts_with = "git")]
    pub to: Option<PathBuf>,
    /// Revision of the files in a zip archive (default: the newest)
    #[arg(long, value_name = "REVISION", conflicts_with = "git", value_parser = number(1..=i32::MAX))]
    pub at: Option<i32>,
    /// New or empty folder to write the history to, instead of --to. Each message becomes a commit with the files written for it and its
    /// text as the commit message; a message without files becomes an empty commit. A write without a message becomes a
    /// commit with its change description. Folders without files are left out, as git does not store them
    #[arg(long, value_name = "DIR")]
    pub git: Option<PathBuf>,
}

/// Options of `backup`.
#[derive(Args, Clone, Debug)]
#[group(skip)]
pub struct Backup {
    /// File to write, which must not exist yet; with --every, an existing folder for the files
    pub to: PathBuf,
    /// Run until stopped, and make a backup now and every so many minutes
    #[arg(long, value_name = "MINUTES", value_parser = number(1..=1_000_000_u32))]
    pub every: Option<u32>,
    /// Number of backups to keep in the folder: older ones are removed after a new one
    #[arg(long, value_name = "COUNT", requires = "every", default_value_t = 7, value_parser = number(1..=1_000_000_usize))]
    pub keep: usize,
}

/// Options of `restore`.
#[derive(Args, Clone, Debug)]
#[group(skip)]
pub struct Restore {
    /// The backup: a file that `antiphon backup` wrote
    pub from: PathBuf,
    /// Replace the present database. It is kept next to the new one, with another name
    #[arg(long)]
    pub yes: bool,
}

/// E-mail address of the user of the dev login.
pub const DEV_EMAIL: &str = "dev@localhost";

/// Options of `serve`.
#[derive(Args, Clone, Debug, Default)]
pub struct Serve {
    /// Apply pending migrations first (always done on SQLite)
    #[arg(long, env = "MIGRATE", default_value_t = false, num_args = 0..=1, default_missing_value = "true", action = ArgAction::Set, value_name = "true|false", value_parser = boolean)]
    pub migrate: bool,
    /// The authorization layers. Not available as a flag or variable.
    #[arg(skip)]
    pub locks: Locks,
}

/// The settings, by concern.
#[derive(Args, Clone, Debug)]
pub struct Settings {
    /// The database.
    #[command(flatten)]
    pub store: Store,
    /// Replicas of the database.
    #[command(flatten)]
    pub replicas: Replicas,
    /// Limits on connections to the database.
    #[command(flatten, next_help_heading = "Database")]
    pub database: DatabaseLimits,
    /// Authentication.
    #[command(flatten)]
    pub auth: Auth,
    /// Addresses, web pages and documents.
    #[command(flatten)]
    pub listen: Listen,
    /// Notifications between servers.
    #[command(flatten)]
    pub live: Live,
    /// Webhooks.
    #[command(flatten)]
    pub webhooks: Webhooks,
    /// Git over HTTP.
    #[command(flatten)]
    pub git: Git,
    /// Metrics and logs.
    #[command(flatten)]
    pub observability: Observability,
    /// Limits on requests.
    #[command(flatten, next_help_heading = "Limits")]
    pub limits: Limits,
}

impl Settings {
    /// Reads the secrets that are given as files. Only the owner may have access to these files.
    ///
    /// # Errors
    /// The unusable file with the reason, never its content.
    pub fn with_files(mut self) -> anyhow::Result<Self> {
        self.store.read_files()?;
        self.auth.signing.read_files()?;
        self.webhooks.read_files()?;
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
    fn a_secret_can_come_from_a_file_that_only_its_owner_can_read() {
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
        for flag in ["--database-url-file", "--database-direct-url-file", "--jwt-secret-file", "--webhook-secret-file"]
        {
            std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
            std::fs::write(&path, " \n").unwrap();
            let given = ["antiphon", flag, path.to_str().unwrap()];
            let message = format!("{:#}", Cli::try_parse_from(given).unwrap().settings.with_files().unwrap_err());
            assert!(message.contains("_FILE, ") && message.contains("the file is empty"), "{flag}: {message}");
        }
        std::fs::remove_file(&path).unwrap();
        assert!(settings().is_err());
        let both = ["antiphon", "--jwt-secret", "a", "--jwt-secret-file", "b"];
        assert!(Cli::try_parse_from(both).is_err());
    }

    #[test]
    fn several_origins_are_given_by_commas_or_repeated_flags() {
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
        let top = help(&[]);
        assert!(top.contains("antiphon serve --help") && !top.contains("--listen"), "{top}");
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
            (
                "import",
                &["import FILE.antiphon [", "import --git DIR", "--git <", "--email", "--database-url"],
                &["--listen", "--jwt-secret", "--max-user-rate"],
            ),
            (
                "export",
                &[
                    "export PROJECT --to FILE.zip [--at",
                    "--to FILE.antiphon\n",
                    "export PROJECT --git DIR",
                    "--git <",
                    "--to",
                    "--database-url",
                ],
                &["--listen", "--jwt-secret", "--max-user-rate"],
            ),
            ("verify", &["[PROJECT]", "--database-url"], &["--listen", "--jwt-secret", "--max-user-rate"]),
            ("serve", &["--listen", "--jwt-secret", "--max-user-rate", "--migrate"], &["--down", "--git <"]),
            ("doctor", &["--listen", "--jwt-secret", "--max-user-rate"], &["--down", "--git <", "--migrate"]),
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
    fn options_can_precede_the_command() {
        let parsed = |words: &[&str]| Cli::try_parse_from([&["antiphon"], words].concat());
        let cli = parsed(&["--database-url", "sqlite://migrate", "migrate", "--down", "2"]).unwrap();
        assert!(matches!(cli.command, Some(Command::Migrate { down: Some(2), yes: false })));
        assert_eq!(cli.settings.store.database_url.expose(), "sqlite://migrate");
        let cli = parsed(&["--jwt-issuer", "schema", "--listen", ":1", "serve"]).unwrap();
        assert!(matches!(cli.command, Some(Command::Serve(_))));
        assert_eq!(cli.settings.auth.signing.jwt_issuer, ["schema"]);
        // A command accepts settings that it does not use, as it does in the environment.
        assert!(parsed(&["--listen", ":1", "schema"]).is_ok() && parsed(&["migrate", "--jwt-secret", "a"]).is_ok());
        assert!(parsed(&["--listen", "nowhere", "schema"]).is_err() && parsed(&["migrate", "--email", "a"]).is_err());
        assert!(parsed(&["nonsense"]).is_err());
    }

    #[test]
    fn an_empty_value_counts_as_not_set() {
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

    /// The names of all options that `matches`.
    fn options(matches: impl Fn(&clap::Arg) -> bool) -> Vec<String> {
        let command = command();
        let flags = command.get_arguments().filter(|arg| matches(arg));
        flags.filter_map(|arg| arg.get_long().map(str::to_owned)).collect()
    }

    #[test]
    fn a_boolean_is_one_of_eight_words_or_refused_by_name() {
        let flags = options(|arg| arg.get_value_names().is_some_and(|names| names == ["true|false"]));
        assert_eq!(flags.len(), 5, "{flags:?}");
        assert!(options(|arg| matches!(arg.get_action(), ArgAction::SetTrue)).is_empty());
        let parse = |flag: &str, value: &str| Cli::try_parse_from(["antiphon".to_owned(), format!("--{flag}={value}")]);
        for flag in &flags {
            for value in ["true", "Yes", " ON ", "1", "false", "NO", "off", "0", "", " "] {
                assert!(parse(flag, value).is_ok(), "{flag} {value:?}");
            }
            for value in ["\"false\"", "none", "disabled", "null", "-", "abc", "tru", "2"] {
                let error = parse(flag, value).unwrap_err().to_string();
                assert!(error.contains(&format!("--{flag}")) && error.contains("true, yes, on or 1"), "{error}");
            }
        }
        let any_audience = |words: &[&str]| settings(words).auth.signing.jwt_any_audience;
        assert!(any_audience(&["--jwt-any-audience"]) && any_audience(&["--jwt-any-audience", "--port", "1"]));
        assert!(any_audience(&["--jwt-any-audience", "yes"]) && any_audience(&["--jwt-any-audience= True "]));
        assert!(!any_audience(&[]) && !any_audience(&["--jwt-any-audience", "no"]));
        assert!(!any_audience(&["--jwt-any-audience= false "]) && !any_audience(&["--jwt-any-audience="]));
        assert!(!settings(&["--notify", "false"]).live.notify && settings(&["--notify", ""]).live.notify);
        assert!(!settings(&["--introspection=OFF"]).limits.introspection);
        let with_command = Cli::try_parse_from(["antiphon", "--migrate", "serve"]).unwrap();
        assert!(with_command.serve.migrate && matches!(with_command.command, Some(Command::Serve(_))));
    }

    #[test]
    fn a_number_out_of_range_is_refused_by_name_and_the_help_has_the_range() {
        let flags = options(|arg| {
            let names = ["N", "BYTES", "SECONDS", "MS"];
            arg.get_value_names().is_some_and(|given| given.iter().any(|name| names.contains(&name.as_str())))
        });
        assert!(flags.len() > 40, "{flags:?}");
        let help = Cli::try_parse_from(["antiphon", "serve", "--help"]).unwrap_err().to_string();
        let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
        for flag in flags {
            for value in ["18446744073709551615", "18446744073709551616", "-1", "1.5", "many"] {
                let given = ["antiphon".to_owned(), format!("--{flag}={value}")];
                let error = Cli::try_parse_from(given).unwrap_err().to_string();
                let range = error.split_once("a whole number from ").map(|(_, range)| range.lines().next().unwrap());
                let range = range.unwrap_or_else(|| panic!("{error}"));
                let (_, described) = help.split_once(&format!("--{flag} <")).unwrap();
                let described = described.split_once(" --").map_or(described, |(own, _)| own);
                assert!(error.contains(&format!("--{flag}")), "{error}");
                assert!(described.contains(&format!("From {range}")), "{flag}: {range} is not in {described}");
            }
        }
        assert!(Cli::try_parse_from(["antiphon", "--sqlite-readers", "100000"]).is_err());
        assert!(Cli::try_parse_from(["antiphon", "--sqlite-readers", "0"]).is_err());
        assert_eq!(settings(&["--sqlite-readers", "64"]).database.sqlite_readers.map(usize::from), Some(64));
    }

    #[test]
    fn lists_have_no_blanks_and_no_empty_parts() {
        let given = settings(&[
            "--jwt-issuer",
            " https://one.example , https://two.example,",
            "--jwt-audience= , ",
            "--jwt-roles",
            ",",
            "--allow-origin=https://a.example,, https://b.example",
            "--allow-origin",
            ",http://c.example",
            "--jwt-jwks-url",
            ", ,",
            "--webhook-allow-networks=10.0.0.0/8, ::1,",
        ]);
        let signing = &given.auth.signing;
        assert_eq!(signing.jwt_issuer, ["https://one.example", "https://two.example"]);
        // A list without parts is not set.
        assert_eq!(signing.jwt_audience, ["authenticated"]);
        assert_eq!(signing.jwt_roles, ["authenticated"]);
        assert!(given.auth.jwt_jwks_url.is_empty());
        assert_eq!(given.listen.allow_origins, ["https://a.example", "https://b.example", "http://c.example"]);
        assert_eq!(given.webhooks.limits.webhook_allow_networks.len(), 2);
        let given = Cli::try_parse_from(["antiphon", "token", "--email", "a@b", "--jwt-issuer", "one, two"]).unwrap();
        assert!(matches!(given.command, Some(Command::Token { .. })));
        assert_eq!(given.settings.auth.signing.jwt_issuer, ["one", "two"]);
    }

    #[test]
    fn several_key_sets_need_one_issuer_each() {
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
        let message = sets(&["--jwt-jwks-url", two, "--jwt-issuer", "a, a"]).unwrap_err();
        assert!(message.contains("JWT_ISSUER has \"a\" twice"), "{message}");
    }
}
