//! A peer that speaks and takes nothing of what it is told.

use std::time::Duration;

use mesh_runtime::ws::{Close, Options};
use tokio::io::AsyncWriteExt;

use super::{echo, masked, raw};
use crate::support::site::{PATIENCE, eventually};

/// Pings sent at a time.
const BATCH: usize = 500;
/// More bytes than the kernel keeps for a stream in both directions, many times over.
const BYTES_MAX: usize = 128 * 1024 * 1024;

#[tokio::test]
async fn who_pings_and_never_reads_is_closed() {
    let options = Options {
        close_timeout: Duration::from_millis(20),
        ..Options::default()
    };
    let (site, seen) = echo(options).await;
    let mut deaf = raw(&site).await.into_stream();
    let pings = masked(0x89, &[0; 125]).repeat(BATCH);
    for _ in 0..BYTES_MAX / pings.len() {
        let sent = tokio::time::timeout(PATIENCE, deaf.write_all(&pings)).await;
        if sent.expect("the server reads or closes").is_err() {
            break;
        }
    }
    eventually(&site.system, "it is given up", async || {
        !seen.closed().is_empty()
    })
    .await;
    assert_eq!(seen.closed()[0].0, Close::POLICY);
}
