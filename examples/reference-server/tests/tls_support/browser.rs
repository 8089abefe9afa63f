//! Chromium, which trusts every certificate here and asks for the page before it opens a WebSocket.

use std::{fs, net::SocketAddr};

use fantoccini::ClientBuilder;
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};
use test_support::program::Program;

use super::scratch;

/// What a page of `server` hears first on a WebSocket of its own over TLS, after it has logged in.
pub(crate) async fn log_in_over_tls(server: SocketAddr, name: &str) -> Value {
    let mut driver = Program::start("chromedriver", &["--port=0"], &[]);
    let line = driver.line_with("started successfully on port ").await;
    let (_, port) = line.trim_end_matches('.').rsplit_once(' ').unwrap();
    let profile = scratch(name);
    let _ = fs::remove_dir_all(&profile);
    let args = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync"];
    let mut args: Vec<String> = args.map(str::to_owned).into();
    args.push("--disable-background-networking".to_owned());
    args.push(format!("--user-data-dir={}", profile.display()));
    let capabilities =
        json!({ "acceptInsecureCerts": true, "goog:chromeOptions": { "args": args } });
    let browser = ClientBuilder::new(HttpConnector::new())
        .capabilities(capabilities.as_object().unwrap().clone())
        .connect(&format!("http://127.0.0.1:{port}"))
        .await
        .expect("chromedriver starts no Chromium: are chromium and chromium-driver installed?");
    let heard = async {
        browser.goto(&format!("https://{server}/")).await?;
        browser.execute_async(LOG_IN, Vec::new()).await
    };
    let heard = heard.await;
    // It would outlive chromedriver.
    let _ = browser.close().await;
    driver.kill().await;
    let _ = fs::remove_dir_all(&profile);
    heard.unwrap()
}

const LOG_IN: &str = r#"
    const done = arguments[arguments.length - 1];
    const socket = new WebSocket(`wss://${location.host}/ws`);
    socket.onopen = () => socket.send(JSON.stringify({ type: "auth", token: "dev-token:ada" }));
    socket.onmessage = (event) => done(JSON.parse(event.data).type);
    socket.onclose = (event) => done(`closed with ${event.code}`);
"#;
