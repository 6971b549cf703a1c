//! The dashboard in headless Chromium, from the set-up link to an event that arrives while the page is open.

#[test]
#[ignore = "needs the dashboard's node packages and Chromium: script/test installs them and runs this"]
fn the_dashboard_works_in_a_browser() {
    dogfood_tests::browser::run().expect("the dashboard works in a browser");
}
