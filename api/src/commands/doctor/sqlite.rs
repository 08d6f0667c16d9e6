//! The SQLite file, and the disk that holds it.

use std::{
    fs::File,
    path::{Path, PathBuf},
};

use anyhow::anyhow;
use sqlx::{ConnectOptions, Connection, sqlite::SqliteConnectOptions};
use tokio::{process::Command, time::timeout};

use super::finding::{CHECK_TIMEOUT, Findings};
use crate::{commands::backup::is_ours, database_url::refusal, model::clock, storage::writable::refuses_writes};

/// Free space below which writes will soon fail, and below which they can fail at once, in KiB.
const LOW_SPACE: u64 = 1024 * 1024;
const CRITICAL_SPACE: u64 = 64 * 1024;

/// Network file systems: SQLite's write-ahead log does not work on them, because its readers and writers share memory.
const NETWORK_FILE_SYSTEMS: [&str; 11] =
    ["nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "glusterfs", "fuse.sshfs", "fuse.glusterfs"];

/// Returns whether the database can be checked further.
pub(super) async fn check(options: &SqliteConnectOptions, findings: &mut Findings) -> bool {
    let file = options.get_filename();
    let folder = match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let Ok(folder) = folder.canonicalize() else {
        findings.broken(
            "database",
            format!("the folder of {} does not exist", file.display()),
            "SQLite creates the file, but not its folder",
            "create the folder, or choose another with --database-url (DATABASE_URL)",
        );
        return false;
    };
    check_file_system(&folder, findings);
    check_space(&folder, findings).await;
    if !file.exists() {
        check_creation(file, &folder, findings);
        return false;
    }
    check_mode(file, findings);
    let file_size = file.metadata().map_or(0, |metadata| metadata.len());
    let options = options.clone().create_if_missing(false);
    let refused = match refusal(options.connect()).await {
        None => unreadable(&options).await,
        refused => refused,
    };
    if let Some(error) = refused {
        findings.broken(
            "database",
            format!("{} cannot be opened: {error:#}", file.display()),
            "the server does not start without a database",
            "the file and its folder must belong to this user and be writable; \"not a database\" means that the file \
             is damaged or not a SQLite database: restore a backup",
        );
        return false;
    }
    if file_size > 0
        && let Err(error) = is_ours(file).await
    {
        findings.broken(
            "database",
            format!("{error:#}"),
            "the server does not start on it",
            "choose another file with --database-url (DATABASE_URL)",
        );
        return false;
    }
    if refuses_writes(file) {
        findings.broken(
            "database",
            format!("{} is not writable", file.display()),
            "only reads are served; every write fails with READ_ONLY",
            "the file and its folder must be writable, on a disk with free space that is not mounted read-only",
        );
    } else {
        findings.fine("database", format!("{} can be opened", file.display()));
    }
    true
}

/// Whether the file can be created.
fn check_creation(file: &Path, folder: &Path, findings: &mut Findings) {
    // Try to create a file, as the server will do, and delete it.
    let probe = folder.join(format!(".antiphon-doctor-{}", clock::new_id()));
    match File::create_new(&probe).and_then(|_| std::fs::remove_file(&probe)) {
        Ok(()) => findings.fine("database", format!("{} will be created at the first start", file.display())),
        Err(error) => findings.broken(
            "database",
            format!("{} is not writable: {error}", folder.display()),
            "SQLite creates the database there, and two more files at each start",
            "make this user its owner (chown), or choose another folder with --database-url (DATABASE_URL)",
        ),
    }
}

/// Why the content is unreadable. SQLite does not read it when it opens the file.
async fn unreadable(options: &SqliteConnectOptions) -> Option<anyhow::Error> {
    let read = async {
        let mut connection = options.connect().await?;
        sqlx::raw_sql("SELECT count(*) FROM sqlite_schema").execute(&mut connection).await?;
        connection.close().await
    };
    read.await.err().map(|error: sqlx::Error| match error {
        sqlx::Error::Database(error) => anyhow!("{}", error.message()),
        error => error.into(),
    })
}

#[cfg(unix)]
fn check_mode(file: &Path, findings: &mut Findings) {
    use std::os::unix::fs::PermissionsExt;
    let Ok(metadata) = file.metadata() else { return };
    let mode = metadata.permissions().mode() & 0o7777;
    if mode & 0o002 != 0 {
        findings.broken(
            "database",
            format!("{} is writable by every user of this machine (mode {mode:04o})", file.display()),
            "anyone who writes to it bypasses every check of the service",
            &format!("chmod 600 {}", file.display()),
        );
    } else if mode & 0o004 != 0 {
        findings.warn(
            "database",
            format!("{} is readable by every user of this machine (mode {mode:04o})", file.display()),
            "it contains all conversations and files",
            &format!("chmod 600 {}, if other people have accounts on this machine", file.display()),
        );
    }
}

#[cfg(not(unix))]
fn check_mode(_: &Path, _: &mut Findings) {}

fn check_file_system(folder: &Path, findings: &mut Findings) {
    // Available only on Linux.
    let Ok(mounts) = std::fs::read_to_string("/proc/self/mounts") else { return };
    let Some((at, kind)) = file_system(&mounts, folder) else { return };
    if NETWORK_FILE_SYSTEMS.contains(&kind.as_str()) {
        findings.broken(
            "database",
            format!("{} is on a network file system ({kind} at {})", folder.display(), at.display()),
            "SQLite's write-ahead log needs shared memory and working locks, which network file systems do not \
             provide: the file gets damaged",
            "put it on a local disk, or use PostgreSQL",
        );
    }
}

/// Mount point and type of a folder's file system, from /proc/self/mounts (mounts(5)).
fn file_system(mounts: &str, folder: &Path) -> Option<(PathBuf, String)> {
    let mounts = mounts.lines().filter_map(|line| {
        let mut fields = line.split(' ').skip(1);
        // A space in a path is escaped like this.
        let at = PathBuf::from(fields.next()?.replace("\\040", " "));
        Some((at, fields.next()?.to_owned()))
    });
    // Of two mounts at the same place, the later one hides the other.
    mounts.filter(|(at, _)| folder.starts_with(at)).max_by_key(|(at, _)| at.components().count())
}

async fn check_space(folder: &Path, findings: &mut Findings) {
    let asked = timeout(CHECK_TIMEOUT, Command::new("df").arg("-Pk").arg(folder).kill_on_drop(true).output()).await;
    let Ok(Ok(output)) = asked else { return };
    let output = String::from_utf8_lossy(&output.stdout);
    let free = output.lines().nth(1).and_then(|line| line.split_ascii_whitespace().nth(3)?.parse::<u64>().ok());
    let why = "writes fail when the disk is full";
    let advice = "free some space, or move the database to a larger disk";
    match free {
        Some(free) if free < CRITICAL_SPACE => {
            findings.broken("disk", format!("{} MiB free at {}", free / 1024, folder.display()), why, advice);
        }
        Some(free) if free < LOW_SPACE => {
            findings.warn("disk", format!("{} MiB free at {}", free / 1024, folder.display()), why, advice);
        }
        Some(free) => findings.fine("disk", format!("{} GiB free", free / 1024 / 1024)),
        None => {}
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::file_system;

    #[test]
    fn the_innermost_mount_determines_the_file_system() {
        const MOUNTS: &str = "/dev/sda1 / ext4 rw 0 0\nhost:/srv /srv/my\\040data nfs4 rw 0 0\ntmpfs /srv/my\\040data/tmp tmpfs rw 0 0\n";
        let kind = |folder: &str| file_system(MOUNTS, Path::new(folder)).map(|(_, kind)| kind);
        assert_eq!(kind("/srv/my data/antiphon").as_deref(), Some("nfs4"));
        assert_eq!(kind("/srv/my data/tmp").as_deref(), Some("tmpfs"));
        assert_eq!(kind("/srv/my database").as_deref(), Some("ext4"));
        assert_eq!(file_system("", Path::new("/")), None);
    }
}
