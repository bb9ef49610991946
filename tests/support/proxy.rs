//! A TCP proxy between the server and its Postgres that can be slow, cut, or a black hole, and counts round trips.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// What becomes of connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Weather {
    /// Bytes pass, each way after so long.
    Passing(Duration),
    /// New connections are closed at once.
    Refusing,
    /// Bytes are swallowed, and nobody is told. A connection that lost any passes nothing ever after.
    Swallowing,
}

/// Where a connection is cut around the message that holds certain bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cut {
    /// The database never sees it.
    Before,
    /// The database has answered, and nobody hears of it.
    AfterAnswer,
}

pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

struct Shared {
    upstream: String,
    weather: Mutex<Weather>,
    trap: Mutex<Option<(Cut, Vec<u8>)>>,
    /// Cancelled to end all connections there are.
    connections: Mutex<CancellationToken>,
    round_trips: AtomicUsize,
}

impl Proxy {
    pub(crate) async fn before(upstream: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let address = listener.local_addr().expect("a bound listener has an address");
        let shared = Arc::new(Shared {
            upstream,
            weather: Mutex::new(Weather::Passing(Duration::ZERO)),
            trap: Mutex::default(),
            connections: Mutex::default(),
            round_trips: AtomicUsize::new(0),
        });
        let accepting = tokio::spawn(accept(listener, shared.clone()));
        Self { address, shared, accepting }
    }

    pub(crate) fn set(&self, weather: Weather) {
        *self.shared.weather.lock().unwrap() = weather;
    }

    /// Ends all connections there are.
    pub(crate) fn cut_all(&self) {
        std::mem::take(&mut *self.shared.connections.lock().unwrap()).cancel();
    }

    /// Cuts the connection, once, on which `needle` is sent to the database.
    pub(crate) fn cut_at(&self, cut: Cut, needle: &str) {
        *self.shared.trap.lock().unwrap() = Some((cut, needle.as_bytes().to_vec()));
    }

    /// How often the database has said that it is ready for more.
    pub(crate) fn round_trips(&self) -> usize {
        self.shared.round_trips.load(Ordering::SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
        self.cut_all();
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    while let Ok((client, _)) = listener.accept().await {
        if *shared.weather.lock().unwrap() != Weather::Refusing {
            tokio::spawn(carry(client, shared.clone()));
        }
    }
}

/// One connection, until either side closes it or it is cut.
async fn carry(client: TcpStream, shared: Arc<Shared>) {
    let Ok(database) = TcpStream::connect(&shared.upstream).await else { return };
    let all = shared.connections.lock().unwrap().clone();
    // What both directions know of this connection.
    let (lost, deaf) = (CancellationToken::new(), CancellationToken::new());
    let (from_client, to_client) = client.into_split();
    let (from_database, to_database) = database.into_split();
    tokio::select! {
        () = all.cancelled() => {}
        () = requests(from_client, to_database, &shared, &lost, &deaf) => {}
        () = answers(from_database, to_client, &shared, &lost, &deaf) => {}
    }
}

async fn requests(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    shared: &Shared,
    lost: &CancellationToken,
    deaf: &CancellationToken,
) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        let trapped = {
            let mut trap = shared.trap.lock().unwrap();
            let is_here = |(_, needle): &mut (Cut, Vec<u8>)| {
                buffer[..read].windows(needle.len()).any(|window| window == needle)
            };
            trap.take_if(is_here).map(|(cut, _)| cut)
        };
        match trapped {
            Some(Cut::Before) => return,
            Some(Cut::AfterAnswer) => deaf.cancel(),
            None => {}
        }
        if passes(shared, lost).await && to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}

async fn answers(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    shared: &Shared,
    lost: &CancellationToken,
    deaf: &CancellationToken,
) {
    let mut buffer = vec![0; 64 * 1024];
    let mut messages = Messages::default();
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        if deaf.is_cancelled() {
            return;
        }
        // The answer to whether it speaks TLS is a letter alone.
        if buffer[..read] != *b"N" {
            shared.round_trips.fetch_add(messages.ready_in(&buffer[..read]), Ordering::SeqCst);
        }
        if passes(shared, lost).await && to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}

/// Whether what was read may be passed on, after the time it takes.
async fn passes(shared: &Shared, lost: &CancellationToken) -> bool {
    let weather = *shared.weather.lock().unwrap();
    match weather {
        Weather::Passing(latency) if !latency.is_zero() => tokio::time::sleep(latency).await,
        Weather::Swallowing => lost.cancel(),
        Weather::Passing(_) | Weather::Refusing => {}
    }
    !lost.is_cancelled()
}

/// Reads the database's messages: a letter, four bytes of length, the rest.
#[derive(Default)]
struct Messages {
    header: Vec<u8>,
    /// Bytes of the message that are still to come.
    rest: usize,
}

impl Messages {
    /// How many ReadyForQuery begin in `bytes`.
    fn ready_in(&mut self, mut bytes: &[u8]) -> usize {
        let mut ready = 0;
        while !bytes.is_empty() {
            let skipped = self.rest.min(bytes.len());
            self.rest -= skipped;
            bytes = &bytes[skipped..];
            if self.rest > 0 || bytes.is_empty() {
                break;
            }
            let taken = (5 - self.header.len()).min(bytes.len());
            self.header.extend_from_slice(&bytes[..taken]);
            bytes = &bytes[taken..];
            if let [letter, length @ ..] = &self.header[..]
                && let Ok(length) = <[u8; 4]>::try_from(length)
            {
                ready += usize::from(*letter == b'Z');
                self.rest = u32::from_be_bytes(length) as usize - 4;
                self.header.clear();
            }
        }
        ready
    }
}
