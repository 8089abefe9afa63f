//! Take part in a room of the reference server from the terminal.
//!
//! Run the server in one terminal and this in two others:
//! `cargo run --example client -- --name ada --room lobby`. Each line on stdin is said to the room;
//! what the room says is printed. A line that the server would close the connection over is not sent,
//! and told why; lines that come faster than a person types wait. A lost connection is made again,
//! when and if the close code allows it. The end of stdin says goodbye, and without a connection ends the
//! client as soon as nothing waits to be said.

use std::{io, process::ExitCode, str::FromStr as _, time::Duration};

use clap::Parser;
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufRead, AsyncBufReadExt as _, AsyncReadExt as _, BufReader},
    net::TcpStream,
    sync::mpsc,
    time::{Instant, MissedTickBehavior, interval, sleep, timeout},
};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream,
    tungstenite::{Message, Utf8Bytes, protocol::CloseFrame},
};
use tower_websocket::{RoomName, service::ChatText};

/// A participant for the reference server.
#[derive(Debug, Parser)]
struct Options {
    /// The endpoint.
    #[arg(long, default_value = "ws://127.0.0.1:8080/ws")]
    url: String,
    /// The server's DEV_TOKEN.
    #[arg(long, env = "DEV_TOKEN", default_value = "dev-token", hide_env_values = true)]
    token: String,
    /// The name to go by; without one, the server picks it.
    #[arg(long)]
    name: Option<String>,
    /// The room to join.
    #[arg(long, default_value = "lobby")]
    room: String,
}

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// How a connection ended.
enum End {
    /// We said goodbye.
    Done,
    /// The server closed it with this code and reason.
    Closed(u16, String),
    /// It broke off, or never was.
    Lost,
}

/// What to do next: the "a client should" column of the table of close codes.
enum Next {
    Backoff,
    Stop,
}

fn next(code: u16, reason: &str) -> Next {
    match (code, reason) {
        (1008, "rate limited") => Next::Backoff,
        (1001, "idle") => Next::Stop,
        // The server did nothing wrong: we did, or are not wanted. (4401 asks for a fresh ticket,
        // and the one token is all there is.)
        (1000 | 1002 | 1003 | 1007 | 1008 | 1009 | 3000..=4999, _) => Next::Stop,
        _ => Next::Backoff,
    }
}

/// Full jitter: anywhere from now to a bound that doubles, so that clients do not come back in step.
fn backoff(failures: u32) -> Duration {
    if failures >= PATIENT_AFTER {
        return Duration::from_secs(60);
    }
    let bound = BASE.saturating_mul(1 << failures.saturating_sub(1)).min(CAP);
    bound.mul_f64(fastrand::f64())
}

/// Why `room` is no room's name, in words and limits.
fn check_room(room: &str) -> Result<(), String> {
    let named = RoomName::from_str(room).map(|_| ());
    named.map_err(|_| "room: 1 to 64 of A-Z a-z 0-9 : _ and -, without spaces".to_owned())
}

/// Why `name` cannot be a user's.
fn check_name(name: &str) -> Result<(), String> {
    let allowed = |it: u8| it.is_ascii_alphanumeric() || b"_-".contains(&it);
    if (1..=32).contains(&name.len()) && name.bytes().all(allowed) {
        return Ok(());
    }
    Err("name: 1 to 32 of A-Z a-z 0-9 _ and -, without spaces".to_owned())
}

/// Why `text` cannot be said. The server counts as browsers do.
fn check_text(text: &str) -> Result<(), String> {
    ChatText::new(text).map(|_| ()).map_err(|_| {
        let units = text.encode_utf16().count();
        format!("text: {units} UTF-16 units, and 1 to 1000 can be sent")
    })
}

/// Why there is nothing at `url` that this client could reach, however often it tries.
fn check_url(url: &str) -> Result<(), String> {
    let reachable = |it: &http::Uri| it.scheme_str() == Some("ws") && it.host().is_some();
    if url.parse().is_ok_and(|it| reachable(&it)) {
        return Ok(());
    }
    Err(format!("url: {url:?} is not of the form ws://host:port/path; this client has no TLS"))
}

#[tokio::main]
async fn main() -> ExitCode {
    let options = Options::parse();
    let name = options.name.as_deref().map_or(Ok(()), check_name);
    let room = name.and_then(|()| check_room(&options.room));
    if let Err(why) = room.and_then(|()| check_url(&options.url)) {
        eprintln!("error: --{why}");
        return ExitCode::from(2);
    }
    let mut lines = lines(BufReader::new(tokio::io::stdin()));
    let mut failures = 0;
    // Up to where the room was heard, as the server says: what was missed is asked for from there on.
    let mut heard = None;
    loop {
        let started = Instant::now();
        let end = match timeout(OPEN_TIMEOUT, connect(&options, heard.as_deref())).await {
            Ok(Ok(socket)) => talk(socket, &options.room, &mut lines, &mut heard).await,
            Ok(Err(end)) => end,
            Err(_) => End::Lost,
        };
        // A connection that lived is no failure; one that is thrown out at once is.
        failures = if started.elapsed() >= STABLE { 1 } else { failures + 1 };
        match end {
            End::Done => return ExitCode::SUCCESS,
            End::Closed(code, reason) => {
                println!("* closed: {code} {reason}");
                if let Next::Stop = next(code, &reason) {
                    return ExitCode::FAILURE;
                }
            }
            End::Lost => println!("* no connection"),
        }
        let wait = backoff(failures);
        println!("* next attempt in {:.1} s", wait.as_secs_f64());
        sleep(wait).await;
        // Nothing is left to be said, and there is no server.
        if lines.is_closed() && lines.is_empty() {
            return ExitCode::FAILURE;
        }
    }
}

/// Connects, authenticates and asks to join.
async fn connect(options: &Options, heard: Option<&str>) -> Result<Socket, End> {
    let connected = tokio_tungstenite::connect_async(&options.url).await;
    let (mut socket, _) = connected.map_err(|error| {
        // A status, for example, or that the URL is none.
        println!("* {error}");
        End::Lost
    })?;
    // The name rides on the development token.
    let token = match &options.name {
        Some(name) => format!("{}:{name}", options.token),
        None => options.token.clone(),
    };
    // Credentials are the first message, never a part of the URL, which ends up in logs. The server
    // reads nothing else before it has looked at them, so the join can follow at once.
    say(&mut socket, json!({ "type": "auth", "token": token })).await?;
    let join = match heard {
        Some(heard) => json!({ "type": "join", "roomId": options.room, "since": heard }),
        None => json!({ "type": "join", "roomId": options.room }),
    };
    say(&mut socket, join).await?;
    Ok(socket)
}

/// Says what comes from stdin and prints what comes from the server, until either ends.
async fn talk(
    mut socket: Socket,
    room: &str,
    lines: &mut mpsc::Receiver<String>,
    at: &mut Option<String>,
) -> End {
    // Of a file that is piped in, too: who is faster than the server's quota is closed.
    let mut pace = interval(BETWEEN_LINES);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            line = async { pace.tick().await; lines.recv().await } => match line {
                Some(text) => {
                    if let Err(why) = check_text(&text) {
                        println!("* not sent: {why}");
                        continue;
                    }
                    let chat = json!({ "type": "chat", "roomId": room, "text": text });
                    if let Err(end) = say(&mut socket, chat).await {
                        return end;
                    }
                }
                // The close frame goes out behind what was said; then wait for the answer to it.
                None => {
                    let _ = socket.close(None).await;
                    let _ = timeout(OPEN_TIMEOUT, async { while let Some(Ok(_)) = socket.next().await {} }).await;
                    return End::Done;
                }
            },
            // The library answers pings by itself. The server pings, so that long silence means that
            // nobody is there any more.
            heard = timeout(SILENCE, socket.next()) => match heard {
                Ok(Some(Ok(Message::Text(text)))) => print(&text, at),
                Ok(Some(Ok(Message::Close(Some(CloseFrame { code, reason }))))) => {
                    return End::Closed(code.into(), reason.to_string());
                }
                Ok(Some(Ok(_))) => {}
                Ok(Some(Err(_)) | None) | Err(_) => return End::Lost,
            },
        }
    }
}

/// The lines of stdin, read by a task of their own, so that one that is typed while the server speaks
/// is not cut. The task waits while one is not taken.
fn lines(mut input: impl AsyncBufRead + Unpin + Send + 'static) -> mpsc::Receiver<String> {
    let (sender, lines) = mpsc::channel(1);
    tokio::spawn(async move {
        while let Ok(Some(line)) = next_line(&mut input).await {
            if sender.send(line).await.is_err() {
                return;
            }
        }
    });
    lines
}

/// The next line that is not empty; of one without an end, as much as is too long to be said. What is
/// no UTF-8 shows as such, and ends nothing.
async fn next_line(input: &mut (impl AsyncBufRead + Unpin)) -> io::Result<Option<String>> {
    loop {
        let mut bytes = Vec::new();
        input.take(MAX_LINE).read_until(b'\n', &mut bytes).await?;
        if bytes.is_empty() {
            return Ok(None);
        }
        let whole = bytes.ends_with(b"\n");
        let line = String::from_utf8_lossy(&bytes).trim_end_matches(['\n', '\r']).to_owned();
        if !whole {
            skip_line(input).await?;
        }
        if !line.is_empty() {
            return Ok(Some(line));
        }
    }
}

/// Forgets the rest of a line, a piece at a time.
async fn skip_line(input: &mut (impl AsyncBufRead + Unpin)) -> io::Result<()> {
    loop {
        let bytes = input.fill_buf().await?;
        if bytes.is_empty() {
            return Ok(());
        }
        let end = bytes.iter().position(|it| *it == b'\n');
        let read = end.map_or(bytes.len(), |at| at + 1);
        input.consume(read);
        if end.is_some() {
            return Ok(());
        }
    }
}

async fn say(socket: &mut Socket, message: Value) -> Result<(), End> {
    socket.send(Message::text(message.to_string())).await.map_err(|_| End::Lost)
}

/// Prints a message, and keeps where in the room that is.
fn print(text: &Utf8Bytes, at: &mut Option<String>) {
    let Ok(message) = serde_json::from_str::<Value>(text) else { return };
    let field = |name: &str| message.get(name).and_then(Value::as_str).unwrap_or_default();
    let recovered = message.get("recovered").and_then(Value::as_bool);
    // While what was missed is on its way, only that moves the place.
    if !field("at").is_empty() && recovered != Some(true) {
        *at = Some(field("at").to_owned());
    }
    match field("type") {
        // Another person wrote this: control characters would reach the terminal as commands.
        "chat" => println!("{}: {}", plain(field("userId")), plain(field("text"))),
        "auth_ok" => println!("* you are {}", plain(field("userId"))),
        "joined" => {
            println!("* you joined {}", plain(field("roomId")));
            match recovered {
                Some(true) => println!("* this is what was said meanwhile:"),
                Some(false) => println!("* something that was said meanwhile may be missing"),
                None => {}
            }
        }
        "removed" => println!("* you were removed from {}", plain(field("roomId"))),
        "gap" => println!("* something is missing here: the room was faster than this connection"),
        "error" => {
            let why = ["code", "field", "reason"].map(|name| plain(field(name)));
            println!("* refused: {}", why.join(" ").trim_end());
        }
        _ => {}
    }
}

fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// Bytes of a line that are looked at: more than a text that can be sent has, whatever it is made of.
const MAX_LINE: u64 = 4 * 1024;
/// Below the server's 20 messages a second.
const BETWEEN_LINES: Duration = Duration::from_millis(60);
const BASE: Duration = Duration::from_millis(500);
const CAP: Duration = Duration::from_secs(30);
/// After so many failures in a row, one attempt a minute.
const PATIENT_AFTER: u32 = 10;
/// A connection that lived this long clears the record of failures.
const STABLE: Duration = Duration::from_secs(10);
/// For the handshake, and for the goodbye.
const OPEN_TIMEOUT: Duration = Duration::from_secs(10);
/// Above the server's ping interval and pong timeout together.
const SILENCE: Duration = Duration::from_secs(60);
