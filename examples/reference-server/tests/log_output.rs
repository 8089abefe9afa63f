//! The reference server serves and stops whatever becomes of its log, and the log says what it should.
#![cfg(test)]

use std::{
    fs::File,
    io::{BufRead, BufReader, Write},
    net::SocketAddr,
    process::Stdio,
    time::Duration,
};

use serde_json::json;
use test_support::program::{Peer, Program, refusal};
use tokio::{
    net::{TcpListener, TcpStream},
    process::{Child, Command},
    time::timeout,
};

/// A server whose log goes elsewhere than to the test, which so has to know the port.
async fn started(stdout: Stdio, stderr: Stdio, log: &str) -> (Child, SocketAddr) {
    let free = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let addr = free.local_addr().unwrap();
    drop(free);
    let child = Command::new(SERVER)
        .args(["--port", &addr.port().to_string()])
        .env("RUST_LOG", log)
        .stdout(stdout)
        .stderr(stderr)
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let listening = async { while TcpStream::connect(addr).await.is_err() {} };
    timeout(PATIENCE, listening).await.expect("it does not listen");
    (child, addr)
}

/// Somebody talks, and the server ends in good order.
async fn serves_and_stops((mut server, addr): (Child, SocketAddr), name: &str) {
    let mut ada = Peer::join(addr, "dev-token:ada", "den").await;
    ada.say(json!({ "type": "chat", "roomId": "den", "text": "hello" })).await;
    assert_eq!(ada.hear().await["text"], "hello", "{name}");
    let id = server.id().unwrap();
    for signal in ["USR1", "TERM"] {
        let kill = format!("kill -{signal} {id}");
        assert!(Command::new("sh").args(["-c", &kill]).status().await.unwrap().success());
    }
    assert_eq!(ada.closed().await.0, 1001, "{name}");
    // It need not wait for the answer to its close frame.
    drop(ada);
    let ended = timeout(PATIENCE, server.wait()).await.expect(name).unwrap();
    assert!(ended.success(), "{name}: {ended}");
}

// covers: LG-12
#[tokio::test]
async fn a_log_that_nobody_reads_holds_up_nobody_and_not_the_end() {
    let (reader, mut writer) = std::io::pipe().unwrap();
    // As much as the kernel takes: the first line has no room.
    writer.write_all(&[b'\n'; 64 * 1024]).unwrap();
    for log in ["info", "trace"] {
        let log_to = writer.try_clone().unwrap();
        serves_and_stops(started(log_to.into(), Stdio::null(), log).await, log).await;
    }
    drop(reader);
}

// covers: LG-12
#[tokio::test]
async fn a_log_that_cannot_be_written_ends_nothing() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let gone = || Stdio::from(writer.try_clone().unwrap());
    let full = || Stdio::from(File::options().write(true).open("/dev/full").unwrap());
    for (name, stdout, stderr) in
        [("gone", gone(), gone()), ("full", full(), full()), ("full and gone", full(), gone())]
    {
        serves_and_stops(started(stdout, stderr, "trace").await, name).await;
    }
    let (reader, writer) = std::io::pipe().unwrap();
    serves_and_stops(started(full(), writer.into(), "info").await, "said").await;
    let said: Vec<String> = BufReader::new(reader).lines().map(Result::unwrap).collect();
    assert!(matches!(&*said, [line] if line.contains("log cannot be written")), "{said:?}");
}

// covers: LG-01, LG-10
#[tokio::test]
async fn no_filter_makes_the_engine_tell_messages_or_tokens() {
    for filter in [
        "trace,tungstenite::protocol=trace",
        "tungstenite::protocol::frame=trace,tokio_tungstenite=trace,info",
        "trace,[connection]=trace",
    ] {
        let args = ["--port", "0", "--dev-token", "correcthorse"];
        let mut server = Program::start(SERVER, &args, &[("RUST_LOG", filter)]);
        let addr = server.addr().await;
        let mut ada = Peer::join(addr, "correcthorse:ada", "den").await;
        ada.say(json!({ "type": "chat", "roomId": "den", "text": "batterystaple" })).await;
        ada.hear().await;
        drop(ada);
        server.terminate().await;
        let log = server.rest().await;
        assert!(log.contains("\"closed\""), "{log}");
        for secret in ["correcthorse", "batterystaple"] {
            assert!(!log.contains(secret), "{filter}: {log}");
            let hex: String = secret.bytes().map(|it| format!("{it:02x}")).collect();
            assert!(!log.contains(&hex), "{filter}: {log}");
        }
    }
}

// covers: P2-24
#[tokio::test]
async fn a_filter_that_is_none_is_refused_and_one_that_logs_nothing_is_warned_of() {
    for filter in ["a=b=c", "info,reference_server=loud", "[[["] {
        let args = ["--port", "0"];
        let (code, said) = refusal(SERVER, &args, &[("RUST_LOG", filter)]).await;
        assert_eq!(code, Some(1), "{filter}");
        assert!(said.starts_with("error: RUST_LOG: ") && said.lines().count() == 1, "{said}");
    }
    for (filter, warned) in
        [("inof", true), ("hyper=debug", true), ("off", false), ("error", false)]
    {
        let (reader, writer) = std::io::pipe().unwrap();
        serves_and_stops(started(Stdio::null(), writer.into(), filter).await, filter).await;
        let said: Vec<String> = BufReader::new(reader).lines().map(Result::unwrap).collect();
        let warning = format!("warning: RUST_LOG={filter:?} logs nothing of this server");
        assert_eq!(said.iter().any(|it| it.starts_with(&warning)), warned, "{said:?}");
        assert_eq!(said.len(), usize::from(warned), "{said:?}");
    }
    // White space around a level is none of it.
    for filter in [" info", "info\r", " ", ","] {
        let env = [("RUST_LOG", filter)];
        Program::start(SERVER, &["--port", "0"], &env).addr().await;
    }
}

/// So that a server that does nothing fails a test instead of holding it up.
const PATIENCE: Duration = Duration::from_secs(20);

const SERVER: &str = env!("CARGO_BIN_EXE_reference-server");
