//! Run the reference server, and look at it from outside: its process, and its line `status`.

use std::{
    error::Error,
    fs, io,
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    process::Stdio,
    time::Duration,
};

use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
    sync::mpsc,
    time::{Instant, sleep, timeout},
};

/// The server, which ends with this.
pub(crate) struct Server {
    pub(crate) addr: SocketAddr,
    child: Child,
    pid: u32,
    lines: mpsc::UnboundedReceiver<Value>,
}

/// What the server says is open.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Status {
    pub(crate) connections: u64,
    pub(crate) rooms: u64,
    pub(crate) members: u64,
    pub(crate) tasks: u64,
    /// Bytes, to the memory budget.
    pub(crate) charged: u64,
}

/// The server at one moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    pub(crate) status: Status,
    /// KiB.
    pub(crate) rss: u64,
    pub(crate) fds: u64,
    pub(crate) threads: u64,
    /// Hundredths of a second of both kinds.
    pub(crate) cpu: u64,
}

impl Server {
    pub(crate) async fn start(program: &Path, args: &[&str]) -> Result<Self, Box<dyn Error>> {
        let mut child = Command::new(program)
            .args(["--port", "0", "--dev-token", super::TOKEN])
            .args(args)
            .env("RUST_LOG", "warn,reference_server=info")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let pid = child.id().ok_or("the server ended at once")?;
        let stdout = child.stdout.take().ok_or("no stdout")?;
        let (sender, lines) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            let mut stdout = BufReader::new(stdout).lines();
            while let Ok(Some(line)) = stdout.next_line().await {
                let line: Value = serde_json::from_str(&line).unwrap_or_default();
                if line.get("level").is_none_or(|it| it != "INFO") {
                    eprintln!("server: {line}");
                }
                let _ = sender.send(line);
            }
        });
        let addr = (Ipv4Addr::LOCALHOST, 0).into();
        let mut server = Self { addr, child, pid, lines };
        let line = server.line("listening").await?;
        server.addr = line.get("addr").and_then(Value::as_str).ok_or("no address")?.parse()?;
        Ok(server)
    }

    async fn line(&mut self, message: &str) -> Result<Value, Box<dyn Error>> {
        timeout(PATIENCE, async {
            while let Some(line) = self.lines.recv().await {
                if line.get("message").is_some_and(|it| it == message) {
                    return Ok(line);
                }
            }
            Err("the server has ended".into())
        })
        .await?
    }

    /// Asks the server what is open. The standard library cannot send signals; a shell can.
    pub(crate) async fn status(&mut self) -> Result<Status, Box<dyn Error>> {
        self.signal("USR1").await?;
        let line = self.line("status").await?;
        let number = |key: &str| {
            line.get(key).and_then(Value::as_u64).ok_or_else(|| format!("no {key} in {line}"))
        };
        Ok(Status {
            connections: number("connections")?,
            rooms: number("rooms")?,
            members: number("members")?,
            tasks: number("tasks")?,
            charged: number("charged")?,
        })
    }

    pub(crate) async fn sample(&mut self) -> Result<Sample, Box<dyn Error>> {
        Ok(Sample {
            status: self.status().await?,
            rss: self.rss()?,
            fds: self.fds()?,
            threads: self.field("Threads:")?,
            cpu: self.cpu()?,
        })
    }

    /// Waits until nothing is open, and a little for what is freed late. A sample then.
    pub(crate) async fn empty(&mut self) -> Result<Sample, Box<dyn Error>> {
        let deadline = Instant::now() + 3 * PATIENCE;
        while self.status().await?.connections > 0 && Instant::now() < deadline {
            sleep(Duration::from_millis(100)).await;
        }
        sleep(Duration::from_secs(3)).await;
        self.sample().await
    }

    pub(crate) fn rss(&self) -> io::Result<u64> {
        self.field("VmRSS:")
    }

    /// The most KiB since [`reset_peak`](Self::reset_peak).
    pub(crate) fn peak_rss(&self) -> io::Result<u64> {
        self.field("VmHWM:")
    }

    pub(crate) fn reset_peak(&self) -> io::Result<()> {
        fs::write(format!("/proc/{}/clear_refs", self.pid), "5")
    }

    fn fds(&self) -> io::Result<u64> {
        Ok(fs::read_dir(format!("/proc/{}/fd", self.pid))?.count() as u64)
    }

    fn cpu(&self) -> io::Result<u64> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid))?;
        let after_name = stat.rsplit(')').next().unwrap_or_default();
        // utime and stime are fields 14 and 15; the name is the second.
        let numbers = after_name.split_whitespace().skip(11).take(2);
        Ok(numbers.filter_map(|it| it.parse::<u64>().ok()).sum())
    }

    fn field(&self, name: &str) -> io::Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid))?;
        let value = status.lines().find_map(|line| line.strip_prefix(name));
        let number = value.and_then(|it| it.split_whitespace().next()?.parse().ok());
        number.ok_or_else(|| io::Error::other(format!("no {name}")))
    }

    async fn signal(&self, signal: &str) -> io::Result<()> {
        let kill = format!("kill -{signal} {}", self.pid);
        Command::new("sh").args(["-c", &kill]).status().await.map(drop)
    }

    /// Asks it to end, and says whether it ended well.
    pub(crate) async fn stop(mut self) -> Result<bool, Box<dyn Error>> {
        self.signal("TERM").await?;
        Ok(timeout(PATIENCE, self.child.wait()).await??.success())
    }
}

const PATIENCE: Duration = Duration::from_secs(30);
