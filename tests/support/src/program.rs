//! Run programs beside a test: the built examples, and what talks to them.
use std::{
    ffi::OsStr,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpSocket, TcpStream},
    process::{Child, ChildStdin, Command},
    sync::mpsc,
    time::timeout,
};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream,
    tungstenite::{
        Error, Message, client::IntoClientRequest, http::HeaderName, protocol::CloseFrame,
    },
};

/// A process that ends with the test at the latest.
pub struct Program {
    child: Child,
    lines: mpsc::UnboundedReceiver<String>,
}

impl Program {
    pub fn start(path: impl AsRef<OsStr>, args: &[&str], env: &[(&str, &str)]) -> Self {
        let path = path.as_ref();
        let mut child = Command::new(path)
            .args(args)
            .envs(env.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|error| panic!("cannot run {}: {error}", path.display()));
        let mut stdout = BufReader::new(child.stdout.take().unwrap()).lines();
        // Read all the time: a process whose pipe is full stands still.
        let (sender, lines) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Ok(Some(line)) = stdout.next_line().await {
                let _ = sender.send(line);
            }
        });
        Self { child, lines }
    }

    /// Starts a program that may have so many files open.
    pub fn start_with_files(path: impl AsRef<Path>, files: u32, args: &[&str]) -> Self {
        let path = path.as_ref();
        let run = format!("ulimit -n {files}; exec \"$0\" \"$@\"");
        let args = [&["-c", &run, path.to_str().unwrap()], args].concat();
        Self::start("sh", &args, &[])
    }

    /// Of the process.
    ///
    /// # Panics
    ///
    /// If it has ended.
    pub fn id(&self) -> u32 {
        self.child.id().unwrap()
    }

    /// Whether it has not ended.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// The next line on stdout with `text` in it.
    pub async fn line_with(&mut self, text: &str) -> String {
        let mut others = Vec::new();
        let wanted = async {
            while let Some(line) = self.lines.recv().await {
                if line.contains(text) {
                    return Some(line);
                }
                others.push(line);
            }
            None
        };
        match timeout(PATIENCE, wanted).await {
            Ok(Some(line)) => line,
            _ => panic!("no line with {text:?}, only:\n{}", others.join("\n")),
        }
    }

    /// Everything that it prints until it ends.
    pub async fn rest(&mut self) -> String {
        let rest = async {
            let mut lines = Vec::new();
            while let Some(line) = self.lines.recv().await {
                lines.push(line);
            }
            lines.join("\n")
        };
        timeout(PATIENCE, rest).await.expect("it goes on running")
    }

    /// The loopback address that the program says it listens on.
    pub async fn addr(&mut self) -> SocketAddr {
        let line = self.line_with("127.0.0.1:").await;
        let (_, rest) = line.split_once("127.0.0.1:").unwrap();
        let port: String = rest.chars().take_while(char::is_ascii_digit).collect();
        SocketAddr::from(([127, 0, 0, 1], port.parse().unwrap()))
    }

    pub async fn type_line(&mut self, line: &str) {
        let stdin: &mut ChildStdin = self.child.stdin.as_mut().unwrap();
        stdin.write_all(format!("{line}\n").as_bytes()).await.unwrap();
    }

    pub async fn type_bytes(&mut self, bytes: &[u8]) {
        self.child.stdin.as_mut().unwrap().write_all(bytes).await.unwrap();
    }

    /// Ends stdin, as Ctrl-D does.
    pub fn close_stdin(&mut self) {
        self.child.stdin = None;
    }

    /// Ends it without a word: SIGKILL.
    pub async fn kill(&mut self) {
        self.child.kill().await.unwrap();
    }

    /// Asks it to end.
    pub async fn terminate(&self) {
        self.signal("TERM").await;
    }

    /// Needs a shell, because the standard library cannot send signals.
    pub async fn signal(&self, signal: &str) {
        let kill = format!("kill -{signal} {}", self.child.id().unwrap());
        assert!(Command::new("sh").args(["-c", &kill]).status().await.unwrap().success());
    }

    pub async fn exit(&mut self) -> ExitStatus {
        timeout(PATIENCE, self.child.wait()).await.expect("it goes on running").unwrap()
    }
}

/// Runs a program to its end; it must succeed. Returns what it printed.
pub async fn run(program: &Path, args: &[&str], env: &[(&str, &str)]) -> String {
    let mut command = Command::new(program);
    command.args(args).envs(env.iter().copied()).kill_on_drop(true);
    let ran = timeout(LONG_PATIENCE, command.output()).await.expect("it goes on running");
    let output = ran.unwrap_or_else(|error| panic!("cannot run {}: {error}", program.display()));
    let out = String::from_utf8_lossy(&output.stdout).into_owned();
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{} failed:\n{out}\n{err}", program.display());
    out
}

/// Runs a program that should end by itself, and refuse. Returns its exit code and what it said on
/// stderr.
pub async fn refusal(
    program: impl AsRef<OsStr>,
    args: &[&str],
    env: &[(&str, &str)],
) -> (Option<i32>, String) {
    let mut command = Command::new(program);
    command.args(args).envs(env.iter().copied()).kill_on_drop(true).stdin(Stdio::null());
    let ran = timeout(PATIENCE, command.output()).await;
    let output = ran.unwrap_or_else(|_| panic!("it runs with {args:?} and {env:?}")).unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

/// A file of the repository.
pub fn in_repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

/// A program of another package of the workspace, or an example: cargo puts them beside the folder of the
/// test binaries, but builds them only with a whole workspace.
///
/// # Panics
///
/// If it is not there.
pub fn built(name: &str) -> PathBuf {
    let this = std::env::current_exe().unwrap();
    let profile = this.parent().and_then(Path::parent).unwrap();
    let path = profile.join(name).with_extension(std::env::consts::EXE_EXTENSION);
    let build = "cargo build --workspace --all-targets --all-features";
    assert!(path.exists(), "{} is missing: `{build}` makes it", path.display());
    path
}

/// A WebSocket client.
pub struct Peer {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
}

impl Peer {
    pub async fn connect(addr: SocketAddr) -> Self {
        Self::connect_with(addr, &[]).await.unwrap()
    }

    /// Connected with further headers, or the status of the refusal.
    pub async fn connect_with(addr: SocketAddr, headers: &[(&str, &str)]) -> Result<Self, u16> {
        let mut request = format!("ws://{addr}/ws").into_client_request().unwrap();
        for (name, value) in headers {
            let name: HeaderName = name.parse().unwrap();
            request.headers_mut().append(name, value.parse().unwrap());
        }
        match tokio_tungstenite::connect_async(request).await {
            Ok((socket, _)) => Ok(Self { socket }),
            Err(Error::Http(refused)) => Err(refused.status().as_u16()),
            Err(error) => panic!("{error}"),
        }
    }

    /// In `room` of the room service, with the reference server's token.
    pub async fn join(addr: SocketAddr, token: &str, room: &str) -> Self {
        let mut peer = Self::connect(addr).await;
        peer.say(json!({ "type": "auth", "token": token })).await;
        assert_eq!(peer.hear().await["type"], "auth_ok");
        peer.say(json!({ "type": "join", "roomId": room })).await;
        let joined = peer.hear().await;
        assert_eq!((&joined["type"], &joined["roomId"]), (&json!("joined"), &json!(room)));
        peer
    }

    pub async fn say(&mut self, message: Value) {
        self.send(&message.to_string()).await;
    }

    pub async fn hear(&mut self) -> Value {
        serde_json::from_str(&self.text().await).unwrap()
    }

    /// The next message, or the code of the close frame that comes instead.
    pub async fn hear_or_closed(&mut self) -> Result<Value, u16> {
        match self.next().await {
            Message::Text(text) => Ok(serde_json::from_str(&text).unwrap()),
            Message::Close(Some(CloseFrame { code, .. })) => Err(code.into()),
            other => panic!("neither a text message nor a close frame: {other:?}"),
        }
    }

    pub async fn send(&mut self, text: &str) {
        self.socket.send(Message::text(text)).await.unwrap();
    }

    /// The next text message.
    pub async fn text(&mut self) -> String {
        match self.next().await {
            Message::Text(text) => text.to_string(),
            other => panic!("not a text message: {other:?}"),
        }
    }

    /// The code and reason of the close frame, which must come next.
    pub async fn closed(&mut self) -> (u16, String) {
        match self.next().await {
            Message::Close(Some(CloseFrame { code, reason })) => (code.into(), reason.to_string()),
            other => panic!("not a close frame: {other:?}"),
        }
    }

    async fn next(&mut self) -> Message {
        loop {
            let next = timeout(PATIENCE, self.socket.next()).await.expect("no message");
            match next.expect("the connection ended").unwrap() {
                Message::Ping(_) => {}
                message => return message,
            }
        }
    }
}

/// A socket from an address of this machine, with a small window and nothing sent.
pub async fn socket_from(from: [u8; 4], addr: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.set_recv_buffer_size(2048)?;
    socket.bind(SocketAddr::from((from, 0)))?;
    timeout(PATIENCE, socket.connect(addr)).await?
}

/// The status of the next answer on `socket`; `None` if there is none.
pub async fn status(socket: &mut TcpStream) -> Option<u16> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let byte = timeout(PATIENCE, socket.read_u8()).await.expect("no answer");
        head.push(byte.ok()?);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    head.split(' ').nth(1)?.parse().ok()
}

/// Sends `bytes` on a new socket and returns what comes until the server hangs up.
pub async fn send_bytes(addr: SocketAddr, bytes: &[u8]) -> String {
    send_chunks(addr, bytes, bytes.len()).await
}

/// The same with a packet for each byte.
pub async fn trickle(addr: SocketAddr, bytes: &[u8]) -> String {
    send_chunks(addr, bytes, 1).await
}

async fn send_chunks(addr: SocketAddr, bytes: &[u8], size: usize) -> String {
    let mut socket = TcpStream::connect(addr).await.unwrap();
    socket.set_nodelay(true).unwrap();
    let (mut reader, mut writer) = socket.split();
    let write = async {
        for chunk in bytes.chunks(size.max(1)) {
            // A server that has heard enough may hang up.
            if writer.write_all(chunk).await.is_err() {
                break;
            }
        }
    };
    let mut answer = Vec::new();
    let both = async { tokio::join!(write, reader.read_to_end(&mut answer)) };
    let _ = timeout(PATIENCE, both).await.expect("the server does not hang up");
    String::from_utf8_lossy(&answer).into_owned()
}

/// The body of an ordinary page.
pub async fn page(addr: SocketAddr, path: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\n\r\n");
    let answer = send_bytes(addr, request.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    answer.split_once("\r\n\r\n").unwrap().1.to_owned()
}

/// So that a program that does nothing fails a test instead of holding it up.
const PATIENCE: Duration = Duration::from_secs(20);

/// For a program with many cases of its own.
const LONG_PATIENCE: Duration = Duration::from_secs(180);
