//! pgbouncer for tests: a pooler for one test in front of a database, from the machine's own binary (Debian's package
//! `pgbouncer`). Without it the tests that need it are skipped with a warning; if `CI` is set, they fail.

use std::{
    env, fs,
    io::{self, Write},
    net::{TcpListener, TcpStream},
    os::unix::{
        fs::{MetadataExt, PermissionsExt, chown},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::OnceLock,
    thread::sleep,
    time::{Duration, Instant},
};

use crate::database::{Folder, unprivileged_user};

/// Runs the pooler until standard input closes, that is, until the test process ends.
const KEEPER: &str = r#""$@" >log 2>&1 & read -r _; kill -9 $!; wait"#;

/// A pooler. Dropping it stops it.
pub struct PgBouncer {
    port: u16,
    binary: PathBuf,
    keeper: Child,
    folder: Folder,
}

impl PgBouncer {
    /// Starts a pooler in front of the URL's PostgreSQL, with these lines added to Debian's settings; `None` if the
    /// machine has no pgbouncer.
    ///
    /// # Panics
    /// If it is required and missing, or does not start.
    pub fn start(url: &str, settings: &[&str]) -> Option<Self> {
        static WARNED: OnceLock<()> = OnceLock::new();
        let folders = env::split_paths(&env::var_os("PATH").unwrap_or_default()).collect::<Vec<_>>();
        let mut folders = folders.into_iter().chain([PathBuf::from("/usr/sbin")]);
        let Some(binary) = folders.find_map(|folder| folder.join("pgbouncer").canonicalize().ok()) else {
            assert!(env::var_os("CI").is_none(), "pgbouncer is missing, and CI is set");
            // Directly to the terminal: libtest would capture it.
            WARNED.get_or_init(|| {
                let _ = io::stderr().write_all(
                    b"\n*** SKIPPED: every test with pgbouncer. It is missing (Debian's package of that name).\n\n",
                );
            });
            return None;
        };
        let port = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port").port();
        let folder = Folder::new().expect("a folder");
        let (place, login) = parts(url);
        let (host, server_port) = place.split_once(':').expect("a port");
        let at = folder.0.display();
        let mut ini = format!(
            "[databases]\n* = host={host} port={server_port}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n\
             auth_type = scram-sha-256\nauth_file = {at}/users\n"
        );
        settings.iter().for_each(|line| ini.push_str(&format!("{line}\n")));
        fs::write(folder.0.join("ini"), ini).expect("the settings");
        let password = login.split_once(':').expect("a password").1;
        let users: String = ["antiphon", "antiphon_server", "postgres"]
            .iter()
            .map(|user| format!("\"{user}\" \"{password}\"\n"))
            .collect();
        fs::write(folder.0.join("users"), users).expect("the users");
        fs::set_permissions(&folder.0, fs::Permissions::from_mode(0o700)).expect("a mode");

        if fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0) {
            let (user, group) = unprivileged_user().expect("somebody");
            for path in [folder.0.clone(), folder.0.join("ini"), folder.0.join("users")] {
                chown(path, Some(user), Some(group)).expect("an owner");
            }
        }
        let keeper = keeper(&binary, &folder.0, port);
        Some(Self { port, binary, keeper, folder })
    }

    /// Kills the pooler and starts it again, which cuts all connections of its clients.
    pub fn restart(&mut self) {
        self.stop();
        self.keeper = keeper(&self.binary, &self.folder.0, self.port);
    }

    fn stop(&mut self) {
        drop(self.keeper.stdin.take());
        let _ = self.keeper.wait();
    }

    /// A database's URL through the pooler.
    pub fn url(&self, url: &str) -> String {
        let (place, _) = parts(url);
        url.replace(place, &format!("127.0.0.1:{}", self.port))
    }
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Starts a pooler and waits until it listens.
fn keeper(binary: &Path, folder: &Path, port: u16) -> Child {
    let mut keeper = Command::new("/bin/sh");
    keeper.args(["-c", KEEPER, "keeper"]).arg(binary).arg(folder.join("ini")).current_dir(folder);
    keeper.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    let owner = fs::metadata(folder).expect("a folder");
    if owner.uid() != 0 {
        keeper.uid(owner.uid()).gid(owner.gid());
    }
    let keeper = keeper.spawn().expect("pgbouncer");
    let started = Instant::now();
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        let log = || fs::read_to_string(folder.join("log")).unwrap_or_default();
        assert!(started.elapsed() < Duration::from_secs(20), "pgbouncer does not start: {}", log());
        sleep(Duration::from_millis(20));
    }
    keeper
}

/// The host with its port, and the user with the password.
fn parts(url: &str) -> (&str, &str) {
    let (login, rest) = url.split_once("://").expect("a scheme").1.split_once('@').expect("a user");
    (rest.split(['/', '?']).next().expect("a host"), login)
}
