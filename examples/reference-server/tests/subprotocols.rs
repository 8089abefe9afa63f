//! Subprotocols, as `ws` for Node, `websockets` for Python and Chromium agree on them with an endpoint.
#![cfg(test)]

mod page_support;

use std::net::SocketAddr;

use axum::{Router, routing::get};
use serde_json::{Value, json};
use test_support::program::{in_repository, run};
use tokio::net::TcpListener;
use tower::service_fn;
use tower_websocket::{
    Anonymous, AuthFailure, Authenticated, HandlerResult, Inbound, Message, Reply,
    RequireAuthLayer, Session, WebSocketEndpoint, upgrade::Subprotocols,
};

use self::page_support::{Page, driver};

fn say<P>(asked: &Inbound<Message, P>, whom: &str) -> HandlerResult {
    let protocol = asked.connection().protocol().unwrap_or("nothing");
    let text = asked.message.as_text().unwrap_or_default();
    Ok(Reply::one(Message::text(format!("{text}, {whom}, in {protocol}"))))
}

fn open(subprotocols: Subprotocols) -> WebSocketEndpoint {
    let echo = async |asked: Inbound<Message, Anonymous>| say(&asked, "stranger");
    WebSocketEndpoint::new(tower::layer::util::Identity::new(), service_fn(echo))
        .allow_anonymous()
        .subprotocols(subprotocols)
}

/// Three endpoints: any client, clients that speak what it speaks, and logins by a token among the offers.
async fn serve() -> SocketAddr {
    let ours = || Subprotocols::new(["chat.v2", "chat.v1"]).unwrap();
    let login = RequireAuthLayer::from_fn(async |credentials, _| {
        let name = credentials.as_text().ok_or(AuthFailure::Required)?;
        Ok(Session::new(name.to_owned()))
    });
    let echo = async |asked: Inbound<Message, Authenticated<String>>| {
        let user = asked.proof().user().clone();
        say(&asked, &user)
    };
    let by_token = WebSocketEndpoint::new(login, service_fn(echo))
        .subprotocols(ours().token_prefix("bearer.").unwrap());
    let app = Router::new()
        .route("/", get(async || "a page"))
        .route_service("/any", open(ours()).into_service())
        .route_service("/strict", open(ours().require()).into_service())
        .route_service("/token", by_token.into_service());
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async { axum::serve(listener, app).await });
    addr
}

/// What each client offers where.
fn cases() -> Value {
    json!([
        ["/any", ["chat.v1", "chat.v2"]],
        ["/any", ["chat.v1"]],
        ["/any", []],
        ["/any", ["other"]],
        ["/strict", ["other", "chat.v1"]],
        ["/strict", ["other"]],
        ["/token", ["chat.v1", "bearer.ada"]],
        ["/token", ["bearer.ada"]],
    ])
}

/// What comes of them, where one without a common subprotocol ends as `uncommon` and a refusal as `refused`.
fn expected(uncommon: &str, refused: &str) -> Value {
    json!([
        "chat.v2: hi, stranger, in chat.v2",
        "chat.v1: hi, stranger, in chat.v1",
        ": hi, stranger, in nothing",
        uncommon,
        "chat.v1: hi, stranger, in chat.v1",
        refused,
        "chat.v1: hi, ada, in chat.v1",
        // There would be nothing to answer with.
        refused,
    ])
}

// covers: HS-18
#[tokio::test]
async fn the_ws_package_for_node_agrees_on_what_the_server_prefers() {
    let addr = serve().await;
    let script = in_repository("tests/clients/node/subprotocols.mjs");
    let args = [script.to_str().unwrap(), &format!("ws://{addr}"), &cases().to_string()];
    let outcomes: Value = serde_json::from_str(&run("node".as_ref(), &args, &[]).await).unwrap();
    let expected =
        expected("error: Server sent no subprotocol", "error: Unexpected server response: 400");
    assert_eq!(outcomes, expected);
}

// covers: HS-18
#[tokio::test]
async fn the_websockets_package_for_python_agrees_on_what_the_server_prefers() {
    let addr = serve().await;
    let python = in_repository("tests/clients/python/.venv/bin/python");
    let script = in_repository("tests/clients/python/subprotocols.py");
    let args = [script.to_str().unwrap(), &format!("ws://{addr}"), &cases().to_string()];
    let outcomes: Value = serde_json::from_str(&run(&python, &args, &[]).await).unwrap();
    // It goes on without one.
    assert_eq!(outcomes, expected(": hi, stranger, in nothing", "error: 400"));
}

// covers: HS-18
#[tokio::test]
async fn chromium_agrees_on_what_the_server_prefers() {
    let addr = serve().await;
    let (mut chromedriver, at) = driver().await;
    let page = Page::open(at, PROFILE).await;
    page.goto(&format!("http://{addr}/")).await;
    let outcomes = page.browser.execute_async(OPEN, vec![cases()]).await;
    page.close(PROFILE).await;
    chromedriver.kill().await;
    // It was given nothing of what it asked for.
    assert_eq!(outcomes.unwrap(), expected("closed 1006", "closed 1006"));
}

const PROFILE: &str = "chromium-subprotocols";

const OPEN: &str = r#"
    const [cases, done] = arguments;
    const outcome = ([path, offers]) => new Promise((resolve) => {
        const socket = new WebSocket(`ws://${location.host}${path}`, offers);
        socket.onopen = () => socket.send("hi");
        socket.onmessage = ({ data }) => { resolve(`${socket.protocol}: ${data}`); socket.close(); };
        socket.onclose = ({ code }) => resolve(`closed ${code}`);
    });
    Promise.all(cases.map(outcome)).then(done);
"#;
