//! A small server that speaks the hub's interface, and can be made to behave badly.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use sha2::Digest;

/// The one commit of every repository.
pub const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

#[derive(Clone, Default)]
pub struct Behaviour {
    /// Bytes of a body after which the connection breaks.
    pub breaks_after: Option<usize>,
    /// Bytes of a body after which nothing more comes, over a connection that stays.
    pub stalls_after: Option<usize>,
    /// Answers before the first right one.
    pub busy: usize,
    /// Who does not show this gets a 401.
    pub token: Option<String>,
    /// Large files are sent on to there.
    pub elsewhere: Option<String>,
    /// Sends everything whoever asks for a part.
    pub ignores_ranges: bool,
    /// Alters every body.
    pub lies: bool,
}

pub struct Server {
    pub url: String,
    state: Arc<Mutex<State>>,
}

struct State {
    files: BTreeMap<String, Vec<u8>>,
    behaviour: Behaviour,
    /// Lines and headers of all requests.
    seen: Vec<String>,
    /// Connections over which nothing more comes.
    stalled: Vec<TcpStream>,
}

impl Server {
    pub fn with(files: &[(&str, &[u8])], behaviour: Behaviour) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let files = files.iter().map(|(name, bytes)| (name.to_string(), bytes.to_vec())).collect();
        let state = Arc::new(Mutex::new(State { files, behaviour, seen: Vec::new(), stalled: Vec::new() }));
        let served = state.clone();
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let _ = answer(&stream, &served);
            }
        });
        Server { url, state }
    }

    pub fn behave(&self, behaviour: Behaviour) {
        self.state.lock().unwrap().behaviour = behaviour;
    }

    pub fn seen(&self) -> Vec<String> {
        std::mem::take(&mut self.state.lock().unwrap().seen)
    }
}

fn answer(stream: &TcpStream, state: &Mutex<State>) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
    let line = lines.next().unwrap_or_default();
    let headers: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
    let header = |name: &str| {
        headers.iter().find_map(|line| {
            let (given, value) = line.split_once(':')?;
            given.eq_ignore_ascii_case(name).then(|| value.trim().to_string())
        })
    };
    let mut state = state.lock().unwrap();
    state.seen.push(format!("{line} {}", headers.join(" ")));
    let path = line.split(' ').nth(1).unwrap_or_default().to_string();
    if state.behaviour.busy > 0 {
        state.behaviour.busy -= 1;
        return reply(stream, "429 Too Many Requests", "Retry-After: 0\r\n", b"");
    }
    if let Some(token) = &state.behaviour.token
        && header("authorization") != Some(format!("Bearer {token}"))
    {
        return reply(stream, "401 Unauthorized", "", b"");
    }
    if path.starts_with("/api/models/o/m/revision/") || path.starts_with("/api/datasets/o/m/revision/") {
        let known = ["main", "refs%2Fpr%2F1", COMMIT].iter().any(|revision| path.contains(&format!("/{revision}?")));
        return if known {
            reply(stream, "200 OK", "", &info(&state))
        } else {
            reply(stream, "404 Not Found", "", b"")
        };
    }
    let name = path.split_once(&format!("/resolve/{COMMIT}/")).map_or("", |(_, name)| name).replace("%20", " ");
    let Some(bytes) = state.files.get(&name) else { return reply(stream, "404 Not Found", "", b"") };
    if let Some(elsewhere) = state.behaviour.elsewhere.as_ref().filter(|_| is_large(bytes)) {
        return reply(stream, "302 Found", &format!("Location: {elsewhere}{path}\r\n"), b"");
    }
    let mut bytes = bytes.clone();
    if state.behaviour.lies {
        bytes.iter_mut().for_each(|byte| *byte ^= 1);
    }
    let from = header("range").and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok());
    let from: usize = from.filter(|_| !state.behaviour.ignores_ranges).unwrap_or(0);
    if from > 0 && from >= bytes.len() {
        return reply(stream, "416 Range Not Satisfiable", "", b"");
    }
    let body = &bytes[from..];
    let status = if from > 0 { "206 Partial Content" } else { "200 OK" };
    let Behaviour { breaks_after, stalls_after, .. } = state.behaviour;
    let Some(after) = breaks_after.or(stalls_after).filter(|after| *after < body.len()) else {
        return reply(stream, status, "", body);
    };
    let mut sent = stream;
    write!(sent, "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len())?;
    sent.write_all(&body[..after])?;
    if stalls_after.is_some() {
        state.stalled.push(stream.try_clone()?);
    }
    Ok(())
}

fn reply(mut stream: &TcpStream, status: &str, headers: &str, body: &[u8]) -> std::io::Result<()> {
    let length = body.len();
    write!(stream, "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n{headers}\r\n")?;
    stream.write_all(body)
}

fn is_large(bytes: &[u8]) -> bool {
    bytes.len() > 10_000
}

fn info(state: &State) -> Vec<u8> {
    let files = state.files.iter().map(|(name, bytes)| {
        let size = bytes.len();
        match is_large(bytes) {
            true => serde_json::json!({"rfilename": name, "size": size, "blobId": "0".repeat(40),
                "lfs": {"sha256": hex(&sha2::Sha256::digest(bytes)), "size": size, "pointerSize": 135}}),
            false => {
                let blob = [format!("blob {size}\0").as_bytes(), bytes].concat();
                serde_json::json!({"rfilename": name, "size": size, "blobId": hex(&sha1::Sha1::digest(blob))})
            }
        }
    });
    serde_json::json!({"sha": COMMIT, "siblings": files.collect::<Vec<_>>(), "private": false}).to_string().into_bytes()
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
