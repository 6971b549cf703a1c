//! A server with a certificate of its own: https from the first line to the DSN, and no word without it.

use std::fs;
use std::io::Read;
use std::net::TcpStream;
use std::sync::Arc;

use dogfood_tests::server::Mesher;
use dogfood_tests::wait::{self, PATIENCE};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::{answer, refusal};

#[test]
fn a_server_with_a_certificate_speaks_https_alone() {
    let directory = tempfile::tempdir().expect("a directory");
    let (certificate, key) = (
        directory.path().join("c.pem"),
        directory.path().join("k.pem"),
    );
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    fs::write(&certificate, made.cert.pem()).expect("written");
    fs::write(&key, made.signing_key.serialize_pem()).expect("written");
    let (certificate, key) = (certificate.display().to_string(), key.display().to_string());

    let mesher = Mesher::new().expect("a mesher");
    refusal(
        mesher
            .command(&[])
            .env("MESHER_TLS_CERTIFICATE", &certificate),
        &["MESHER_TLS_KEY", "PEM"],
    );
    refusal(
        mesher
            .command(&[])
            .env("MESHER_TLS_CERTIFICATE", &key)
            .env("MESHER_TLS_KEY", &key),
        &["k.pem: no certificate in it", "MESHER_TLS_CERTIFICATE"],
    );

    let mut mesher = mesher
        .with_env("MESHER_TLS_CERTIFICATE", &certificate)
        .with_env("MESHER_TLS_KEY", &key);
    mesher.spawn().expect("a process");
    let ready = wait::until("/readyz over https", PATIENCE, || {
        let answer = https_get(&mesher, made.cert.der().clone(), "/readyz")
            .map_err(|error| error.to_string())?;
        if answer.starts_with("HTTP/1.1 200") {
            Ok(answer)
        } else {
            Err(answer)
        }
    });
    ready.expect("ready");
    assert!(answer(&mesher, &["dsn"]).starts_with("https://"));
    let page = https_get(&mesher, made.cert.der().clone(), "/").expect("the page");
    assert!(
        page.contains("<!doctype html>") || page.contains("<!DOCTYPE html>"),
        "{page}"
    );

    let mut plain = TcpStream::connect(mesher.address()).expect("a connection");
    std::io::Write::write_all(&mut plain, b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
        .expect("sent");
    let mut said = Vec::new();
    // Closed in order or reset, there is no HTTP in it.
    let _ = plain.read_to_end(&mut said);
    assert!(!said.starts_with(b"HTTP"), "{said:?}");
    mesher.stop().expect("a stop");
}

/// The whole answer to a GET, over a connection of its own.
fn https_get(
    mesher: &Mesher,
    trusted: CertificateDer<'static>,
    path: &str,
) -> std::io::Result<String> {
    let mut roots = RootCertStore::empty();
    roots.add(trusted).expect("a certificate");
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let tcp = tokio::net::TcpStream::connect(mesher.address()).await?;
        let name = ServerName::try_from("localhost").expect("a name");
        let mut stream = TlsConnector::from(Arc::new(config))
            .connect(name, tcp)
            .await?;
        let request =
            format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok(answer)
    })
}
