//! What of its calls' time the server says is its own: `grpc_server_overhead_seconds`, scraped before and after.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;

/// Calls up to each bound in seconds, by method; the counts of a histogram's buckets.
pub(super) type Buckets = BTreeMap<String, Vec<(f64, f64)>>;

/// What `http://HOST/metrics` shows now.
pub(super) fn scrape(url: &str) -> Buckets {
    let (host, path) = url.trim_start_matches("http://").split_once('/').expect("http://HOST/metrics");
    let mut stream = TcpStream::connect(host).expect("the server shows metrics there");
    write!(stream, "GET /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").expect("it listens");
    let mut shown = String::new();
    stream.read_to_string(&mut shown).expect("text");
    let mut buckets = Buckets::new();
    for line in shown.lines().filter(|line| line.starts_with("grpc_server_overhead_seconds_bucket{")) {
        let label = |name: &str| {
            let (_, rest) = line.split_once(&format!("{name}=\""))?;
            rest.split('"').next()
        };
        let (Some(method), Some(bound)) = (label("grpc_method"), label("le")) else { continue };
        let bound = if bound == "+Inf" { f64::INFINITY } else { bound.parse().expect("a bound") };
        let count = line.rsplit(' ').next().and_then(|count| count.parse().ok()).expect("a count");
        buckets.entry(method.to_owned()).or_default().push((bound, count));
    }
    buckets
}

/// Prints quantiles of what came between two scrapes, interpolated within a bucket.
pub(super) fn report(before: &Buckets, after: &Buckets) {
    for (method, counts) in after {
        let earlier = |at: usize| before.get(method).map_or(0.0, |counts| counts[at].1);
        let counts: Vec<_> =
            (0..).zip(counts).map(|(at, &(bound, count))| (bound, count - earlier(at))).collect();
        let calls = counts.last().map_or(0.0, |&(_, count)| count);
        if calls > 0.0 {
            let [p50, p99] = [0.5, 0.99].map(|q| 1000.0 * quantile(&counts, q * calls));
            println!("{method}: of {calls} calls the server's own time p50 {p50:.2} ms, p99 {p99:.2} ms");
        }
    }
}

fn quantile(counts: &[(f64, f64)], rank: f64) -> f64 {
    let mut below = (0.0, 0.0);
    for &(bound, count) in counts {
        if count >= rank {
            let share = if bound.is_finite() { (rank - below.1) / (count - below.1) } else { 0.0 };
            return below.0 + share * (bound.min(f64::MAX) - below.0);
        }
        below = (bound, count);
    }
    below.0
}
