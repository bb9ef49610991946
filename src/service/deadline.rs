use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tonic::codegen::http::{HeaderMap, Request};
use tower::{BoxError, Layer, Service};

/// Ends a call at the sooner of the caller's `grpc-timeout` and the server's own limit.
///
/// tonic has such a timeout too, but reports it as CANCELLED; this one lies inside of it, so that it fires first and
/// its [`DeadlineExceeded`] becomes the code that the gRPC specification asks for. A stream of answers is on time once
/// it begins; a call that takes as long as its caller sends is held to the caller's own deadline alone.
#[derive(Debug, Clone)]
pub(super) struct DeadlineLayer {
    limit: Duration,
    open_ended: &'static [&'static str],
}

impl DeadlineLayer {
    /// `open_ended` are the paths of calls that the server sets no limit to.
    pub(super) fn new(limit: Duration, open_ended: &'static [&'static str]) -> Self {
        Self { limit, open_ended }
    }
}

impl<S> Layer<S> for DeadlineLayer {
    type Service = Deadline<S>;

    fn layer(&self, inner: S) -> Deadline<S> {
        Deadline { inner, rules: self.clone() }
    }
}

/// See [`DeadlineLayer`].
#[derive(Debug, Clone)]
pub(super) struct Deadline<S> {
    inner: S,
    rules: DeadlineLayer,
}

impl<S, B> Service<Request<B>> for Deadline<S>
where
    S: Service<Request<B>>,
    S::Error: Into<BoxError>,
    S::Future: Send + 'static,
    S::Response: 'static,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let open_ended = self.rules.open_ended.contains(&request.uri().path());
        let own = (!open_ended).then_some(self.rules.limit);
        let limit = caller_limit(request.headers()).into_iter().chain(own).min();
        let answer = self.inner.call(request);
        match limit {
            None => Box::pin(async move { answer.await.map_err(Into::into) }),
            Some(limit) => {
                // The clock starts here rather than at the first poll: before tonic's, which wraps this one.
                let timed = tokio::time::timeout(limit, answer);
                Box::pin(async move {
                    match timed.await {
                        Ok(answer) => answer.map_err(Into::into),
                        Err(_) => Err(DeadlineExceeded { limit }.into()),
                    }
                })
            }
        }
    }
}

/// The call took longer than it may.
#[derive(Debug, thiserror::Error)]
pub(super) struct DeadlineExceeded {
    limit: Duration,
}

impl fmt::Display for DeadlineExceeded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the call was not answered within {:?}", self.limit)
    }
}

/// The `grpc-timeout` header: at most eight digits and a unit (H, M, S, m, u, n).
fn caller_limit(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = value.split_at_checked(value.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let amount: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(amount * 3600)),
        "M" => Some(Duration::from_secs(amount * 60)),
        "S" => Some(Duration::from_secs(amount)),
        "m" => Some(Duration::from_millis(amount)),
        "u" => Some(Duration::from_micros(amount)),
        "n" => Some(Duration::from_nanos(amount)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use tonic::codegen::http::HeaderValue;
    use tower::{ServiceExt, service_fn};

    use super::*;

    #[test]
    fn reads_the_units_of_the_specification_and_nothing_else() {
        let limit = |value: &'static str| {
            caller_limit(&HeaderMap::from_iter([(
                "grpc-timeout".parse().unwrap(),
                HeaderValue::from_static(value),
            )]))
        };
        assert_eq!(limit("2H"), Some(Duration::from_secs(7200)));
        assert_eq!(limit("99999999S"), Some(Duration::from_secs(99_999_999)));
        assert_eq!(limit("250m"), Some(Duration::from_millis(250)));
        assert_eq!(limit("7u"), Some(Duration::from_micros(7)));
        for bad in ["", "S", "1", "1s", "123456789S", "-1S", "1.5S"] {
            assert_eq!(limit(bad), None, "{bad:?}");
        }
    }

    #[tokio::test]
    async fn the_sooner_of_the_two_limits_ends_the_call() {
        for (server, caller, told) in [(1, "30S", "1ms"), (30_000, "2m", "2ms")] {
            let never = service_fn(|_: Request<()>| std::future::pending::<Result<(), Infallible>>());
            let service = DeadlineLayer::new(Duration::from_millis(server), &[]).layer(never);
            let mut request = Request::new(());
            request.headers_mut().insert("grpc-timeout", HeaderValue::from_static(caller));
            let error = service.oneshot(request).await.unwrap_err();
            assert_eq!(error.to_string(), format!("the call was not answered within {told}"));
        }
    }

    #[tokio::test]
    async fn an_open_ended_call_has_its_callers_limit_only() {
        let limit = Duration::from_millis(1);
        let slow = service_fn(move |request: Request<()>| async move {
            tokio::time::sleep(5 * limit).await;
            match request.uri().path() {
                "/import" => Ok::<_, Infallible>(()),
                _ => std::future::pending().await,
            }
        });
        let service = DeadlineLayer::new(limit, &["/import"]).layer(slow);
        let request = |path| Request::builder().uri(path).body(()).expect("a path makes a request");
        assert!(service.clone().oneshot(request("/import")).await.is_ok());
        assert!(service.oneshot(request("/other")).await.is_err());
    }
}
