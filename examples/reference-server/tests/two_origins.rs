//! An application that knows its users by cookie, in a real browser: its own page, another tab, and a page of
//! another origin that has the same cookies.
#![cfg(test)]

use std::{fs, net::SocketAddr, panic::AssertUnwindSafe, path::PathBuf, time::Duration};

use fantoccini::{Client, ClientBuilder, Locator};
use futures_util::FutureExt;
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::json;
use test_support::program::{Program, built};

async fn serve(example: &str) -> (Program, SocketAddr) {
    let mut program = Program::start(built(&format!("examples/{example}")), &["127.0.0.1:0"], &[]);
    let addr = program.addr().await;
    (program, addr)
}

async fn browser(driver: &mut Program) -> Client {
    let line = driver.line_with("started successfully on port ").await;
    let (_, port) = line.trim_end_matches('.').rsplit_once(' ').unwrap();
    let _ = fs::remove_dir_all(profile());
    let profile = format!("--user-data-dir={}", profile().display());
    // Chromium refuses to run as root with its sandbox; the pages are our own.
    let args = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", &profile];
    let options = json!({ "goog:chromeOptions": { "args": args } });
    ClientBuilder::new(HttpConnector::new())
        .capabilities(options.as_object().unwrap().clone())
        .connect(&format!("http://127.0.0.1:{port}"))
        .await
        .expect("chromedriver starts no Chromium: are chromium and chromium-driver installed?")
}

async fn click(tab: &Client, css: &str) {
    tab.find(Locator::Css(css)).await.unwrap().click().await.unwrap();
}

async fn shows(tab: &Client, text: &str) {
    let xpath = format!("//*[text() = '{text}']");
    let found = tab.wait().at_most(PATIENCE).for_element(Locator::XPath(&xpath)).await;
    if found.is_err() {
        let body = tab.find(Locator::Css("body")).await.unwrap().text().await;
        panic!("no {text}: {body:?}");
    }
}

async fn new_tab(browser: &Client, addr: SocketAddr) -> fantoccini::wd::WindowHandle {
    let tab = browser.new_window(true).await.unwrap().handle;
    browser.switch_to_window(tab.clone()).await.unwrap();
    browser.goto(&format!("http://{addr}/")).await.unwrap();
    tab
}

// covers: HS-04
#[tokio::test]
async fn a_cookie_lets_pages_of_its_own_origin_in_until_a_log_out_in_any_tab() {
    let (_app, app) = serve("cookie_session").await;
    // Any page will do that has no cookies of its own: they are the host's, whatever the port.
    let (_other, other) = serve("axum_service").await;
    let mut driver = Program::start("chromedriver", &["--port=0"], &[]);
    let browser = browser(&mut driver).await;
    let played = AssertUnwindSafe(play(&browser, app, other)).catch_unwind().await;
    // A browser would outlive chromedriver.
    let _ = browser.clone().close().await;
    driver.kill().await;
    let _ = fs::remove_dir_all(profile());
    if let Err(panic) = played {
        std::panic::resume_unwind(panic);
    }
}

async fn play(browser: &Client, app: SocketAddr, other: SocketAddr) {
    let first = browser.window().await.unwrap();
    browser.goto(&format!("http://{app}/")).await.unwrap();
    shows(browser, "closed: 4401 not authenticated").await;
    click(browser, "#login").await;
    shows(browser, "ada: hello").await;

    // A page at another port of the same host: a browser sends it the same cookies, and sends them for it.
    new_tab(browser, other).await;
    let script = "const [url, done] = arguments;
        const socket = new WebSocket(url);
        socket.onopen = () => done('open');
        socket.onclose = ({ code }) => done(code);";
    let tried = browser.execute_async(script, vec![json!(format!("ws://{app}/ws"))]).await;
    assert_eq!(tried.unwrap(), json!(1006), "what another origin gets");

    // The cookie alone lets another tab of the application in; a log-out in the first one ends it.
    let second = new_tab(browser, app).await;
    shows(browser, "ada: hello").await;
    browser.switch_to_window(first).await.unwrap();
    click(browser, "#logout").await;
    shows(browser, "closed: 4401 revoked").await;
    browser.switch_to_window(second).await.unwrap();
    shows(browser, "closed: 4401 revoked").await;
    browser.refresh().await.unwrap();
    shows(browser, "closed: 4401 not authenticated").await;
}

fn profile() -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("chromium-two-origins")
}

const PATIENCE: Duration = Duration::from_secs(30);
