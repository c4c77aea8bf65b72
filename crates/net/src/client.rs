//! Requests over HTTP, with what every one of them needs: patience with a busy server, and a secret that only its
//! own server sees.

use std::thread;
use std::time::{Duration, Instant};

use ureq::http::{HeaderMap, Response, StatusCode};
use ureq::{Agent, Body};
use url::Url;

/// Redirects to follow for one request.
const REDIRECTS: usize = 10;
/// Attempts at one request that the server is too busy for, or that does not reach it.
const ATTEMPTS: u32 = 4;
/// Doubled after each attempt.
const FIRST_PAUSE: Duration = Duration::from_millis(300);
pub(crate) const LONGEST_PAUSE: Duration = Duration::from_secs(60);
pub(crate) const CONNECT: Duration = Duration::from_secs(20);
/// Until the headers of an answer are there.
const ANSWER: Duration = Duration::from_secs(60);
/// Between asking whether to give up.
const TICK: Duration = Duration::from_millis(50);

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// An answer that is none.
    Status(StatusCode),
    /// No answer, after all attempts.
    Unreachable(String),
    /// What may be spent is spent.
    Spent(String),
    Cancelled,
}

/// A server, and the token that it alone is shown.
pub(crate) struct Client {
    agent: Agent,
    server: Url,
    token: Option<String>,
}

impl Client {
    pub fn new(server: Url, token: Option<String>) -> Client {
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .timeout_connect(Some(CONNECT))
            .timeout_recv_response(Some(ANSWER))
            .user_agent(concat!("gazal-pipe/", env!("CARGO_PKG_VERSION")))
            .build()
            .into();
        Client { agent, server, token }
    }

    /// Asks until there is an answer, or a refusal that asking again does not change.
    ///
    /// `from` leaves out the first bytes; a server may send them all the same, and says so by its status.
    pub fn get(&self, url: &Url, from: u64, cancelled: &dyn Fn() -> bool) -> Result<Response<Body>, Trouble> {
        let answer = patiently(ATTEMPTS, cancelled, || self.once(url, from).map_err(Miss::Worth))?;
        if answer.status().is_success() { Ok(answer) } else { Err(Trouble::Status(answer.status())) }
    }

    /// One request, and where it is sent on to.
    fn once(&self, url: &Url, from: u64) -> Result<Response<Body>, String> {
        let mut url = url.clone();
        for _ in 0..REDIRECTS {
            let mut request = self.agent.get(url.as_str());
            if let Some(token) = self.token.as_ref().filter(|_| url.origin() == self.server.origin()) {
                request = request.header("Authorization", format!("Bearer {token}"));
            }
            if from > 0 {
                request = request.header("Range", format!("bytes={from}-"));
            }
            let answer = request.call().map_err(|error| error.to_string())?;
            if !answer.status().is_redirection() {
                return Ok(answer);
            }
            let location = answer.headers().get("Location").and_then(|value| value.to_str().ok());
            let location = location.ok_or("the server sends on to nowhere")?;
            url = url.join(location).map_err(|error| format!("the server sends on to `{location}`: {error}"))?;
        }
        Err("the server sends on without end".into())
    }
}

/// Why one attempt gave no answer.
pub(crate) enum Miss {
    /// Another one may.
    Worth(String),
    /// Another one would not.
    Final(Trouble),
}

/// Makes attempts until there is an answer that is not "later"; pauses between them are as long as the server asks
/// for, else twice as long as the last one.
pub(crate) fn patiently<T>(
    attempts: u32,
    cancelled: &dyn Fn() -> bool,
    mut once: impl FnMut() -> Result<Response<T>, Miss>,
) -> Result<Response<T>, Trouble> {
    let mut pause = FIRST_PAUSE;
    let mut last = String::new();
    for attempt in 0..attempts {
        if attempt > 0 {
            rest(pause.min(LONGEST_PAUSE), cancelled);
        }
        if cancelled() {
            return Err(Trouble::Cancelled);
        }
        pause = FIRST_PAUSE.saturating_mul(2_u32.saturating_pow(attempt));
        match once() {
            Ok(answer) if is_busy(answer.status()) => {
                last = answer.status().to_string();
                pause = asked_for(answer.headers()).unwrap_or(pause);
            }
            Ok(answer) => return Ok(answer),
            Err(Miss::Worth(error)) => last = error,
            Err(Miss::Final(trouble)) => return Err(trouble),
        }
    }
    Err(Trouble::Unreachable(last))
}

fn is_busy(status: StatusCode) -> bool {
    status == StatusCode::TOO_MANY_REQUESTS || status == StatusCode::REQUEST_TIMEOUT || status.is_server_error()
}

/// How long the server asks to be left alone.
pub(crate) fn asked_for(headers: &HeaderMap) -> Option<Duration> {
    headers.get("Retry-After")?.to_str().ok()?.parse().ok().map(Duration::from_secs)
}

pub(crate) fn rest(pause: Duration, cancelled: &dyn Fn() -> bool) {
    let begun = Instant::now();
    while begun.elapsed() < pause && !cancelled() {
        thread::sleep(TICK.min(pause));
    }
}
