//! A room server that does wrong what a library does right, so that every attack is seen to find
//! something somewhere.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::mpsc::{Receiver, Sender, channel},
};

/// What all connections share.
struct Rogue {
    /// Connections for each address that somebody claims to have. None is ever counted out.
    peers: Mutex<HashMap<String, usize>>,
    cap: usize,
    rooms: Mutex<HashMap<String, Vec<Sender<Vec<u8>>>>>,
}

/// What is known of a connection.
#[derive(Default)]
struct Me {
    is_in: bool,
    joins: usize,
}

/// Listens until the runtime ends; lets in `cap` connections from one address in all its life.
pub(crate) async fn listen(cap: usize) -> SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let addr = listener.local_addr().unwrap();
    let rogue = Arc::new(Rogue { peers: Mutex::default(), cap, rooms: Mutex::default() });
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            tokio::spawn(Arc::clone(&rogue).serve(socket));
        }
    });
    addr
}

impl Rogue {
    async fn serve(self: Arc<Self>, mut socket: TcpStream) {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let Ok(byte) = socket.read_u8().await else { return };
            head.push(byte);
        }
        let head = String::from_utf8_lossy(&head).into_owned();
        let answer = self.answer(&head);
        let (read, mut write) = socket.into_split();
        if write.write_all(answer.as_bytes()).await.is_err() || answer.contains(" 429 ") {
            return;
        }
        // Also after a refusal.
        let (sender, receiver) = channel(QUEUE);
        tokio::spawn(deliver(receiver, write));
        self.listen_to(read, &sender).await;
        // Whoever has gone is kept.
        sender.closed().await;
    }

    fn answer(&self, head: &str) -> String {
        let header = |name: &str| head.lines().find_map(|it| it.strip_prefix(name));
        if header("Origin: ").is_some_and(|it| it.contains("evil")) {
            return "HTTP/1.1 403 Forbidden\r\n\r\n".to_owned();
        }
        let claimed = header("X-Forwarded-For: ").unwrap_or("socket").to_owned();
        let mut peers = self.peers.lock().unwrap();
        let count = peers.entry(claimed).or_default();
        if *count == self.cap {
            return "HTTP/1.1 429 Too Many Requests\r\nRetry-After: 1\r\n\r\n".to_owned();
        }
        *count += 1;
        let offers = head.lines().filter(|it| {
            it.starts_with("Sec-WebSocket-Protocol") || it.starts_with("Sec-WebSocket-Extensions")
        });
        let accepted: String = offers.map(|it| format!("{it}\r\n")).collect();
        format!("HTTP/1.1 101 Switching Protocols\r\n{accepted}\r\n")
    }

    /// Takes frames until there is no more, whatever they are.
    async fn listen_to(&self, mut read: OwnedReadHalf, sender: &Sender<Vec<u8>>) {
        let mut me = Me::default();
        while let Ok((first, payload)) = frame(&mut read).await {
            match first & 0x0f {
                1 => self.handle(&payload, sender, &mut me),
                // Twice, and then on as before.
                8 => [0, 0].iter().for_each(|_| close(sender, 1000)),
                // Not with what the ping carried, unless that is how somebody finds out who lives.
                9 if payload.ends_with(b"?") => send(sender, 0x8a, &payload),
                9 => send(sender, 0x8a, b""),
                _ => {}
            }
        }
    }

    fn handle(&self, text: &[u8], sender: &Sender<Vec<u8>>, me: &mut Me) {
        let Ok(said) = serde_json::from_slice::<Value>(text) else { return };
        let room = said["roomId"].as_str().unwrap_or_default().to_owned();
        let mut rooms = self.rooms.lock().unwrap();
        match said["type"].as_str() {
            Some("auth") if me.is_in => close(sender, 1002),
            Some("auth") => {
                me.is_in = said["token"].as_str().is_some_and(|it| it.starts_with("dev-token"));
                match me.is_in {
                    true => say(sender, &json!({ "type": "auth_ok" })),
                    false => close(sender, 4403),
                }
            }
            // Fewer than a connection may be in.
            Some("join") if me.joins == JOINS => close(sender, 1008),
            Some("join") => {
                me.joins += 1;
                rooms.entry(room).or_default().push(sender.clone());
                say(sender, &json!({ "type": "joined" }));
            }
            Some("chat") => {
                rooms.get(&room).into_iter().flatten().for_each(|member| say(member, &said));
            }
            _ => {}
        }
    }
}

async fn deliver(mut receiver: Receiver<Vec<u8>>, mut write: OwnedWriteHalf) {
    while let Some(bytes) = receiver.recv().await {
        if write.write_all(&bytes).await.is_err() {
            break;
        }
    }
}

async fn frame(read: &mut OwnedReadHalf) -> std::io::Result<(u8, Vec<u8>)> {
    let first = read.read_u8().await?;
    let length = match read.read_u8().await? & 0x7f {
        126 => usize::from(read.read_u16().await?),
        127 => read.read_u64().await? as usize,
        short => usize::from(short),
    };
    let key = read.read_u32().await?.to_be_bytes();
    let mut payload = Vec::new();
    read.take(length as u64).read_to_end(&mut payload).await?;
    payload.iter_mut().zip(key.iter().cycle()).for_each(|(byte, key)| *byte ^= key);
    Ok((first, payload))
}

fn say(sender: &Sender<Vec<u8>>, message: &Value) {
    send(sender, 0x81, message.to_string().as_bytes());
}

fn close(sender: &Sender<Vec<u8>>, code: u16) {
    send(sender, 0x88, &code.to_be_bytes());
}

/// What does not fit is left out, and nobody told.
fn send(sender: &Sender<Vec<u8>>, first: u8, payload: &[u8]) {
    let mut frame = vec![first];
    match payload.len() {
        length @ 0..=125 => frame.push(length as u8),
        length => {
            frame.push(126);
            frame.extend((length as u16).to_be_bytes());
        }
    }
    frame.extend(payload);
    let _ = sender.try_send(frame);
}

/// Rooms that a connection joins in all its life.
const JOINS: usize = 60;

/// Messages that a member may be behind.
const QUEUE: usize = 200;
