//! What the API asks: pages, one issue, one event, people, sessions, tokens, the first set-up.

use jiff::ToSpan;
use mesher::domain::user_report::UserReport;
use mesher::domain::{ArchivedUntil, IssueStatus, PublicKey};
use mesher::storage::cursor::Cursor;
use mesher::storage::issues::{self, IssueAction, IssueFilter};
use mesher::storage::secret::Secret;
use mesher::storage::setup::{self, SetupError};
use mesher::storage::users::{self, NewUser, PasswordHash, Role};
use mesher::storage::writer::write_chunk;
use mesher::storage::{events, projects, sessions, tokens, user_reports};

use crate::postgres::TestDatabase;
use crate::support::{Spool, event, id, now, project};

#[tokio::test]
async fn pages_of_issues_hold_each_issue_once_and_filters_apply() {
    let database = TestDatabase::create().await;
    let mut client = database.client().await;
    let project = project(&mut client).await;
    let at = now(&client).await;
    let spool = Spool::open(&client).await;
    // Pairs of the same time, so that the id must decide.
    let sent: Vec<_> = (0..7_i64)
        .map(|n| {
            event(
                project.id,
                &format!("Error {n}% of"),
                at - (n / 2).minutes(),
            )
        })
        .collect();
    write_chunk(&mut client, &spool.chunk(sent.clone()))
        .await
        .unwrap();
    let archive = IssueAction::Archive(ArchivedUntil::EventCount(3));
    issues::act(&mut client, sent[3].candidates[0], archive, at)
        .await
        .unwrap()
        .unwrap();

    let mut filter = IssueFilter {
        limit: 2,
        ..IssueFilter::default()
    };
    let mut titles = Vec::new();
    loop {
        let page = issues::list(&client, project.id, &filter).await.unwrap();
        titles.extend(page.data.into_iter().map(|row| row.title));
        match page.next_cursor {
            Some(next) => filter.cursor = Some(Cursor::parse(&next).unwrap()),
            None => break,
        }
    }
    assert_eq!(titles.len(), 7);
    titles.sort();
    titles.dedup();
    assert_eq!(titles.len(), 7);

    let archived = IssueFilter {
        status: Some(IssueStatus::Archived),
        limit: 10,
        ..IssueFilter::default()
    };
    let page = issues::list(&client, project.id, &archived).await.unwrap();
    assert_eq!(page.data.len(), 1);
    assert_eq!(page.data[0].title, "Error 3% of");
    let found = async |query: &str| {
        let filter = IssueFilter {
            query: Some(query.into()),
            limit: 10,
            ..IssueFilter::default()
        };
        issues::list(&client, project.id, &filter)
            .await
            .unwrap()
            .data
            .len()
    };
    assert_eq!(found("error 2%").await, 1);
    assert_eq!(found("2_").await, 0);
    assert_eq!(found("\0").await, 7);
}

#[tokio::test]
async fn one_issue_and_its_events_read_back() {
    let database = TestDatabase::create().await;
    let mut client = database.client().await;
    let project = project(&mut client).await;
    let at = now(&client).await;
    let spool = Spool::open(&client).await;
    let sent: Vec<_> = (0..3_i64)
        .map(|n| event(project.id, "a", at - (25 * n).hours()))
        .collect();
    let issue = sent[0].candidates[0];
    write_chunk(&mut client, &spool.chunk(sent.clone()))
        .await
        .unwrap();

    let detail = issues::get(&client, issue).await.unwrap().unwrap();
    assert_eq!(detail.latest_event_id, sent[0].event_id);
    let json = serde_json::to_value(&detail).unwrap();
    assert_eq!(json["short_id"], "DEFAULT-1");
    assert_eq!(json["event_count"], 3);
    assert_eq!(json["grouping"]["contributions"], serde_json::json!([]));
    assert_eq!(json["type"], "ValueError");

    let page = events::list(&client, issue, None, 2).await.unwrap();
    assert_eq!(page.data[0].id, sent[0].event_id);
    assert_eq!(page.data[0].tags[1], ("q".to_owned(), "a=b".to_owned()));
    let cursor = Cursor::parse(&page.next_cursor.unwrap()).unwrap();
    let page = events::list(&client, issue, Some(cursor), 2).await.unwrap();
    assert_eq!(page.data.len(), 1);
    assert_eq!(page.data[0].id, sent[2].event_id);

    let middle = events::get(&client, project.id, sent[1].event_id)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(middle.previous_id, Some(sent[2].event_id));
    assert_eq!(middle.next_id, Some(sent[0].event_id));
    assert_eq!(middle.event.unwrap().get(), r#"{"title":"a"}"#);
    assert_eq!(
        events::latest(&client, issue).await.unwrap(),
        Some(sent[0].event_id)
    );
    assert!(
        events::get(&client, id().into(), sent[1].event_id)
            .await
            .unwrap()
            .is_none()
    );
}

#[tokio::test]
async fn the_first_project_is_made_once() {
    let database = TestDatabase::create().await;
    let make = async || {
        let mut client = database.client().await;
        let key = PublicKey::from_bytes(*id().as_bytes());
        projects::ensure_first(&mut client, id().into(), id().into(), key)
            .await
            .unwrap()
    };
    let (one, two, three) = tokio::join!(make(), make(), make());
    assert_eq!(
        [one, two, three].into_iter().filter(|made| *made).count(),
        1
    );
    let client = database.client().await;
    let all = projects::list(&client, None).await.unwrap();
    assert_eq!(all.len(), 1);
    let by_id = projects::find(&client, &all[0].id.to_string())
        .await
        .unwrap();
    assert_eq!(by_id.as_ref(), Some(&all[0]));
    assert_eq!(projects::find(&client, "default").await.unwrap(), by_id);
    assert_eq!(projects::find(&client, "nobody\0").await.unwrap(), None);
    let key = all[0].public_key.unwrap();
    let row = projects::find_key(&client, key).await.unwrap().unwrap();
    assert_eq!((row.key.project_id, row.number), (all[0].id, all[0].number));
    assert_eq!(projects::keys(&client).await.unwrap(), [row]);
}

#[tokio::test]
async fn what_belongs_to_another_organisation_is_not_found() {
    let database = TestDatabase::create().await;
    let mut client = database.client().await;
    let project = project(&mut client).await;
    let spool = Spool::open(&client).await;
    let sent = event(project.id, "a", now(&client).await);
    let issue = sent.candidates[0];
    write_chunk(&mut client, &spool.chunk(vec![sent]))
        .await
        .unwrap();
    for (organization, is_ours) in [(project.organization_id, true), (id().into(), false)] {
        for name in [project.slug.clone(), project.id.to_string()] {
            let found = projects::find_of(&client, organization, &name).await;
            assert_eq!(found.unwrap().is_some(), is_ours, "{name}");
        }
        let found = issues::is_of(&client, organization, issue).await.unwrap();
        assert_eq!(found, is_ours);
        let unknown = issues::is_of(&client, organization, id().into()).await;
        assert!(!unknown.unwrap());
    }
}

#[tokio::test]
async fn the_set_up_link_makes_one_owner_who_can_log_in() {
    let database = TestDatabase::create().await;
    let mut client = database.client().await;
    project(&mut client).await;
    let at = now(&client).await;
    let link = Secret::from_random("", *b"0123456789abcdef0123456789abcdef");
    setup::offer(&mut client, &link, at + 1.hour())
        .await
        .unwrap();
    let user = |email: &str| NewUser {
        id: id().into(),
        email: email.into(),
        name: "Ada".into(),
        password: PasswordHash::of("secret", [1; 16]),
    };
    let wrong = setup::complete(&mut client, &Secret::presented("x"), &user("a@b.c"), at).await;
    assert!(matches!(wrong, Err(SetupError::InvalidToken)));
    let late = setup::complete(&mut client, &link, &user("a@b.c"), at + 2.hours()).await;
    assert!(matches!(late, Err(SetupError::InvalidToken)));
    assert!(setup::is_required(&client).await.unwrap());

    let (ada, bob) = (user("Ada@b.c"), user("bob@b.c"));
    let mut other = database.client().await;
    let (one, two) = tokio::join!(
        setup::complete(&mut client, &link, &ada, at),
        setup::complete(&mut other, &link, &bob, at)
    );
    assert!(one.is_ok() != two.is_ok(), "{one:?} {two:?}");
    assert!(!setup::is_required(&client).await.unwrap());
    let owner = one.or(two).unwrap();
    assert_eq!(owner.role, Role::Owner);
    let found = users::by_email(&client, &owner.email.to_uppercase())
        .await
        .unwrap()
        .unwrap();
    assert!(found.password().verify("secret") && !found.password().verify("Secret"));
    let json = serde_json::to_string(&found).unwrap();
    assert!(!json.contains("argon2"), "{json}");

    let session = Secret::from_random("", [9; 32]);
    sessions::create(&client, &session, owner.id, at + 1.hour())
        .await
        .unwrap();
    assert_eq!(
        sessions::find(&client, &session, at)
            .await
            .unwrap()
            .unwrap()
            .id,
        owner.id
    );
    assert!(
        sessions::find(&client, &session, at + 1.hour())
            .await
            .unwrap()
            .is_none()
    );
    assert!(sessions::delete(&client, &session).await.unwrap());
    assert!(
        sessions::find(&client, &session, at)
            .await
            .unwrap()
            .is_none()
    );
}

#[tokio::test]
async fn tokens_open_until_they_are_revoked_and_are_not_stored_in_clear() {
    let database = TestDatabase::create().await;
    let mut client = database.client().await;
    let project = project(&mut client).await;
    let token = Secret::from_random(tokens::PREFIX, [5; 32]);
    let organization = tokens::first_organization(&client).await.unwrap().unwrap();
    assert_eq!(organization, project.organization_id);
    let token_id = id();
    tokens::create(&client, token_id, organization, "ci", &token, None)
        .await
        .unwrap();
    let found = tokens::find(&client, &Secret::presented(token.reveal()))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(found.name, "ci");
    assert_eq!(tokens::list(&client, organization).await.unwrap(), [found]);
    let row = client
        .query_one("SELECT api_tokens::text FROM api_tokens", &[])
        .await
        .unwrap();
    assert!(!row.get::<_, &str>(0).contains(token.reveal()));
    assert!(tokens::revoke(&client, token_id).await.unwrap());
    assert!(tokens::find(&client, &token).await.unwrap().is_none());
}

#[tokio::test]
async fn the_first_report_with_an_id_stays() {
    let database = TestDatabase::create().await;
    let mut client = database.client().await;
    let project = project(&mut client).await;
    let at = now(&client).await;
    let report = UserReport {
        id: id().into(),
        event_id: None,
        name: "Ada".to_owned(),
        email: "ada@shop.example".to_owned(),
        message: "it broke".to_owned(),
        url: String::new(),
    };
    let other = UserReport {
        message: "all is well".to_owned(),
        ..report.clone()
    };
    for (seconds, report) in [&report, &other].into_iter().enumerate() {
        let at = at + i64::try_from(seconds).unwrap().seconds();
        user_reports::put(&client, project.id, at, report)
            .await
            .unwrap();
    }
    let page = user_reports::of_project(&client, project.id, None, 10)
        .await
        .unwrap();
    let kept: Vec<_> = page.data.iter().map(|row| row.message.as_str()).collect();
    assert_eq!(kept, ["it broke"]);
    assert_eq!(page.data[0].received_at, at);
}
