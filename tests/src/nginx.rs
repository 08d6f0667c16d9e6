//! nginx for tests, with `deploy/nginx.conf` and other addresses, from the machine's own binary (Debian's package
//! `nginx-light` or `nginx`). Without it the tests that need it are skipped with a warning; if `CI` is set, they fail.

use std::{
    env, fs,
    io::{self, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    os::unix::{
        fs::{MetadataExt, PermissionsExt, chown},
        process::CommandExt,
    },
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::OnceLock,
    thread::sleep,
    time::{Duration, Instant},
};

use crate::database::{Folder, unprivileged_user};

/// Runs nginx until standard input closes, that is, until the test process ends.
const KEEPER: &str = r#""$@" >log 2>&1 & read -r _; kill -TERM $!; wait"#;

/// A proxy. Dropping it stops it.
pub struct Nginx {
    /// The port of the site that is only for Antiphon.
    site: u16,
    /// The port of the site that has Antiphon below `/api/`.
    below_path: u16,
    keeper: Child,
    _folder: Folder,
}

impl Nginx {
    /// Starts a proxy in front of a server; `None` if the machine has no nginx.
    ///
    /// # Panics
    /// If nginx is required and missing, or does not start.
    pub fn start(server: SocketAddr) -> Option<Self> {
        static REPORTED: OnceLock<()> = OnceLock::new();
        let folders = env::split_paths(&env::var_os("PATH").unwrap_or_default()).collect::<Vec<_>>();
        let mut folders = folders.into_iter().chain([PathBuf::from("/usr/sbin")]);
        let Some(binary) = folders.find_map(|folder| folder.join("nginx").canonicalize().ok()) else {
            assert!(env::var_os("CI").is_none(), "nginx is not here, and CI is set");
            // Directly to the terminal: libtest would capture it.
            REPORTED.get_or_init(|| {
                let text = b"\n*** SKIPPED: every test with nginx. It is missing (Debian's package of that name).\n\n";
                let _ = io::stderr().write_all(text);
            });
            return None;
        };
        let [site, below_path] = [(); 2].map(|()| {
            TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port").port()
        });
        let site_conf = include_str!("../../deploy/nginx.conf");
        assert_eq!((site_conf.matches("listen 80;").count(), site_conf.matches("127.0.0.1:8080").count()), (2, 1));
        let site_conf = site_conf
            .replacen("listen 80;", &format!("listen 127.0.0.1:{site};"), 1)
            .replacen("listen 80;", &format!("listen 127.0.0.1:{below_path};"), 1)
            .replace("127.0.0.1:8080", &server.to_string());
        let folder = Folder::new().expect("a folder");
        let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
        let temporary: String = temporary.iter().map(|name| format!("    {name}_temp_path {name};\n")).collect();
        let main = format!(
            "daemon off;\nmaster_process off;\npid pid;\nerror_log stderr warn;\nevents {{ }}\nhttp {{\n    access_log off;\n{temporary}    include site.conf;\n}}\n"
        );
        fs::write(folder.0.join("nginx.conf"), main).expect("the settings");
        fs::write(folder.0.join("site.conf"), site_conf).expect("the sites");
        fs::set_permissions(&folder.0, fs::Permissions::from_mode(0o700)).expect("a mode");

        let mut keeper = Command::new("/bin/sh");
        keeper.args(["-c", KEEPER, "keeper"]).arg(binary).arg("-p").arg(&folder.0);
        keeper.args(["-c", "nginx.conf", "-e", "stderr"]).current_dir(&folder.0);
        keeper.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        if fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0) {
            let (user, group) = unprivileged_user().expect("somebody");
            for path in [folder.0.clone(), folder.0.join("nginx.conf"), folder.0.join("site.conf")] {
                chown(path, Some(user), Some(group)).expect("an owner");
            }
            keeper.uid(user).gid(group);
        }
        let keeper = keeper.spawn().expect("nginx");
        let started = Instant::now();
        while TcpStream::connect(("127.0.0.1", below_path)).is_err() {
            let log = || fs::read_to_string(folder.0.join("log")).unwrap_or_default();
            assert!(started.elapsed() < Duration::from_secs(20), "nginx does not start: {}", log());
            sleep(Duration::from_millis(20));
        }
        Some(Self { site, below_path, keeper, _folder: folder })
    }

    /// The base URLs of Antiphon through nginx: at a host of its own, and below a path of another host.
    pub fn bases(&self) -> [String; 2] {
        [format!("http://127.0.0.1:{}", self.site), format!("http://127.0.0.1:{}/api", self.below_path)]
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        let _ = self.keeper.wait();
    }
}
