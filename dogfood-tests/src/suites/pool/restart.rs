//! A server that stops and starts again while everybody is at work.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use mesh_runtime::Job;

use crate::postgres::Postgres;
use crate::stage::{Tally, now, pause, until};
use crate::wait::PATIENCE;

use super::{Ground, enter};

pub(super) async fn restart(ground: Ground, server: Arc<Postgres>) {
    let (stage, share) = (&ground.stage, ground.stage.count(100, 20));
    let [acknowledged, failed, back] = [(); 3].map(|()| Tally::default());
    let jobs: Vec<_> = (0..8_i64)
        .map(|process| {
            let pool = ground.pool.clone();
            let (acknowledged, failed, back) = (acknowledged.clone(), failed.clone(), back.clone());
            let mut seed = stage.seed();
            Job::spawn(&ground.system, async move {
                let (mut kept, mut lost) = (BTreeSet::new(), BTreeSet::new());
                // On and on, over the restart, to one that is acknowledged after it.
                loop {
                    let ticket = process << 40 | (seed.next_u64() >> 24) as i64;
                    let after = back.get() > 0;
                    if enter(&pool, ticket).await.is_ok() {
                        kept.insert(ticket);
                        acknowledged.add();
                        if after && kept.len() >= share {
                            return (kept, lost);
                        }
                    } else {
                        lost.insert(ticket);
                        failed.add();
                        pause(Duration::from_millis(1)).await;
                    }
                }
            })
        })
        .collect();
    let begun = until(|| acknowledged.get() >= share as u64).await;
    let stopping = server.clone();
    let stopped = tokio::task::spawn_blocking(move || stopping.stop().is_ok()).await;
    let start = now();
    let away = loop {
        let state = ground.pool.state().await;
        match state {
            Ok(state) if !state.healthy && failed.get() > 0 => break true,
            _ if start.elapsed() > PATIENCE => break false,
            _ => pause(Duration::from_millis(5)).await,
        }
    };
    let starting = server.clone();
    let started = tokio::task::spawn_blocking(move || starting.start().is_ok()).await;
    back.add();
    let again = now();
    let (mut kept, mut lost, mut ended) = (BTreeSet::new(), BTreeSet::new(), 0);
    for job in jobs {
        if let Ok((mine, without)) = job.await {
            kept.extend(mine);
            lost.extend(without);
            ended += 1;
        }
    }
    stage.row(
        "seconds from the start to the last",
        again.elapsed().as_secs_f64(),
    );
    let (settled, last) = ground.settled().await;
    let ledger = ground.ledger().await;
    let unsure = ledger.intersection(&lost).count();
    stage.row(
        "failed attempts, and stored ones of them",
        format!("{} / {unsure}", lost.len()),
    );
    let moved = matches!((stopped, started), (Ok(true), Ok(true)));
    stage.judge(
        "H3 H4",
        "a server that goes away is noticed, and work goes on by itself when it is back",
        begun && moved && away && ended == 8,
        format!("stopped and started {moved}, noticed {away}, {ended} of 8 came to their end"),
    );
    let all = kept.union(&lost).copied().collect::<BTreeSet<_>>();
    stage.judge(
        "H2 H3",
        "what was acknowledged is stored, and nothing that was not sent",
        ledger.is_superset(&kept) && ledger.is_subset(&all) && kept.len() >= share * 8,
        format!("{} acknowledged, {} rows", kept.len(), ledger.len()),
    );
    let whole = ground.all_can_be_had().await;
    stage.judge(
        "H1 H3",
        "no connection and no transaction is left of the time before",
        settled && whole,
        format!("all can be had {whole}; {last}"),
    );
}
