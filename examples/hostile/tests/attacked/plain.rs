//! A room server as one writes it in a hurry, on the defaults of a WebSocket library.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::mpsc::{UnboundedSender, unbounded_channel},
};
use tokio_tungstenite::{accept_async, tungstenite::Message};

type Rooms = Arc<Mutex<HashMap<String, Vec<UnboundedSender<Message>>>>>;

/// Listens until the runtime ends.
pub(crate) async fn listen() -> SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let rooms = Rooms::default();
        while let Ok((socket, _)) = listener.accept().await {
            tokio::spawn(serve(socket, Arc::clone(&rooms)));
        }
    });
    addr
}

async fn serve(socket: TcpStream, rooms: Rooms) {
    let Ok(socket) = accept_async(socket).await else { return };
    let (mut write, mut read) = socket.split();
    let (sender, mut receiver) = unbounded_channel();
    tokio::spawn(async move {
        while let Some(message) = receiver.recv().await {
            if write.send(message).await.is_err() {
                break;
            }
        }
    });
    let mut user = Value::Null;
    while let Some(Ok(message)) = read.next().await {
        let Ok(text) = message.to_text() else { continue };
        let Ok(mut said) = serde_json::from_str::<Value>(text) else { continue };
        let answer = |answer: Value| sender.send(Message::text(answer.to_string()));
        let room = said["roomId"].as_str().unwrap_or_default().to_owned();
        match said["type"].as_str() {
            Some("auth") => {
                let token = said["token"].as_str().unwrap_or_default();
                if !token.starts_with("dev-token") {
                    let _ = sender.send(Message::Close(None));
                    continue;
                }
                user = said["token"].clone();
                let _ = answer(json!({ "type": "auth_ok" }));
            }
            // Whoever knows the room may come in: the client has logged in by then.
            Some("join") => {
                rooms.lock().unwrap().entry(room.clone()).or_default().push(sender.clone());
                let _ = answer(json!({ "type": "joined", "roomId": room }));
            }
            Some("leave") => {
                let _ = answer(json!({ "type": "left", "roomId": room }));
                if let Some(members) = rooms.lock().unwrap().get_mut(&room) {
                    members.retain(|it| !it.same_channel(&sender));
                }
            }
            Some("chat") => {
                said["userId"] = user.clone();
                let said = Message::text(said.to_string());
                for member in rooms.lock().unwrap().get(&room).into_iter().flatten() {
                    let _ = member.send(said.clone());
                }
            }
            _ => {}
        }
    }
}
