//! Failing disks: a library that makes a server's writes fail, and a file system of a few MiB.

use std::{
    fs::{self, File, OpenOptions, Permissions},
    io::{self, Write},
    os::unix::fs::{FileExt, PermissionsExt},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::database::{Database, Folder};

/// The operation that fails. The numbers are those of errno(3) on Linux.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// EIO from every write.
    Write,
    /// EIO from every fsync.
    Sync,
    /// ENOSPC from every write that makes a file longer.
    Full,
}

impl Fault {
    /// Every kind of fault.
    pub const ALL: [Self; 3] = [Self::Write, Self::Sync, Self::Full];

    fn control(self) -> [i32; 3] {
        const EIO: i32 = 5;
        const ENOSPC: i32 = 28;
        match self {
            Self::Write => [EIO, 0, 0],
            Self::Full => [0, ENOSPC, 0],
            Self::Sync => [0, 0, EIO],
        }
    }
}

/// The disk of a child server, which fails on request.
pub struct FaultyDisk {
    folder: Folder,
    control: File,
}

impl FaultyDisk {
    /// Compiles the library.
    ///
    /// # Panics
    /// Without a C compiler.
    pub fn build() -> Self {
        let folder = Folder::new().expect("a temporary folder");
        let source = folder.0.join("faulty_disk.c");
        fs::write(&source, include_str!("faulty_disk.c")).expect("the source");
        let mut compiler = Command::new("cc");
        compiler.args(["-shared", "-fPIC", "-O1", "-o"]).arg(folder.0.join("faulty_disk.so")).arg(&source).arg("-ldl");
        let output = compiler.output().expect("a C compiler (Debian's packages gcc and libc6-dev)");
        assert!(output.status.success(), "cc: {}", String::from_utf8_lossy(&output.stderr));
        let mut options = OpenOptions::new();
        let control = options.read(true).write(true).create_new(true).open(folder.0.join("control")).expect("a file");
        control.set_len(16).expect("a control file");
        // PostgreSQL has a user of its own.
        control.set_permissions(Permissions::from_mode(0o666)).expect("a control file");
        Self { folder, control }
    }

    /// The environment variables that put this disk under the database's file.
    ///
    /// # Panics
    /// On PostgreSQL, whose files are not the server's; see [`Database::on`].
    pub fn variables(&self, database: &Database) -> Vec<(&'static str, String)> {
        self.under(&database.file().expect("a file").display().to_string())
    }

    /// The environment variables that put this disk under all files whose path contains `part`.
    pub(crate) fn under(&self, part: &str) -> Vec<(&'static str, String)> {
        let shown = |file: &str| self.folder.0.join(file).display().to_string();
        vec![
            ("LD_PRELOAD", shown("faulty_disk.so")),
            ("ANTIPHON_FAULTS", shown("control")),
            ("ANTIPHON_FAULTS_IN", part.to_owned()),
        ]
    }

    /// Makes the disk fail from now on.
    ///
    /// # Panics
    /// If the control file cannot be written.
    pub fn fail(&self, fault: Fault) {
        self.control(fault.control());
    }

    /// Makes the disk work from now on.
    ///
    /// # Panics
    /// If the control file cannot be written.
    pub fn repair(&self) {
        self.control([0; 3]);
    }

    fn control(&self, errors: [i32; 3]) {
        let bytes: Vec<u8> = errors.iter().flat_map(|error| error.to_ne_bytes()).collect();
        self.control.write_all_at(&bytes, 0).expect("the control file");
    }

    /// How many calls have failed so far.
    ///
    /// # Panics
    /// If the control file cannot be read.
    pub fn failed(&self) -> i32 {
        let mut bytes = [0; 4];
        self.control.read_exact_at(&mut bytes, 12).expect("the control file");
        i32::from_ne_bytes(bytes)
    }
}

/// A file system in memory of a few MiB, which can be full.
pub struct SmallDisk(Folder);

impl SmallDisk {
    /// Mounts one; returns `None`, with a warning, if this process cannot mount.
    ///
    /// # Panics
    /// If its folder cannot be created.
    pub fn mount(mebibytes: u32) -> Option<Self> {
        let folder = Folder::new().expect("a temporary folder");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={mebibytes}m"), "tmpfs"]).arg(&folder.0);
        if mount.stdin(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success()) {
            return Some(Self(folder));
        }
        // Directly to the terminal: libtest would capture it.
        let _ = io::stderr().write_all(b"\n*** SKIPPED: tests on a full disk. This process cannot mount a tmpfs.\n\n");
        None
    }

    /// The mount point.
    pub fn path(&self) -> &Path {
        &self.0.0
    }

    /// Makes it read-only, or writable again.
    ///
    /// # Panics
    /// If that fails.
    pub fn set_read_only(&self, is_read_only: bool) {
        let mode = if is_read_only { "remount,ro" } else { "remount,rw" };
        let status = Command::new("mount").args(["-o", mode]).arg(self.path()).status();
        assert!(status.expect("mount").success());
    }

    fn filler(&self) -> PathBuf {
        self.path().join("filler")
    }

    /// Fills all the space that is left.
    ///
    /// # Panics
    /// If the filler file cannot be written for another reason.
    pub fn fill(&self) {
        let mut file = OpenOptions::new().append(true).create(true).open(self.filler()).expect("the filler");
        for size in [65_536, 4_096, 512, 1] {
            let full = loop {
                if let Err(error) = file.write_all(&vec![b'x'; size]) {
                    break error;
                }
            };
            assert_eq!(full.kind(), io::ErrorKind::StorageFull, "{full}");
        }
    }

    /// Frees the space again.
    ///
    /// # Panics
    /// If the filler file does not exist.
    pub fn free(&self) {
        fs::remove_file(self.filler()).expect("the filler");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.path()).status();
    }
}
