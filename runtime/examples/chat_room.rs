//! A chat room in the browser: whoever opens `http://127.0.0.1:8080/ANY-ROOM` hears what the others in that room say.
//!
//! Open it in two windows. The page is below; it tells, too, how many messages a window missed that was too slow for its room.

use std::net::TcpListener;

use mesh_runtime::ws::{self, Close, Connection, Frame, Next, Socket, Upgrade};
use mesh_runtime::{Strategy, Supervisor, System, http};
use warp::Filter;

const PAGE: &str = r#"<!doctype html>
<meta charset="utf-8">
<title>Chat room</title>
<ul id="said"></ul>
<form id="say"><input id="text" autocomplete="off" autofocus placeholder="Say something"></form>
<script>
  const socket = new WebSocket(`ws://${location.host}/chat${location.pathname}`);
  const tell = (text) => {
    const item = document.createElement("li");
    item.textContent = text;
    said.append(item);
  };
  const missed = (text) => /^{"missed":(\d+)}$/.exec(text)?.[1];
  socket.onmessage = ({ data }) => tell(missed(data) ? `(you missed ${missed(data)})` : data);
  socket.onclose = ({ code, reason }) => tell(`(closed: ${code} ${reason})`);
  say.onsubmit = (event) => {
    event.preventDefault();
    socket.send(text.value);
    tell(`me: ${text.value}`);
    text.value = "";
  };
</script>
"#;

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
    let page = warp::path!(String).map(|_room| warp::reply::html(PAGE));
    let chat = warp::path!("chat" / String)
        .and(ws::upgrade())
        .map(|room, upgrade: Upgrade| upgrade.accept::<Visitor>(room, ws::Options::default()));

    let listener = TcpListener::bind("127.0.0.1:8080")?;
    let web = http::server("web", listener, chat.or(page), http::Options::default());
    let tree = system
        .supervise(Supervisor::new(Strategy::OneForOne).child(web))
        .await?;

    println!("http://127.0.0.1:8080/lobby");
    system.wait_for_exit(tree.pid()).await;
    Ok(())
}
