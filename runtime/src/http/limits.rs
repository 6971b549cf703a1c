//! Every default bound of the HTTP server, with unit and reason.

use std::time::Duration;

use bytes::Bytes;

/// Open connections at most, in connections: an idle one costs a few kilobytes, so this is some tens of megabytes.
pub(super) const CONNECTIONS_MAX: usize = 10_000;
/// Open connections from one address at most, in connections. As high as the total, because behind a reverse proxy all come
/// from one address; a server that faces the net itself wants a few hundred.
pub(super) const CONNECTIONS_PER_ADDRESS_MAX: usize = CONNECTIONS_MAX;
/// Header fields of one request at most: what hyper parses without a heap allocation.
pub(super) const HEADER_COUNT_MAX: usize = 100;
/// Bytes of a request's line and header fields at most: twice what the common proxies let through.
pub(super) const HEADER_BYTES_MAX: usize = 16 * 1024;
/// Bytes of a header at least, whatever is asked for: hyper's floor for the read buffer, which is what bounds a header.
pub(super) const HEADER_BYTES_MIN: usize = 8 * 1024;
/// Bytes of one request's body at most: well above what a filter should accept, well below what hurts.
pub(super) const BODY_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Longest time from a request's first byte to the end of its header.
pub(super) const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest time from the end of a request's header to the end of its body.
pub(super) const BODY_TIMEOUT: Duration = Duration::from_secs(60);
/// Longest silence between two requests: above the 60 s after which the common proxies let go themselves.
pub(super) const IDLE_TIMEOUT: Duration = Duration::from_secs(75);
/// Longest time a client may take nothing of what is written to it.
pub(super) const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// Longest wait for requests in hand when the server stops.
pub(super) const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);
/// Requests in hand on one HTTP/2 connection at most.
pub(super) const STREAMS_MAX: u32 = 128;
/// Pause after a failed accept (usually no file descriptors left): long enough not to spin, short enough not to be felt.
pub(super) const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How often the files of a certificate are looked at: soon enough for one that is renewed a month before its end.
#[cfg(feature = "http-tls")]
pub(super) const CERTIFICATE_CHECK_INTERVAL: Duration = Duration::from_secs(30);
/// The same at least: a pause of nothing would keep a thread busy with reading.
#[cfg(feature = "http-tls")]
pub(super) const CERTIFICATE_CHECK_INTERVAL_MIN: Duration = Duration::from_millis(1);

/// Bounds and answers of a server.
#[derive(Clone, Debug)]
pub struct Options {
    /// Open connections at most; one more is answered 503 (not through TLS) and closed. A WebSocket counts as long as it lives. Default 10,000.
    pub connections_max: usize,
    /// Open connections from one address at most; one more is answered 503 and closed. Default 10,000.
    pub connections_per_address_max: usize,
    /// Header fields of one request at most; more is answered 431. Default 100.
    pub header_count_max: usize,
    /// Bytes of a request's header at most, not below 8 KiB; more is answered 431. Default 16 KiB.
    pub header_bytes_max: usize,
    /// Bytes of one request's body at most; one that announces more is answered 413, reading one that has more fails. Default 64 MiB.
    pub body_bytes_max: u64,
    /// Longest time from a request's first byte (or from the connection's start, or the end of its TLS handshake, which may take as
    /// long) to the end of its header; then the connection is
    /// closed. Default 10 s.
    pub header_timeout: Duration,
    /// Longest time from the end of a request's header to the end of its body; then reading the body fails. Default 60 s.
    pub body_timeout: Duration,
    /// Longest silence between two requests; then the connection is closed. Default 75 s.
    pub idle_timeout: Duration,
    /// Longest time a client may take nothing of what is written to it; then the connection is closed. Default 30 s.
    pub write_timeout: Duration,
    /// Longest wait for requests in hand when the server stops. Default 10 s.
    pub drain_timeout: Duration,
    /// What a request is answered whose handler panicked. Default `{"error":{"code":"internal","message":"internal error"}}`.
    pub panic_body: Bytes,
    /// Content type of [`panic_body`](Self::panic_body). Default `application/json`.
    pub panic_content_type: &'static str,
    /// Serve with TLS, and nothing without it. Default none.
    #[cfg(feature = "http-tls")]
    pub tls: Option<super::Tls>,
}

impl Options {
    pub(super) fn is_secure(&self) -> bool {
        #[cfg(feature = "http-tls")]
        return self.tls.is_some();
        #[cfg(not(feature = "http-tls"))]
        return false;
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            connections_max: CONNECTIONS_MAX,
            connections_per_address_max: CONNECTIONS_PER_ADDRESS_MAX,
            header_count_max: HEADER_COUNT_MAX,
            header_bytes_max: HEADER_BYTES_MAX,
            body_bytes_max: BODY_BYTES_MAX,
            header_timeout: HEADER_TIMEOUT,
            body_timeout: BODY_TIMEOUT,
            idle_timeout: IDLE_TIMEOUT,
            write_timeout: WRITE_TIMEOUT,
            drain_timeout: DRAIN_TIMEOUT,
            panic_body: Bytes::from_static(
                br#"{"error":{"code":"internal","message":"internal error"}}"#,
            ),
            panic_content_type: "application/json",
            #[cfg(feature = "http-tls")]
            tls: None,
        }
    }
}
