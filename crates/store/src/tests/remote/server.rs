//! A real S3 service over HTTP on the loopback, with credentials, and a wire in front of it that counts and fails.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;
use s3s_fs::FileSystem;
use tokio::runtime::Runtime;

pub const ACCESS: &str = "an-access-key";
pub const SECRET: &str = "a-secret-key";
pub const BUCKET: &str = "results";

/// Serves a folder until it is stopped.
pub struct Server {
    runtime: Option<Runtime>,
    pub address: SocketAddr,
}

impl Server {
    /// Serves the buckets in `root`, and makes [`BUCKET`].
    pub fn start(root: &Path) -> Server {
        fs::create_dir_all(root.join(BUCKET)).unwrap();
        let mut builder = S3ServiceBuilder::new(FileSystem::new(root).unwrap());
        builder.set_auth(SimpleAuth::from_single(ACCESS, SECRET));
        let service = builder.build();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).unwrap();
        let address = listener.local_addr().unwrap();
        runtime.spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let service = service.clone();
                tokio::spawn(async move {
                    let http = auto::Builder::new(TokioExecutor::new());
                    let _ = http.serve_connection(TokioIo::new(socket), service).await;
                });
            }
        });
        Server { runtime: Some(runtime), address }
    }

    /// Every connection ends, and no new one is taken.
    pub fn stop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Serves the files of a folder by plain HTTP, as any web server does, below `/public`. It lives as long as the test.
pub fn serve_files(root: &Path) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let (address, root) = (listener.local_addr().unwrap(), root.to_path_buf());
    thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let root = root.clone();
            thread::spawn(move || answer(client, &root));
        }
    });
    address
}

fn answer(mut client: TcpStream, root: &Path) {
    let mut request = [0; 8 << 10];
    let Ok(read) = client.read(&mut request) else { return };
    let request = String::from_utf8_lossy(&request[..read]).to_string();
    let path = request.strip_prefix("GET /public/").and_then(|rest| rest.split(' ').next());
    let (status, body) = match path.map(|path| fs::read(root.join(path))) {
        Some(Ok(body)) => ("200 OK", body),
        Some(Err(_)) => ("404 Not Found", Vec::new()),
        None => ("405 Method Not Allowed", Vec::new()),
    };
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    let _ = client.write_all(head.as_bytes()).and_then(|()| client.write_all(&body));
}

/// What the wire does to a connection.
#[derive(Clone, Copy, PartialEq)]
pub enum Weather {
    Fair,
    /// Every so manieth connection is answered by `500` and closed.
    Errors(u64),
    /// Every so manieth connection is cut after that many bytes of answer.
    Cuts {
        every: u64,
        after: usize,
    },
    /// Takes connections and says nothing.
    Silence,
    /// Writes get through, a question for an object ends the connection.
    Deaf,
}

/// Passes bytes on, and counts them.
pub struct Wire {
    pub address: SocketAddr,
    /// To the server and from it, with all that HTTP adds.
    bytes: Arc<AtomicU64>,
    connections: Arc<AtomicU64>,
    weather: Arc<Mutex<Weather>>,
    closed: Arc<AtomicBool>,
}

impl Wire {
    pub fn to(server: SocketAddr) -> Wire {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let wire = Wire {
            address: listener.local_addr().unwrap(),
            bytes: Arc::default(),
            connections: Arc::default(),
            weather: Arc::new(Mutex::new(Weather::Fair)),
            closed: Arc::default(),
        };
        let (bytes, connections) = (Arc::clone(&wire.bytes), Arc::clone(&wire.connections));
        let (weather, closed) = (Arc::clone(&wire.weather), Arc::clone(&wire.closed));
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                if closed.load(Ordering::SeqCst) {
                    return;
                }
                let count = connections.fetch_add(1, Ordering::SeqCst) + 1;
                let (weather, bytes) = (*weather.lock().unwrap(), Arc::clone(&bytes));
                thread::spawn(move || carry(client, server, weather, count, &bytes));
            }
        });
        wire
    }

    pub fn set(&self, weather: Weather) {
        *self.weather.lock().unwrap() = weather;
    }

    /// All that has gone over the wire so far, in both directions.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::SeqCst)
    }

    pub fn connections(&self) -> u64 {
        self.connections.load(Ordering::SeqCst)
    }
}

impl Drop for Wire {
    /// Wakes the thread that waits for connections, so that it ends.
    fn drop(&mut self) {
        self.closed.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
    }
}

fn carry(mut client: TcpStream, server: SocketAddr, weather: Weather, count: u64, bytes: &Arc<AtomicU64>) {
    let limit = match weather {
        Weather::Errors(every) if count.is_multiple_of(every) => return fail(client),
        Weather::Silence => return listen(client),
        Weather::Cuts { every, after } if count.is_multiple_of(every) => after,
        _ => usize::MAX,
    };
    let Ok(mut server) = TcpStream::connect(server) else { return };
    let (Ok(from), Ok(to)) = (client.try_clone(), server.try_clone()) else { return };
    let counter = Arc::clone(bytes);
    let refused: &[u8] = if weather == Weather::Deaf { b"GET " } else { b"no such method" };
    thread::spawn(move || ask(from, to, refused, &counter));
    pump_into(&mut server, &mut client, limit, bytes);
    let _ = client.shutdown(Shutdown::Both);
    let _ = server.shutdown(Shutdown::Both);
}

/// Passes the requests on, up to one of the refused sort.
fn ask(mut from: TcpStream, mut to: TcpStream, refused: &[u8], bytes: &AtomicU64) {
    let mut buffer = [0; 16 << 10];
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        bytes.fetch_add(read as u64, Ordering::SeqCst);
        if buffer[..read].starts_with(refused) || to.write_all(&buffer[..read]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
}

fn pump_into(from: &mut TcpStream, to: &mut TcpStream, limit: usize, bytes: &AtomicU64) {
    let (mut buffer, mut left) = ([0; 16 << 10], limit);
    while left > 0 {
        let Ok(read @ 1..) = from.read(&mut buffer) else { return };
        let read = read.min(left);
        left -= read;
        bytes.fetch_add(read as u64, Ordering::SeqCst);
        if to.write_all(&buffer[..read]).is_err() {
            return;
        }
    }
}

/// Hears the request's head, as a server does that then breaks down.
fn fail(mut client: TcpStream) {
    let _ = client.read(&mut [0; 16 << 10]);
    let _ = client.write_all(b"HTTP/1.1 500 Broken\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    let _ = client.shutdown(Shutdown::Write);
    listen(client);
}

fn listen(mut client: TcpStream) {
    let mut buffer = [0; 16 << 10];
    while let Ok(1..) = client.read(&mut buffer) {}
}
