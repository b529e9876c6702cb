//! Many keep-alive connections, each with a request now and then, as the workshop's ten thousand users behave:
//! `cargo bench --bench connections -- ADDRESS BODY_FILE [CONNECTIONS] [SECONDS] [PAUSE] [NEW_EACH_SECOND]`. The pause is in
//! seconds, `1.75` or anew each time in `1-2.5`. Connections begin within one pause unless told how many begin each second;
//! the seconds count from when all have. Prints JSON. Talks to loopback only.

#![expect(clippy::print_stdout, reason = "its output is the result")]

use std::{
    env, fs,
    hash::{DefaultHasher, Hash, Hasher},
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{sleep, sleep_until, timeout},
};

/// An answer later than this is a failure.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Default)]
struct Counts {
    answered: AtomicU64,
    failed: AtomicU64,
}

fn main() -> Result<()> {
    let args: Vec<String> = env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let (Some(address), Some(body)) = (args.first(), args.get(1)) else {
        println!(
            "usage: cargo bench --bench connections -- ADDRESS BODY_FILE [CONNECTIONS] [SECONDS] [PAUSE] [NEW_EACH_SECOND]"
        );
        return Ok(());
    };
    let number = |index: usize, default: f64| args.get(index).map_or(Ok(default), |text| text.parse());
    let (connections, seconds) = (number(2, 10_000.0)? as u64, number(3, 60.0)?);
    let pause = Pause::parse(args.get(4).map_or("1.75", String::as_str))?;
    let ramp = number(5, 0.0).map(|each| if each > 0.0 { connections as f64 / each } else { pause.longest })?;
    let address: SocketAddr = address.parse()?;
    ensure!(address.ip().is_loopback(), "expected a loopback address, got {address}");
    ensure!(connections <= 20_000 && seconds <= 300.0 && ramp <= 300.0, "at most 20000 connections and 300 seconds");
    let body = fs::read_to_string(body)?;
    let request = format!(
        "POST /predict HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })?;

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let counts = Arc::new(Counts::default());
        let request: Arc<str> = request.into();
        let ramp = Duration::from_secs_f64(ramp);
        let end = Instant::now() + ramp + Duration::from_secs_f64(seconds);
        let mut users = Vec::new();
        for user in 0..connections {
            let (counts, request) = (Arc::clone(&counts), Arc::clone(&request));
            // Spread evenly, so that the rate is even too.
            let start = ramp.mul_f64(user as f64 / connections as f64);
            users.push(tokio::spawn(async move {
                sleep(start).await;
                use_it(address, &request, (user, pause), end, &counts).await
            }));
        }
        let mut latencies = Vec::new();
        for user in users {
            latencies.extend(user.await?);
        }
        latencies.sort_unstable();
        let at = |share: f64| {
            let index = ((latencies.len() as f64 * share) as usize).min(latencies.len().saturating_sub(1));
            latencies.get(index).map(|&micros| f64::from(micros) / 1e3)
        };
        let answered = counts.answered.load(Ordering::Relaxed);
        println!(
            "{}",
            json!({
                "connections": connections,
                "answered": answered,
                "failed": counts.failed.load(Ordering::Relaxed),
                "per_second": answered as f64 / (seconds + ramp.as_secs_f64()),
                "median_ms": at(0.5),
                "p99_ms": at(0.99),
                "max_ms": at(1.0),
            })
        );
        Ok(())
    })
}

/// A user's pause from one request to the next, in seconds.
#[derive(Clone, Copy)]
struct Pause {
    shortest: f64,
    longest: f64,
}

impl Pause {
    fn parse(text: &str) -> Result<Self> {
        let (shortest, longest) = text.split_once('-').unwrap_or((text, text));
        let pause = Self { shortest: shortest.parse()?, longest: longest.parse()? };
        ensure!(
            0.01 <= pause.shortest && pause.shortest <= pause.longest && pause.longest <= 300.0,
            "expected a pause of 0.01 to 300 seconds, or two with a dash, got {text}"
        );
        Ok(pause)
    }

    /// Evenly between both, the same for the same user and request in every run.
    fn draw(self, user: u64, request: usize) -> Duration {
        let mut hash = DefaultHasher::new();
        (user, request).hash(&mut hash);
        let share = hash.finish() as f64 / u64::MAX as f64;
        Duration::from_secs_f64(self.shortest + (self.longest - self.shortest) * share)
    }
}

/// One user: a kept-alive connection and a request each `pause`. Gives each answer's time in microseconds.
async fn use_it(
    address: SocketAddr,
    request: &str,
    (user, pause): (u64, Pause),
    end: Instant,
    counts: &Counts,
) -> Vec<u32> {
    let mut latencies = Vec::new();
    let mut stream = None;
    let mut next = Instant::now();
    let mut sent = 0;
    while next < end {
        sleep_until(next.into()).await;
        next += pause.draw(user, sent);
        sent += 1;
        let start = Instant::now();
        match timeout(PATIENCE, exchange(address, &mut stream, request)).await {
            Ok(Ok(())) => {
                counts.answered.fetch_add(1, Ordering::Relaxed);
                latencies.push(u32::try_from(start.elapsed().as_micros()).unwrap_or(u32::MAX));
            }
            _ => {
                counts.failed.fetch_add(1, Ordering::Relaxed);
                stream = None;
            }
        }
    }
    latencies
}

/// One request and its whole answer.
async fn exchange(address: SocketAddr, stream: &mut Option<TcpStream>, request: &str) -> Result<()> {
    let stream = match stream {
        Some(stream) => stream,
        None => stream.insert(TcpStream::connect(address).await?),
    };
    stream.write_all(request.as_bytes()).await?;
    let mut answer = [0; 2048];
    let mut read = 0;
    loop {
        let more = stream.read(answer.get_mut(read..).context("a longer answer than expected")?).await?;
        ensure!(more > 0, "the connection ended");
        read += more;
        let text = std::str::from_utf8(&answer[..read])?;
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head
                .lines()
                .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse::<usize>().ok())
                .context("no length")?;
            if body.len() >= length {
                ensure!(head.starts_with("HTTP/1.1 200") && body.starts_with("{\"prediction\":"), "{text}");
                return Ok(());
            }
        }
    }
}
