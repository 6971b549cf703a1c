//! One dashboard's connection: it subscribes to topics, gets a snapshot of each, then the stream.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use mesh_runtime::System;
use mesh_runtime::postgres::{Client, Pool};
use mesh_runtime::ws::{Close, Connection, Frame, Next, Socket};
use serde::Deserialize;

use super::frames;
use super::topics::{self, ProjectRef, Request, Topic};
use crate::domain::ids::{OrganizationId, ProjectId};
use crate::storage::{issues, projects};

/// How many topics one connection may follow; more is answered with an error frame.
const TOPICS_MAX: usize = 32;

/// How many issues a snapshot holds: the first page of the issue list.
const SNAPSHOT_ISSUES: u16 = 25;

/// What is said while the database does not answer.
const AWAY: &str = "the database did not answer; try again";

/// The group of all connections, so that they can be told to judge anew who they are from.
const GROUP: &str = "DashboardSockets";

/// How often a connection asks by itself whether its session or token is still good: both can end without a word to this server.
const JUDGE_INTERVAL: Duration = Duration::from_secs(30);

/// The close code for whoever may not stay; source: RFC 6455, section 7.4.1.
const POLICY_VIOLATION: u16 = 1008;

/// Whether whoever opened a connection may still follow; a database that is away changes nothing.
pub type MayStay = Arc<dyn Fn() -> BoxFuture<'static, bool> + Send + Sync>;

/// What a connection is told.
#[derive(Clone, Copy, Debug)]
pub enum SocketMessage {
    /// A session has ended: ask whether it was yours.
    Judge,
    /// The connection's own timer.
    Due,
}

/// Has every connection ask whether it may stay.
pub fn judge_anew(system: &System) {
    let members = system.groups().members::<SocketMessage>(GROUP);
    for member in members.unwrap_or_default() {
        // One whose mailbox is full hears it from its own timer, and one that is gone need not.
        let _ = member.send(SocketMessage::Judge);
    }
}

/// What a connection needs.
#[derive(Clone)]
pub struct SocketArgs {
    /// Where snapshots are read from.
    pub pool: Pool,
    /// Whose projects it may follow.
    pub organization: OrganizationId,
    /// Asked now and then, and when a session ends.
    pub may_stay: MayStay,
}

impl fmt::Debug for SocketArgs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SocketArgs")
            .field("organization", &self.organization)
            .finish_non_exhaustive()
    }
}

/// A dashboard.
pub struct DashboardSocket {
    args: SocketArgs,
    topics: Vec<Topic>,
}

impl fmt::Debug for DashboardSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DashboardSocket")
            .field("topics", &self.topics)
            .finish_non_exhaustive()
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Command {
    Subscribe(String),
    Unsubscribe(String),
}

impl Socket for DashboardSocket {
    type Args = SocketArgs;
    type Message = SocketMessage;

    async fn on_connect(
        args: SocketArgs,
        cx: &mut Connection<SocketMessage>,
    ) -> Result<Self, Close> {
        // It can only fail for a connection that has ended already.
        let _ = cx.system().groups().join(GROUP, &cx.address());
        cx.send_after(JUDGE_INTERVAL, SocketMessage::Due);
        Ok(DashboardSocket {
            args,
            topics: Vec::new(),
        })
    }

    async fn on_message(&mut self, frame: Frame, cx: &mut Connection<SocketMessage>) -> Next {
        let Frame::Text(text) = frame else {
            cx.send_text(frames::error(
                "expected a text frame such as {\"subscribe\":\"project:default\"}",
            ));
            return Next::Continue;
        };
        let answered = match serde_json::from_str(&text) {
            Ok(Command::Subscribe(name)) => self.subscribe(&name, cx).await,
            Ok(Command::Unsubscribe(name)) => self.unsubscribe(&name, cx).await,
            Err(_) => Err("expected {\"subscribe\":TOPIC} or {\"unsubscribe\":TOPIC}".to_owned()),
        };
        if let Err(message) = answered {
            cx.send_text(frames::error(&message));
        }
        Next::Continue
    }

    async fn on_info(
        &mut self,
        message: SocketMessage,
        cx: &mut Connection<SocketMessage>,
    ) -> Next {
        if !(self.args.may_stay)().await {
            return Next::Close(POLICY_VIOLATION, "the session has ended".to_owned());
        }
        if matches!(message, SocketMessage::Due) {
            cx.send_after(JUDGE_INTERVAL, SocketMessage::Due);
        }
        Next::Continue
    }
}

impl DashboardSocket {
    /// Joins first and reads the snapshot second, so that nothing that commits in between is lost. A frame may overtake the snapshot;
    /// since rows are whole and counts only grow, the dashboard keeps the row with more events.
    async fn subscribe(
        &mut self,
        name: &str,
        cx: &mut Connection<SocketMessage>,
    ) -> Result<(), String> {
        let topic = self.resolve(name).await?;
        if self.topics.contains(&topic) {
            return Ok(());
        }
        if self.topics.len() >= TOPICS_MAX {
            return Err(format!(
                "this connection follows {TOPICS_MAX} topics already; unsubscribe one first"
            ));
        }
        cx.join(&topic.to_string())
            .map_err(|error| error.to_string())?;
        if let Topic::Project(project) | Topic::Errors(project) = topic {
            match self.snapshot(topic, project).await {
                Ok(snapshot) => cx.send_text(snapshot),
                Err(message) => {
                    // Not followed without one: the next attempt must get it.
                    cx.leave(&topic.to_string());
                    return Err(message);
                }
            };
        }
        self.topics.push(topic);
        Ok(())
    }

    async fn snapshot(&self, topic: Topic, project: ProjectId) -> Result<Bytes, String> {
        let filter = issues::IssueFilter {
            limit: SNAPSHOT_ISSUES,
            ..issues::IssueFilter::default()
        };
        let client = self.client().await?;
        let page = issues::list(&*client, project, &filter).await;
        let page = page.map_err(|_| AWAY.to_owned())?;
        Ok(frames::snapshot(topic, &page.data))
    }

    async fn unsubscribe(
        &mut self,
        name: &str,
        cx: &mut Connection<SocketMessage>,
    ) -> Result<(), String> {
        let topic = self.resolve(name).await?;
        if let Some(at) = self.topics.iter().position(|followed| *followed == topic) {
            self.topics.swap_remove(at);
            cx.leave(&topic.to_string());
        }
        Ok(())
    }

    /// What `name` means, if it belongs to the organisation; whether it exists elsewhere is not told.
    async fn resolve(&self, name: &str) -> Result<Topic, String> {
        let unknown = || format!("no such topic: {name}");
        let organization = self.args.organization;
        let request = topics::parse(name).ok_or_else(unknown)?;
        let client = self.client().await?;
        let topic = match request {
            Request::Issue(issue) => issues::is_of(&*client, organization, issue)
                .await
                .map(|is_ours| is_ours.then_some(Topic::Issue(issue))),
            Request::Project {
                project,
                errors_only,
            } => {
                let name = match project {
                    ProjectRef::Id(id) => id.to_string(),
                    ProjectRef::Slug(slug) => slug,
                };
                let found = projects::find_of(&*client, organization, &name).await;
                found.map(|project| {
                    project.map(|project| match errors_only {
                        true => Topic::Errors(project.id),
                        false => Topic::Project(project.id),
                    })
                })
            }
        };
        topic.map_err(|_| AWAY.to_owned())?.ok_or_else(unknown)
    }

    async fn client(&self) -> Result<Client, String> {
        self.args.pool.get().await.map_err(|_| AWAY.to_owned())
    }
}
