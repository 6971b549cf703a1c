//! Sends one exception (a panic) and one message with the real sentry crate and prints their ids as JSON.

use std::env;
use std::panic;
use std::process::ExitCode;
use std::time::Duration;

fn read_price(basket: Option<u32>) -> u32 {
    basket.expect("the rust basket has a price")
}

fn main() -> ExitCode {
    let dsn = env::var("SENTRY_DSN").unwrap_or_default();
    let mut options = sentry::ClientOptions::default();
    options.environment = Some("dogfood".into());
    options.release = Some("dogfood@1".into());
    let client = sentry::init((dsn, options));
    let caught = panic::catch_unwind(|| read_price(None));
    let exception = sentry::last_event_id().filter(|_| caught.is_err());
    let message =
        sentry::capture_message("the rust basket was left behind", sentry::Level::Warning);
    if !client.flush(Some(Duration::from_secs(20))) {
        eprintln!("the SDK could not flush in 20 s");
        return ExitCode::FAILURE;
    }
    let exception = exception
        .map(|id| id.simple().to_string())
        .unwrap_or_default();
    println!(
        r#"{{"platform":"native","exception":"{exception}","message":"{}"}}"#,
        message.simple()
    );
    ExitCode::SUCCESS
}
