//! Disks that are full or may not be written: exit code 3 and a remedy, and nothing to repair afterwards.

use std::fs::{self, Permissions};
use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use super::pass_over;
use super::pipeline::{self, assert_all_right, outputs};
use crate::space::{Answer, TestSpace, answer};

/// A file system in memory of its own, unmounted with this.
struct Disk {
    path: PathBuf,
}

impl Disk {
    /// `None` where this user may not mount.
    fn mount(path: PathBuf, size: &str) -> Option<Disk> {
        fs::create_dir_all(&path).unwrap();
        let options = format!("size={size},mode=755");
        let done = Command::new("mount").args(["-t", "tmpfs", "-o", &options, "gazal"]).arg(&path).output();
        done.is_ok_and(|done| done.status.success()).then_some(Disk { path })
    }

    fn remount(&self, options: &str) {
        let options = format!("remount,{options}");
        assert!(Command::new("mount").args(["-o", &options]).arg(&self.path).status().unwrap().success());
    }

    /// Fills it to the last byte.
    fn fill(&self) {
        let error = fs::write(self.path.join("ballast"), vec![1; 64 << 20]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::StorageFull);
    }

    fn empty(&self) {
        fs::remove_file(self.path.join("ballast")).unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.path).status();
    }
}

/// Stages that need more than the disk has: in their output's folder, and when that is stored beside it.
const LARGE: &str = "[stages.stored]\nkind = 'source'\nparams = { path = 'large.txt' }\n\
    [stages.copied]\nkind = 'source'\nparams = { path = 'larger.txt' }\n\
    [stages.written]\nkind = 'exec'\noutputs = { out = 'files' }\n\
    params = { command = ['sh', '-c', 'yes | head -c 5000000 > $GAZAL_OUTPUT_out/yes'] }\n";

#[test]
fn a_full_disk_is_said_and_survived() {
    let space = TestSpace::with(LARGE);
    let Some(disk) = Disk::mount(space.path("cache"), "3m") else {
        return pass_over("mount", "no right to mount a file system");
    };
    space.write("large.txt", &"large ".repeat(300_000));
    space.write("larger.txt", &"larger ".repeat(800_000));
    for stage in ["stored", "copied", "written"] {
        let told = space.expect(3, &format!("run pipeline.toml {stage}"));
        assert!(told.stderr.contains("full") && told.stderr.contains("--store"), "{stage}: {}", told.stderr);
    }
    disk.fill();
    assert_refused(&space.run("run pipeline.toml"), "full");
    disk.empty();
    disk.remount("size=64m");
    let told = space.expect(0, "run pipeline.toml").stdout;
    assert!(told.contains("3 ran"), "{told}");
    space.expect(0, "cache verify");
    space.expect(0, "get pipeline.toml copied out");
    assert_eq!(space.read("out/larger.txt"), space.read("larger.txt"));
}

#[test]
fn a_disk_that_fills_up_later_lets_results_be_fetched() {
    let (space, expected) = (pipeline::space(), pipeline::undisturbed());
    let Some(disk) = Disk::mount(space.path("cache"), "16m") else {
        return pass_over("mount", "no right to mount a file system");
    };
    space.expect(0, "run pipeline.toml -j 2");
    disk.fill();
    assert_eq!(outputs(&space), expected[0]);
    space.expect(0, "status pipeline.toml");
    assert_refused(&space.run("run pipeline.toml --force up"), "full");
    disk.empty();
    space.expect(0, "run pipeline.toml --force up");
    assert_all_right(&space, &expected[0]);
}

#[test]
fn a_read_only_file_system_can_be_read() {
    let (space, expected) = (pipeline::space(), pipeline::undisturbed());
    let Some(disk) = Disk::mount(space.path("cache"), "16m") else {
        return pass_over("mount", "no right to mount a file system");
    };
    space.expect(0, "run pipeline.toml -j 2");
    disk.remount("ro");
    assert_readable(&space, &|words| space.run(words), "read-only");
    assert_eq!(outputs(&space), expected[0]);
    disk.remount("rw");
    assert_all_right(&space, &expected[0]);
}

#[test]
fn a_store_of_somebody_else_can_be_read() {
    let space = pipeline::space();
    space.expect(0, "run pipeline.toml -j 2");
    fs::set_permissions(space.path(""), Permissions::from_mode(0o755)).unwrap();
    fs::create_dir(space.path("theirs")).unwrap();
    fs::set_permissions(space.path("theirs"), Permissions::from_mode(0o777)).unwrap();
    if fs::metadata("/proc/self").unwrap().uid() != 0 {
        return pass_over("root", "no right to become somebody else");
    }
    // A copy, since the folder of the program that was built may be closed to others.
    fs::copy(env!("CARGO_BIN_EXE_gazal-pipe"), space.path("gazal-pipe")).unwrap();
    let as_nobody = |words: &str| space.command_of(&space.path("gazal-pipe"), words).uid(65534).gid(65534).output();
    match as_nobody("--version") {
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            return pass_over("root", "somebody else may not enter the folder of temporary files");
        }
        told => assert!(told.unwrap().status.success()),
    }
    let nobody = |words: &str| answer(&as_nobody(words).unwrap());
    assert_readable(&space, &nobody, "permission");
    let told = nobody("get pipeline.toml last theirs/last");
    assert_eq!(told.code, 0, "{}", told.stderr);
    space.expect(0, "run pipeline.toml");
}

/// All that only looks works, and a run says what it lacks.
fn assert_readable(space: &TestSpace, run: &dyn Fn(&str) -> Answer, complaint: &str) {
    for words in
        ["plan pipeline.toml", "status pipeline.toml", "explain pipeline.toml", "log pipeline.toml", "cache ls"]
    {
        let told = run(words);
        assert_eq!(told.code, 0, "{words}: {}", told.stderr);
    }
    let plan = run("plan pipeline.toml").stdout;
    assert!(plan.contains("12 up to date"), "{plan}");
    pipeline::write_text(space, 1);
    assert!(run("plan pipeline.toml").stdout.contains("1 to run"), "an edit is seen");
    assert_refused(&run("run pipeline.toml"), complaint);
    pipeline::write_text(space, 0);
    assert_refused(&run("run pipeline.toml"), complaint);
}

fn assert_refused(told: &Answer, complaint: &str) {
    assert_eq!(told.code, 3, "{}{}", told.stdout, told.stderr);
    assert!(told.stderr.contains(complaint) && told.stderr.contains("--store"), "{}", told.stderr);
}
