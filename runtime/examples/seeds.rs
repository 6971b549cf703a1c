//! The laboratory finds a lost update in a bank, shrinks it, and says how to see it again.
//!
//! `cargo run -p mesh-runtime --example seeds --features sim`

use std::time::Duration;

use mesh_runtime::sim::{Check, Sim};
use mesh_runtime::{Context, Job, ReplyTo};

enum Account {
    Read(ReplyTo<u64>),
    Write(u64, ReplyTo<()>),
    /// The repair: reading and writing in one message.
    Add(u64, ReplyTo<()>),
}

async fn account(mut cx: Context<Account>) {
    let mut balance = 0;
    loop {
        match cx.receive().await {
            Account::Read(to) => to.reply(balance),
            Account::Write(new, to) => {
                balance = new;
                to.reply(());
            }
            Account::Add(more, to) => {
                balance += more;
                to.reply(());
            }
        }
    }
}

/// Two clients pay in ten each.
async fn bank(sim: Sim, repaired: bool) {
    let system = sim.system("bank");
    let account = system.spawn(account);
    let clients: Vec<Job<()>> = (0..2)
        .map(|_| {
            let account = account.clone();
            Job::spawn(&system, async move {
                if repaired {
                    let _ = account.call(|to| Account::Add(10, to)).await;
                } else if let Ok(balance) = account.call(Account::Read).await {
                    let _ = account.call(|to| Account::Write(balance + 10, to)).await;
                }
            })
        })
        .collect();
    for client in clients {
        client.await.expect("a client does not fail");
    }
    let balance = account.call(Account::Read).await;
    assert_eq!(balance, Ok(20), "both have paid in");
    sim.sleep(Duration::from_secs(3600)).await; // takes no time
}

fn main() {
    let again = "cargo run -p mesh-runtime --example seeds --features sim -- {}";
    let mut check = Check::new(1_000).command(again);
    if let Some(replay) = std::env::args().nth(1) {
        check = check.only(&replay).expect("the argument is a seed");
    }
    match check.run(async |sim| bank(sim, false).await) {
        Ok(seeds) => println!("{seeds} seeds held"),
        Err(failure) => println!("{failure}\n"),
    }
    let held = Check::new(1_000).run(async |sim| bank(sim, true).await);
    println!("repaired: {} seeds held", held.expect("no update is lost"));
}
