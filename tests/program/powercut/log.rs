//! What `strace -f -y -xx` writes, read as changes to files.
//!
//! A call that another thread interrupts is written in two parts and counts when it has returned; calls that failed are
//! left out. Paths of descriptors come with them (`-y`), so that no table of descriptors has to be kept.

use std::collections::HashMap;
use std::path::PathBuf;

/// The system calls that are to be traced.
pub const CALLS: &str = "openat,write,pwrite64,writev,copy_file_range,sendfile,ftruncate,fsync,fdatasync,rename,renameat,\
    renameat2,link,linkat,symlink,symlinkat,unlink,unlinkat,rmdir,mkdir,mkdirat,chmod,fchmod,fchmodat,utimensat";

/// A change, with the paths that it was made by.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// Opened for writing; made, if it was not there and `create` is set.
    Open {
        path: PathBuf,
        create: bool,
        truncate: bool,
    },
    /// Bytes at a place of the file, or where the last ones ended.
    Write {
        path: PathBuf,
        bytes: Vec<u8>,
        at: Option<usize>,
    },
    Truncate {
        path: PathBuf,
        size: usize,
    },
    Mode {
        path: PathBuf,
        mode: u32,
    },
    /// The time of modification was set to these seconds after 1970.
    Time {
        path: PathBuf,
        seconds: u64,
    },
    /// A file's bytes, or the names in a folder, are on the disk from here on.
    Sync {
        path: PathBuf,
    },
    MakeFolder {
        path: PathBuf,
    },
    Symlink {
        target: PathBuf,
        path: PathBuf,
    },
    Link {
        from: PathBuf,
        to: PathBuf,
    },
    Rename {
        from: PathBuf,
        to: PathBuf,
    },
    Remove {
        path: PathBuf,
    },
}

/// All changes of a log, in the order in which their calls returned.
pub fn read(log: &str) -> Vec<Change> {
    let mut begun: HashMap<&str, String> = HashMap::new();
    let mut changes = Vec::new();
    for line in log.lines() {
        let Some((thread, text)) = line.split_once(char::is_whitespace) else { continue };
        let text = text.trim_start();
        if let Some(head) = text.strip_suffix("<unfinished ...>") {
            begun.insert(thread, head.to_string());
            continue;
        }
        let resumed = text.strip_prefix("<... ").and_then(|rest| rest.split_once(" resumed>"));
        let whole = match resumed {
            Some((_, tail)) => begun.remove(thread).unwrap_or_default() + tail,
            None => text.to_string(),
        };
        changes.extend(change(&whole));
    }
    changes
}

/// `name(arguments) = result`
fn change(text: &str) -> Option<Change> {
    let (call, result) = text.rsplit_once(" = ")?;
    let (name, arguments) = call.trim_end().strip_suffix(')')?.split_once('(')?;
    let result: i64 = result.split(['<', ' ']).next()?.parse().ok().filter(|result| *result >= 0)?;
    let arguments = split(arguments);
    let argument = |index: usize| arguments.get(index).copied().unwrap_or_default();
    let string = |index: usize| path(argument(index), None);
    let at = |index: usize| path(argument(index + 1), Some(argument(index)));
    let number = |index: usize| argument(index).parse::<usize>().unwrap_or_default();
    Some(match name {
        "openat" => {
            let flags = argument(2);
            let writes = flags.contains("O_WRONLY") || flags.contains("O_RDWR");
            let change =
                Change::Open { path: at(0), create: flags.contains("O_CREAT"), truncate: flags.contains("O_TRUNC") };
            return writes.then_some(change);
        }
        "write" => Change::Write { path: descriptor(argument(0))?, bytes: quoted(argument(1)), at: None },
        "pwrite64" => Change::Write { path: descriptor(argument(0))?, bytes: quoted(argument(1)), at: Some(number(3)) },
        "writev" => Change::Write { path: descriptor(argument(0))?, bytes: vector(argument(1)), at: None },
        // Which bytes the kernel has copied is not in the log; that they were some is.
        "copy_file_range" => filled(descriptor(argument(2))?, result),
        "sendfile" => filled(descriptor(argument(0))?, result),
        "ftruncate" => Change::Truncate { path: descriptor(argument(0))?, size: number(1) },
        "fsync" | "fdatasync" => Change::Sync { path: descriptor(argument(0))? },
        "rename" => Change::Rename { from: string(0), to: string(1) },
        "renameat" | "renameat2" => Change::Rename { from: at(0), to: at(2) },
        "link" => Change::Link { from: string(0), to: string(1) },
        "linkat" => Change::Link { from: at(0), to: at(2) },
        "symlink" => Change::Symlink { target: string(0), path: string(1) },
        "symlinkat" => Change::Symlink { target: string(0), path: at(1) },
        "unlink" | "rmdir" => Change::Remove { path: string(0) },
        "unlinkat" => Change::Remove { path: at(0) },
        "mkdir" => Change::MakeFolder { path: string(0) },
        "mkdirat" => Change::MakeFolder { path: at(0) },
        "chmod" => Change::Mode { path: string(0), mode: octal(argument(1)) },
        "fchmod" => Change::Mode { path: descriptor(argument(0))?, mode: octal(argument(1)) },
        "fchmodat" => Change::Mode { path: at(0), mode: octal(argument(2)) },
        "utimensat" => Change::Time { path: descriptor(argument(0))?, seconds: seconds(argument(2))? },
        _ => return None,
    })
}

fn filled(path: PathBuf, count: i64) -> Change {
    Change::Write { path, bytes: vec![b'?'; usize::try_from(count).unwrap_or_default()], at: None }
}

/// Arguments at the commas that are in no quotes or brackets.
fn split(text: &str) -> Vec<&str> {
    let (mut parts, mut start, mut depth, mut quoted, mut escaped) = (Vec::new(), 0, 0, false, false);
    for (at, letter) in text.char_indices() {
        match letter {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => quoted = !quoted,
            _ if quoted => {}
            '[' | '{' | '<' | '(' => depth += 1,
            ']' | '}' | '>' | ')' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(text[start..at].trim());
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(text[start..].trim());
    parts
}

/// A path, relative to the folder of a descriptor (`AT_FDCWD</folder>`) where there is one.
fn path(argument: &str, folder: Option<&str>) -> PathBuf {
    let path = PathBuf::from(text(&quoted(argument)));
    folder.and_then(descriptor).map_or(path.clone(), |folder| folder.join(path))
}

/// `5</path>`
fn descriptor(argument: &str) -> Option<PathBuf> {
    let (_, rest) = argument.split_once('<')?;
    let (path, _) = rest.rsplit_once('>')?;
    Some(PathBuf::from(text(&unescaped(path))))
}

/// The bytes between the first and the last quote.
fn quoted(argument: &str) -> Vec<u8> {
    let inside = argument.split_once('"').and_then(|(_, rest)| rest.rsplit_once('"'));
    inside.map(|(text, _)| unescaped(text)).unwrap_or_default()
}

/// `[{iov_base="a", iov_len=1}, …]`
fn vector(argument: &str) -> Vec<u8> {
    let parts = argument.split("iov_base=").skip(1);
    parts.flat_map(|part| part.split(", iov_len=").next().map(quoted).unwrap_or_default()).collect()
}

fn unescaped(text: &str) -> Vec<u8> {
    let (bytes, mut found, mut at) = (text.as_bytes(), Vec::new(), 0);
    while at < bytes.len() {
        let hex = text.get(at + 2..at + 4).filter(|_| text[at..].starts_with("\\x"));
        match (bytes[at], hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()), bytes.get(at + 1)) {
            (b'\\', Some(byte), _) => {
                found.push(byte);
                at += 4;
            }
            (b'\\', None, Some(&letter)) => {
                found.push(if letter == b'n' { b'\n' } else { letter });
                at += 2;
            }
            (byte, _, _) => {
                found.push(byte);
                at += 1;
            }
        }
    }
    found
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn octal(argument: &str) -> u32 {
    u32::from_str_radix(argument, 8).unwrap_or_default()
}

/// The second of `[UTIME_OMIT, {tv_sec=1000000000, tv_nsec=0}]`; `None` for the present.
fn seconds(argument: &str) -> Option<u64> {
    let (_, rest) = argument.rsplit_once("tv_sec=")?;
    rest.split(|letter: char| !letter.is_ascii_digit()).next()?.parse().ok()
}

#[test]
fn calls_are_read_as_changes() {
    let log = r#"7   openat(AT_FDCWD</p>, "\x2f\x73/a", O_WRONLY|O_CREAT|O_EXCL|O_CLOEXEC, 0666) = 3</s/a>
7   openat(AT_FDCWD</p>, "b", O_RDONLY) = 4</p/b>
7   write(3</s/a>, "x,\")\n", 5 <unfinished ...>
8   mkdir("/s/d", 0777) = -1 EEXIST (File exists)
9   unlinkat(5</s/t>, "f", 0) = 0
7   <... write resumed>)              = 5
7   writev(3</s/a>, [{iov_base="y", iov_len=1}, {iov_base="z", iov_len=1}], 2) = 2
7   utimensat(3</s/a>, NULL, [UTIME_OMIT, {tv_sec=1000000000, tv_nsec=0} /* 2001 */], 0) = 0
7   fsync(3</s/a>) = 0
7   linkat(AT_FDCWD</p>, "/s/a", AT_FDCWD</p>, "/s/b", 0) = 0
7   +++ exited with 0 +++"#;
    let (path, s) = (PathBuf::from("/s/a"), PathBuf::from);
    let expected = [
        Change::Open { path: path.clone(), create: true, truncate: false },
        Change::Remove { path: s("/s/t/f") },
        Change::Write { path: path.clone(), bytes: b"x,\")\n".to_vec(), at: None },
        Change::Write { path: path.clone(), bytes: b"yz".to_vec(), at: None },
        Change::Time { path: path.clone(), seconds: 1_000_000_000 },
        Change::Sync { path: path.clone() },
        Change::Link { from: path, to: s("/s/b") },
    ];
    assert_eq!(read(log), expected);
}
