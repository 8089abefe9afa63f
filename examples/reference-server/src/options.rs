//! What can be set, and what it is unless it is set.

use std::{
    fmt,
    io::{self, Write as _},
    net::SocketAddr,
    num::{NonZeroU32, NonZeroUsize},
    path::PathBuf,
    process,
    time::Duration,
};

use clap::{
    Arg, CommandFactory as _, FromArgMatches as _, Parser, ValueEnum,
    builder::BoolishValueParser,
    error::{ContextKind, ContextValue, ErrorKind},
    parser::ValueSource,
};

use crate::{
    listen::Host,
    values::{millis, number},
};

/// A hardened WebSocket chat server with rooms.
#[derive(Parser)]
#[command(
    name = "reference-server",
    after_help = "An environment variable that is empty counts as one that is not set, but for \
                  DEV_TOKEN and ADMIN_TOKEN: an empty token is refused. On SIGUSR1 the server logs how many \
                  connections, rooms, members and tasks there are, and how much of the memory budget \
                  is charged. On SIGHUP it reads certificate and key anew, where it has any. SIGTERM and Ctrl-C end it in good order; a second one ends it at once."
)]
pub(crate) struct Options {
    /// Address to listen on, or a name that has one.
    #[arg(long, env = "HOST", default_value = "127.0.0.1")]
    host: String,
    #[arg(skip)]
    host_is_ambient: bool,
    /// Port to listen on; 0 takes a free one.
    #[arg(long, env = "PORT", default_value = "8080", value_parser = port)]
    pub(crate) port: u16,
    /// The token that lets anybody in, alone or followed by `:name`. `dev-token` unless set, and then
    /// on the loopback interface only.
    #[arg(long, env = "DEV_TOKEN", hide_env_values = true)]
    pub(crate) dev_token: Option<String>,
    /// Whether the page lets people in by the name that they say, whoever they are: `true` or `false`. On the
    /// loopback interface, and only while there is no token of your own, unless set.
    #[arg(long, env = "LOGIN_BY_NAME", value_parser = BoolishValueParser::new())]
    pub(crate) login_by_name: Option<bool>,
    /// Whose pages may connect besides the server's own, as a browser writes it:
    /// `https://example.com`. Separated by commas, or given several times. None unless set. Who names
    /// one at the server's own host, such as `http://localhost:3000`, has to name the server's as well.
    #[arg(long, env = "ALLOW_ORIGIN", value_delimiter = ',')]
    pub(crate) allow_origin: Vec<String>,
    /// The hosts that the server goes by, with or without a port; handshakes for others get 421. Any
    /// unless set. Separated by commas, or given several times.
    #[arg(long, env = "ALLOW_HOST", value_delimiter = ',')]
    pub(crate) allow_host: Vec<String>,
    /// The networks that proxies are in, `10.0.0.0/8`: theirs is the word for who the client is. Nobody's
    /// unless set. Separated by commas, or given several times.
    #[arg(long, env = "TRUSTED_PROXY", value_delimiter = ',')]
    pub(crate) trusted_proxy: Vec<String>,
    /// The header in which they give it, `forwarded` for the one of RFC 7239. `x-forwarded-for` unless
    /// set.
    #[arg(long, env = "FORWARDED_HEADER")]
    pub(crate) forwarded_header: Option<String>,
    /// Take requests from those networks that have no such header, by the address of their socket, as those
    /// of health checks: `true` or `false`. A proxy that forgets the header is not noticed any more then.
    #[arg(
        long,
        env = "ALLOW_DIRECT",
        default_value = "false",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true",
        value_parser = yes_or_no
    )]
    pub(crate) allow_direct: bool,
    /// Refuse handshakes that did not come over TLS, by the word of those proxies or by the server's own
    /// TLS: `true` or `false`.
    #[arg(
        long,
        env = "REQUIRE_TLS",
        default_value = "false",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true",
        value_parser = yes_or_no
    )]
    pub(crate) require_tls: bool,
    /// Each socket begins with the PROXY protocol, of which version ever, and comes from one of the
    /// networks of `--trusted-proxy`; every other is hung up on. `true` or `false`.
    #[arg(
        long,
        env = "PROXY_PROTOCOL",
        default_value = "false",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true",
        value_parser = yes_or_no
    )]
    pub(crate) proxy_protocol: bool,
    /// The file with the certificate and those it rests on, as PEM: the server speaks TLS then. It is
    /// looked at once a minute, and on SIGHUP. None unless set.
    #[arg(long, env = "TLS_CERT")]
    pub(crate) tls_cert: Option<PathBuf>,
    /// The file with the key of the certificate, as PEM. None unless set.
    #[arg(long, env = "TLS_KEY")]
    pub(crate) tls_key: Option<PathBuf>,
    /// Where operators may throw users out, `127.0.0.1:9090`: with `POST /admin/users/NAME/close` to stay
    /// away, with `../revoke` to log in again. Nowhere unless set.
    #[arg(long, env = "ADMIN_ADDR", value_parser = socket_addr)]
    pub(crate) admin_addr: Option<SocketAddr>,
    /// The token that they show, `Authorization: Bearer TOKEN`, of 32 bytes at least. None unless set, and
    /// then on the loopback interface only.
    #[arg(long, env = "ADMIN_TOKEN", hide_env_values = true)]
    pub(crate) admin_token: Option<String>,
    /// What becomes of a message that is not of the protocol: the connection is closed, or the message
    /// is answered with an error that names field and limit, and the connection closed at the fifth in
    /// a row.
    #[arg(long, env = "INVALID_MESSAGE", default_value = "close", value_parser = invalid_message)]
    pub(crate) invalid_message: InvalidMessage,
    /// What becomes of a member that cannot keep up with its rooms: its connection is closed with 1013, or it
    /// goes on with the newest and is told that something is missing. `close` or `skip`.
    #[arg(long, env = "SLOW_MEMBERS", default_value = "close", value_parser = slow_members)]
    pub(crate) slow_members: SlowMembers,
    /// Milliseconds between pings.
    #[arg(long, env = "HEARTBEAT_INTERVAL_MS", default_value = "30000", value_parser = millis)]
    pub(crate) heartbeat_interval_ms: Duration,
    /// Milliseconds a pong may take.
    #[arg(long, env = "PONG_TIMEOUT_MS", default_value = "10000", value_parser = millis)]
    pub(crate) pong_timeout_ms: Duration,
    /// Milliseconds from the handshake to valid credentials.
    #[arg(long, env = "AUTH_TIMEOUT_MS", default_value = "5000", value_parser = millis)]
    pub(crate) auth_timeout_ms: Duration,
    /// Milliseconds a client may take to begin its HTTP request, and again to send its head.
    #[arg(long, env = "HEADER_TIMEOUT_MS", default_value = "5000", value_parser = millis)]
    pub(crate) header_timeout_ms: Duration,
    /// Milliseconds a socket may be HTTP, with all its requests and answers, until it is a WebSocket.
    #[arg(long, env = "HTTP_TIMEOUT_MS", default_value = "30000", value_parser = millis)]
    pub(crate) http_timeout_ms: Duration,
    /// Bytes of one message from a client.
    #[arg(long, env = "MAX_MESSAGE_BYTES", default_value = "8192", value_parser = number::<NonZeroUsize>)]
    pub(crate) max_message_bytes: NonZeroUsize,
    /// Messages a connection may send each second. Joins have a quota of their own.
    #[arg(long, env = "MESSAGE_RATE", default_value = "20", value_parser = number::<NonZeroU32>)]
    pub(crate) message_rate: NonZeroU32,
    /// Messages a connection may send at once.
    #[arg(long, env = "MESSAGE_BURST", default_value = "40", value_parser = number::<NonZeroU32>)]
    pub(crate) message_burst: NonZeroU32,
    /// Messages a user may send each second, on all connections together. Twice what a connection may
    /// unless set.
    #[arg(long, env = "USER_RATE", value_parser = number::<NonZeroU32>)]
    pub(crate) user_rate: Option<NonZeroU32>,
    /// Messages a user may send at once, on all connections together. Twice what a connection may
    /// unless set.
    #[arg(long, env = "USER_BURST", value_parser = number::<NonZeroU32>)]
    pub(crate) user_burst: Option<NonZeroU32>,
    /// What a user may publish each second: KiB of each message times the members of its room.
    #[arg(long, env = "PUBLISH_RATE", default_value = "100000", value_parser = number::<NonZeroU32>)]
    pub(crate) publish_rate: NonZeroU32,
    /// What a user may publish at once.
    #[arg(long, env = "PUBLISH_BURST", default_value = "1000000", value_parser = number::<NonZeroU32>)]
    pub(crate) publish_burst: NonZeroU32,
    /// Bytes held for a client that reads slowly; more closes it with 1013. It must hold two of the
    /// largest messages. 1048576 unless set, or room for four of them.
    #[arg(long, env = "MAX_OUTBOUND_BYTES", value_parser = number::<NonZeroUsize>)]
    pub(crate) max_outbound_bytes: Option<NonZeroUsize>,
    /// MiB that all connections together may make the server hold: above three quarters of it those
    /// that hold most are closed with 1013. 0 is no limit. A quarter of the memory of the machine or
    /// the cgroup unless set.
    #[arg(long, env = "MEMORY_BUDGET_MB", value_parser = mebibytes)]
    pub(crate) memory_budget_mb: Option<usize>,
    /// Connections in all.
    #[arg(long, env = "MAX_CONNECTIONS", default_value = "10000", value_parser = number::<NonZeroUsize>)]
    pub(crate) max_connections: NonZeroUsize,
    /// Connections that have not authenticated yet.
    #[arg(long, env = "MAX_UNAUTHENTICATED", default_value = "1000", value_parser = number::<NonZeroUsize>)]
    pub(crate) max_unauthenticated: NonZeroUsize,
    /// Connections from one address. 256 unless set, but a quarter of all at most; as many as all, or
    /// more, says that addresses tell nothing.
    #[arg(long, env = "MAX_CONNECTIONS_PER_PEER", value_parser = number::<NonZeroUsize>)]
    pub(crate) max_connections_per_peer: Option<NonZeroUsize>,
    /// Connections of one user, every tab of every device; the oldest is closed with 4409 for one more.
    #[arg(long, env = "MAX_CONNECTIONS_PER_USER", default_value = "20", value_parser = number::<NonZeroUsize>)]
    pub(crate) max_connections_per_user: NonZeroUsize,
    /// Handshakes each second, and at once.
    #[arg(long, env = "HANDSHAKE_RATE", default_value = "500", value_parser = number::<NonZeroU32>)]
    pub(crate) handshake_rate: NonZeroU32,
    /// Handshakes of one address each second, after 256 at once. A fiftieth of all unless set.
    #[arg(long, env = "HANDSHAKE_RATE_PER_PEER", value_parser = number::<NonZeroU32>)]
    pub(crate) handshake_rate_per_peer: Option<NonZeroU32>,
    /// Failed logins of one address each minute: over it, its handshakes are refused.
    #[arg(long, env = "FAILED_LOGIN_RATE", default_value = "10", value_parser = number::<NonZeroU32>)]
    pub(crate) failed_login_rate: NonZeroU32,
    /// Failed logins of one address at once.
    #[arg(long, env = "FAILED_LOGIN_BURST", default_value = "20", value_parser = number::<NonZeroU32>)]
    pub(crate) failed_login_burst: NonZeroU32,
}

/// What becomes of a member that cannot keep up.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum SlowMembers {
    Close,
    Skip,
}

/// What becomes of a message that is not of the protocol.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum InvalidMessage {
    Close,
    Reply,
}

impl Options {
    /// What the command line and the environment say. If they cannot be understood, this says why in a
    /// line, and ends the process with 2; so does `--help`, with its text and 0.
    pub(crate) fn read() -> Self {
        Self::parse_from_environment().unwrap_or_else(|error| {
            if !matches!(error.kind(), ErrorKind::InvalidValue | ErrorKind::ValueValidation) {
                error.exit();
            }
            let _ = writeln!(io::stderr(), "{}", in_a_line(&error));
            process::exit(2);
        })
    }

    fn parse_from_environment() -> Result<Self, clap::Error> {
        // Without the latter, `-1` is taken for an option, and the error does not name the one it is of.
        let command = Self::command().mut_args(|it| unless_empty(it).allow_negative_numbers(true));
        let matches = command.try_get_matches()?;
        let mut options = Self::from_arg_matches(&matches)?;
        options.host_is_ambient = matches.value_source("host") == Some(ValueSource::EnvVariable);
        Ok(options)
    }

    /// What is set if nothing is, whatever the environment of the tests has.
    #[cfg(test)]
    pub(crate) fn defaults() -> Self {
        Self::of(&[]).unwrap()
    }

    /// What these arguments say.
    #[cfg(test)]
    pub(crate) fn of(args: &[&str]) -> Result<Self, clap::Error> {
        let command = Self::command().mut_args(|it| it.env(None::<&'static str>));
        let args = ["reference-server"].iter().chain(args);
        Self::from_arg_matches(&command.try_get_matches_from(args)?)
    }

    pub(crate) fn host(&self) -> Host {
        Host { name: self.host.clone(), ambient: self.host_is_ambient }
    }
}

/// What is wrong, with the value. That may have lines of its own, which would push the rest out.
fn in_a_line(error: &clap::Error) -> String {
    let mut text = error.to_string();
    if let Some(ContextValue::String(value)) = error.get(ContextKind::InvalidValue) {
        text = text.replace(value, &value.escape_debug().to_string());
    }
    text.lines().next().unwrap_or_default().to_owned()
}

/// Forgets a variable that is empty: a compose file makes one of each that was not set. The tokens are
/// exceptions, since an operator who meant to set one must not get the one that is known to all, or none.
fn unless_empty(arg: Arg) -> Arg {
    let variable = arg.get_env().and_then(std::env::var_os);
    let empty = variable.is_some_and(|it| it.to_str().is_some_and(|it| it.trim().is_empty()));
    let is_token = ["dev_token", "admin_token"].iter().any(|it| arg.get_id() == *it);
    if empty && !is_token { arg.env(None::<&'static str>) } else { arg }
}

fn port(text: &str) -> Result<u16, String> {
    text.trim().parse().map_err(|_| "is not a port, which is a number from 0 to 65535".to_owned())
}

fn socket_addr(text: &str) -> Result<SocketAddr, String> {
    let words = "is not an address with a port, such as 127.0.0.1:9090";
    text.trim().parse().map_err(|_| words.to_owned())
}

fn mebibytes(text: &str) -> Result<usize, String> {
    text.trim().parse().map_err(|_| "is not a whole number of MiB; 0 is no limit".to_owned())
}

fn yes_or_no(text: &str) -> Result<bool, String> {
    match text.trim().to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "1" => Ok(true),
        "false" | "no" | "off" | "0" => Ok(false),
        _ => Err("must be true or false".to_owned()),
    }
}

fn slow_members(text: &str) -> Result<SlowMembers, String> {
    SlowMembers::from_str(text.trim(), true).map_err(|_| "must be close or skip".to_owned())
}

fn invalid_message(text: &str) -> Result<InvalidMessage, String> {
    InvalidMessage::from_str(text.trim(), true).map_err(|_| "must be close or reply".to_owned())
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("host", &self.host)
            .field("port", &self.port)
            .finish_non_exhaustive()
    }
}
