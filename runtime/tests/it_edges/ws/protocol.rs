//! Sub-protocols: of those a client offers, the one the server likes best.

use mesh_runtime::ws::Options;

use super::{HANDSHAKE, echo, masked};
use crate::support::raw::Raw;

#[tokio::test]
async fn a_sub_protocol_is_agreed_on() {
    let options = Options {
        protocols: vec!["chat.v2".to_owned(), "chat.v1".to_owned()],
        ..Options::default()
    };
    let (site, _) = echo(options).await;
    for (offered, agreed) in [
        ("soap, chat.v1", Some("chat.v1")),
        ("chat.v1, chat.v2", Some("chat.v2")),
        ("soap", None),
    ] {
        let mut raw = Raw::connect(site.address).await;
        raw.send(format!(
            "{HANDSHAKE}sec-websocket-protocol: {offered}\r\n\r\n"
        ))
        .await;
        let head = raw.head().await.unwrap();
        let said = head
            .lines()
            .find_map(|line| line.strip_prefix("sec-websocket-protocol: "));
        assert_eq!(said, agreed, "{head}");
        raw.send(masked(0x81, b"protocol")).await;
        let told = agreed.unwrap_or("none").as_bytes();
        let len = u8::try_from(told.len()).unwrap();
        assert_eq!(
            raw.bytes(2 + told.len()).await,
            [&[0x81, len], told].concat()
        );
    }
}
