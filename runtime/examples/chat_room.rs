//! A chat room: everybody who connects to `ws://127.0.0.1:8080/chat/ANY-ROOM` hears what the others in that room say.

use std::net::TcpListener;

use mesh_runtime::ws::{self, Close, Connection, Frame, Next, Socket, Upgrade};
use mesh_runtime::{Strategy, Supervisor, System, http};
use warp::Filter;

struct Visitor {
    room: String,
}

impl Socket for Visitor {
    type Args = String;
    type Message = ();

    async fn on_connect(room: String, cx: &mut Connection<()>) -> Result<Self, Close> {
        cx.join(&room)
            .map_err(|error| Close::new(Close::POLICY, error.to_string()))?;
        cx.send_text(format!("welcome to {room}"));
        Ok(Visitor { room })
    }

    async fn on_message(&mut self, frame: Frame, cx: &mut Connection<()>) -> Next {
        match frame {
            Frame::Text(text) => {
                cx.system()
                    .rooms()
                    .broadcast_except(&self.room, text.into(), cx.pid());
                Next::Continue
            }
            _ => Next::Close(1003, "text only".to_owned()),
        }
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let system = System::new();
    let chat = warp::path!("chat" / String)
        .and(ws::upgrade())
        .map(|room, upgrade: Upgrade| upgrade.accept::<Visitor>(room, ws::Options::default()));

    let listener = TcpListener::bind("127.0.0.1:8080")?;
    let web = http::server("web", listener, chat, http::Options::default());
    let tree = system
        .supervise(Supervisor::new(Strategy::OneForOne).child(web))
        .await?;

    println!("ws://127.0.0.1:8080/chat/lobby");
    system.wait_for_exit(tree.pid()).await;
    Ok(())
}
