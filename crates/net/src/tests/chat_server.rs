//! A small server that speaks OpenAI's interface and says what it is told to, each connection in a thread of its own.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

/// An answer to a request.
pub enum Says {
    /// A completion with this text, said to have taken ten tokens.
    Text(String),
    /// A status with headers and a body.
    Status(&'static str, &'static str, String),
    /// The connection breaks without a word.
    Nothing,
    /// What it says then.
    After(Duration, Box<Says>),
}

/// Says something to a request: its body, and how many came before it.
type Script = dyn Fn(&Value, usize) -> Says + Send + Sync;

pub struct ChatServer {
    pub url: String,
    state: Arc<State>,
}

struct State {
    script: Box<Script>,
    log: Mutex<Log>,
}

#[derive(Default)]
struct Log {
    /// Line and headers, and the body, of all requests.
    seen: Vec<(String, Value)>,
    now: usize,
    most: usize,
}

impl ChatServer {
    pub fn new(script: impl Fn(&Value, usize) -> Says + Send + Sync + 'static) -> ChatServer {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/v1", listener.local_addr().unwrap());
        let state = Arc::new(State { script: Box::new(script), log: Mutex::default() });
        let served = Arc::clone(&state);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let served = Arc::clone(&served);
                thread::spawn(move || served.answer(&stream));
            }
        });
        ChatServer { url, state }
    }

    /// Requests so far.
    pub fn calls(&self) -> usize {
        self.state.log.lock().unwrap().seen.len()
    }

    /// Line, headers and body of all requests.
    pub fn seen(&self) -> Vec<(String, Value)> {
        self.state.log.lock().unwrap().seen.clone()
    }

    /// Requests that were under way at once, at most.
    pub fn most(&self) -> usize {
        self.state.log.lock().unwrap().most
    }
}

impl State {
    fn answer(&self, stream: &TcpStream) -> Option<()> {
        let mut reader = BufReader::new(stream);
        let mut head = String::new();
        while reader.read_line(&mut head).ok()? > 2 {}
        let length = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
        })?;
        let mut body = vec![0; length];
        reader.read_exact(&mut body).ok()?;
        let body: Value = serde_json::from_slice(&body).ok()?;
        let before = self.enter(head, &body);
        let said = say(stream, (self.script)(&body, before));
        self.log.lock().unwrap().now -= 1;
        said.ok()
    }

    fn enter(&self, head: String, body: &Value) -> usize {
        let mut log = self.log.lock().unwrap();
        log.now += 1;
        log.most = log.most.max(log.now);
        log.seen.push((head, body.clone()));
        log.seen.len() - 1
    }
}

fn say(mut stream: &TcpStream, says: Says) -> std::io::Result<()> {
    let (status, headers, body) = match says {
        Says::Nothing => return Ok(()),
        Says::After(pause, says) => {
            thread::sleep(pause);
            return say(stream, *says);
        }
        Says::Status(status, headers, body) => (status, headers, body),
        Says::Text(text) => {
            let choice = json!({ "index": 0, "message": { "role": "assistant", "content": text } });
            (
                "200 OK",
                "",
                json!({ "choices": [choice], "usage": { "total_tokens": 10, "prompt_tokens": 4 } }).to_string(),
            )
        }
    };
    write!(stream, "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n{headers}\r\n{body}", body.len())
}
