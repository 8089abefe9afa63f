//! Guessing over many connections, on a real socket.

use std::sync::Arc;

use tower::service_fn;
use tower_websocket::{
    Admission, Authenticated, Close, Inbound, LoginThrottle, Message, Quota, Reply,
    RequireAuthLayer, WebSocketEndpoint,
};

use test_support::{
    http::{HttpServer, handshake},
    slow_peer::Peer,
};

use super::{
    support::{Probe, User, Verifier, auth, quiet},
    support_client::text,
};

/// A server that lets an address fail so often, and what its verifier saw.
async fn server(quota: Quota) -> (HttpServer, Arc<Probe>) {
    let probe = Arc::new(Probe::default());
    let verifier = Verifier(Arc::clone(&probe));
    let server = HttpServer::start_endpoint(|| {
        let handler = service_fn(async |_: Inbound<Message, Authenticated<User>>| {
            Ok::<_, Close>(Reply::none())
        });
        WebSocketEndpoint::new(RequireAuthLayer::new(verifier), handler)
            .admission(Admission::new().failed_logins_per_peer(quota))
            .connection(quiet())
            .unwrap()
    })
    .await;
    (server, probe)
}

fn from(address: &str) -> String {
    handshake().replacen("\r\n", &format!("\r\nX-Test-From: {address}\r\n"), 1)
}

async fn open(server: &HttpServer, address: &str) -> Result<Peer, u64> {
    let (head, client) = server.send(from(address)).await;
    match head.status {
        101 => Ok(client),
        429 => Err(head.header("retry-after").unwrap().parse().unwrap()),
        other => panic!("{other}"),
    }
}

/// The code that a login with `token` ends with.
async fn login(mut client: Peer, token: &str) -> u16 {
    client.send(auth(token)).await;
    let close = client.take(4).await;
    assert_eq!(close[0], 0x88, "{token}: {close:?}");
    u16::from_be_bytes([close[2], close[3]])
}

/// 5 at once, and then one in a minute: what the test takes does not count.
const FIVE: Quota = Quota::per_minute(1).burst(5);

const EVE: &str = "192.0.2.1:1";
const ADA: &str = "192.0.2.2:1";

// covers: AU-11
#[tokio::test]
async fn an_address_whose_logins_fail_too_often_gets_no_connection() {
    let (server, probe) = server(FIVE).await;
    let mut refused = 0;
    for n in 0..100 {
        match open(&server, EVE).await {
            Ok(client) => assert_eq!(login(client, &format!("bad:{n}")).await, 4403),
            Err(seconds) => {
                // What is left of the minute, and up to a fifth on top.
                assert!((50..=73).contains(&seconds), "{seconds}");
                refused += 1;
            }
        }
    }
    assert_eq!((probe.attempts(), refused), (5, 95));
    assert_eq!(server.audit.refused(), ["admission.failed_logins"; 95]);
    // Others are served, and each has its own.
    assert_eq!(login(open(&server, ADA).await.unwrap(), "bad:x").await, 4403);
    assert!(open(&server, ADA).await.is_ok());
}

/// Whoever opened first and guesses later gets no further.
// covers: AU-11
#[tokio::test]
async fn connections_that_are_open_already_are_not_asked_either() {
    let (server, probe) = server(FIVE).await;
    let mut clients = Vec::new();
    for _ in 0..20 {
        clients.push(open(&server, EVE).await.unwrap());
    }
    let mut codes = Vec::new();
    for (n, client) in clients.into_iter().enumerate() {
        codes.push(login(client, &format!("bad:{n}")).await);
    }
    assert_eq!((&codes[..5], &codes[5..]), (&[4403; 5][..], &[1013; 15][..]));
    assert_eq!(probe.attempts(), 5);
}

// covers: AU-11
#[tokio::test]
async fn a_page_with_a_stale_token_shuts_nobody_out_and_a_good_login_clears_nothing() {
    let (server, probe) = server(FIVE).await;
    for _ in 0..30 {
        assert_eq!(login(open(&server, EVE).await.unwrap(), "bad:stale").await, 4403);
    }
    for n in 0..4 {
        let mut own = open(&server, EVE).await.unwrap();
        own.send(auth("good:eve")).await;
        own.take(2).await;
        assert_eq!(login(open(&server, EVE).await.unwrap(), &format!("bad:{n}")).await, 4403);
    }
    assert!(open(&server, EVE).await.is_err());
    assert_eq!(probe.attempts(), 30 + 8);
}

// covers: AU-11
#[tokio::test]
async fn an_outage_of_the_verifier_locks_nobody_out() {
    let (server, _) = server(FIVE).await;
    for n in 0..20 {
        assert_eq!(login(open(&server, EVE).await.unwrap(), &format!("error:{n}")).await, 1011);
    }
}

// covers: AU-11
#[tokio::test]
async fn an_account_is_guarded_against_each_address_and_open_to_others() {
    let probe = Arc::new(Probe::default());
    let verifier = Verifier(Arc::clone(&probe));
    let server = HttpServer::start_endpoint(|| {
        let handler = service_fn(async |_: Inbound<Message, Authenticated<User>>| {
            Ok::<_, Close>(Reply::none())
        });
        // All tokens of the test are of one account.
        let door = LoginThrottle::new(verifier, |_| Some("ada".to_owned())).quota(FIVE);
        WebSocketEndpoint::new(RequireAuthLayer::new(door), handler)
            .admission(Admission::new().failed_logins_per_peer(Quota::per_second(1_000)))
            .connection(quiet())
            .unwrap()
    })
    .await;
    let mut codes = Vec::new();
    for n in 0..20 {
        codes.push(login(open(&server, EVE).await.unwrap(), &format!("bad:{n}")).await);
    }
    assert_eq!((&codes[..5], &codes[5..]), (&[4403; 5][..], &[1013; 15][..]));
    assert_eq!(probe.attempts(), 5);
    assert_eq!(login(open(&server, ADA).await.unwrap(), "bad:x").await, 4403);
    let mut ada = open(&server, ADA).await.unwrap();
    ada.send(auth("good:ada")).await;
    ada.take(2).await;
    assert_eq!(probe.attempts(), 7);
}

/// Ten times the quota, from wherever: by choice, since it is a way to lock somebody out.
// covers: AU-11
#[tokio::test]
async fn by_choice_a_whole_account_has_a_limit_too() {
    let probe = Arc::new(Probe::default());
    let verifier = Verifier(Arc::clone(&probe));
    let server = HttpServer::start_endpoint(|| {
        let handler = service_fn(async |_: Inbound<Message, Authenticated<User>>| {
            Ok::<_, Close>(Reply::none())
        });
        // What is no login claims no account.
        let account = |it: &Message| it.as_text()?.contains("token").then(|| "ada".to_owned());
        let door = LoginThrottle::new(verifier, account).quota(FIVE).whole_accounts();
        WebSocketEndpoint::new(RequireAuthLayer::new(door), handler).connection(quiet()).unwrap()
    })
    .await;
    for n in 0..60 {
        let from = format!("192.0.2.{n}:1");
        let code = login(open(&server, &from).await.unwrap(), &format!("bad:{n}")).await;
        assert_eq!(code, if n < 50 { 4403 } else { 1013 }, "{n}");
    }
    assert_eq!(probe.attempts(), 50);
    let mut client = open(&server, "192.0.2.99:1").await.unwrap();
    client.send(text("hello")).await;
    assert_eq!(client.take(4).await[2..], 4403_u16.to_be_bytes());
    assert_eq!(probe.attempts(), 51);
}
