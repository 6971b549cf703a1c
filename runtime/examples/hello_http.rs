//! A web page that crashes on request, and a server that does not.
//!
//! Run it, then ask `curl localhost:8080/hello/you`, `curl localhost:8080/crash`, and the first again.

use std::net::TcpListener;

use mesh_runtime::{Strategy, Supervisor, System, http};
use warp::Filter;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let system = System::new();
    let hello = warp::path!("hello" / String).map(|name| format!("hello, {name}\n"));
    let crash = warp::path!("crash").map(|| -> String { panic!("this request ends here") });
    let routes = hello.or(crash);

    let listener = TcpListener::bind("127.0.0.1:8080")?;
    let web = http::server("web", listener, routes, http::Options::default());
    let tree = system
        .supervise(Supervisor::new(Strategy::OneForOne).child(web))
        .await?;

    println!("http://127.0.0.1:8080/hello/you");
    system.wait_for_exit(tree.pid()).await;
    Ok(())
}
