//! Whom to attack, what the target's protocol looks like, and what it is expected to allow.

use std::{net::IpAddr, num::NonZeroU32, time::Duration};

use clap::{Args, Parser};

/// Attack a WebSocket room server of your own, and see what it withstands.
#[derive(Clone, Debug, Parser)]
#[command(
    name = "hostile",
    after_help = "Exit code: 0 if the target withstood every row, 1 with findings, 2 if rows could not be \
                  tried, or none. All rows come from one address: the target has to let it make some \
                  hundred handshakes in a minute and fail some logins (the reference server: \
                  --handshake-rate-per-peer 500 --failed-login-burst 200)."
)]
pub(crate) struct Options {
    /// Where the endpoint is: `ws://127.0.0.1:8080/ws`. Plain TCP and HTTP/1.1 only.
    #[arg(default_value = "ws://127.0.0.1:8080/ws")]
    pub(crate) url: String,
    /// Attack a host that is not this machine. Only do this to what is yours.
    #[arg(long)]
    pub(crate) i_own_this_host: bool,
    /// Only these rows, separated by commas: `--only AU-01,FR-05`.
    #[arg(long, value_delimiter = ',')]
    pub(crate) only: Vec<String>,
    /// Another address of this machine, to see from there what one address leaves to others: on the
    /// loopback interface of Linux `127.0.0.2`. Without it HS-30 is not tried, which takes all there is.
    #[arg(long)]
    pub(crate) other_address: Option<IpAddr>,
    /// Print the rows, and for each the test that shows it, and attack nothing.
    #[arg(long)]
    pub(crate) list: bool,
    #[command(flatten)]
    pub(crate) shape: Shape,
    #[command(flatten)]
    pub(crate) limits: Limits,
    #[command(flatten)]
    pub(crate) bounds: Bounds,
}

/// The shape of the room protocol: JSON texts, in which the first member says what kind each is.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "The target's protocol")]
pub(crate) struct Shape {
    /// A token that is let in; `{user}` becomes a different name for each user.
    #[arg(long, default_value = "dev-token:{user}")]
    pub(crate) token: String,
    /// The first message of a connection.
    #[arg(long, default_value = r#"{"type":"auth","token":"{token}"}"#)]
    pub(crate) auth: String,
    /// What only the answer to a good login contains.
    #[arg(long, default_value = r#""auth_ok""#)]
    pub(crate) welcome: String,
    #[arg(long, default_value = r#"{"type":"join","roomId":"{room}"}"#, help = "Joins a room.")]
    pub(crate) join: String,
    /// What only the answer to a good join contains.
    #[arg(long, default_value = r#""joined""#)]
    pub(crate) joined: String,
    #[arg(long, default_value = r#"{"type":"leave","roomId":"{room}"}"#, help = "Leaves a room.")]
    pub(crate) leave: String,
    /// Tells a room something, the sender included.
    #[arg(long, default_value = r#"{"type":"chat","roomId":"{room}","text":"{text}"}"#)]
    pub(crate) chat: String,
    /// The origin of a page that may connect: that of the URL itself unless given.
    #[arg(long)]
    pub(crate) origin: Option<String>,
    /// A line that goes into each handshake, as a session's cookie: `--header 'Cookie: session=ada'`. May
    /// be given more than once. A row that is about a header sends its own instead.
    #[arg(long, value_name = "NAME: VALUE", value_parser = header)]
    pub(crate) header: Vec<(String, String)>,
    /// An ordinary page of the server, the larger the better.
    #[arg(long, default_value = "/")]
    pub(crate) page: String,
}

/// What the target is meant to allow; each attack goes beyond it.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "The target's limits")]
pub(crate) struct Limits {
    /// Bytes of a message.
    #[arg(long, default_value_t = 8192)]
    pub(crate) max_message: usize,
    /// Bytes of the first message, which logs in.
    #[arg(long, default_value_t = 4096)]
    pub(crate) max_first_message: usize,
    /// Bytes held for a peer that does not read.
    #[arg(long, default_value_t = 1024 * 1024)]
    pub(crate) max_outbound: usize,
    /// Messages that one connection may send at once.
    #[arg(long, default_value_t = 40)]
    pub(crate) burst: usize,
    /// Messages that one connection may send each second.
    #[arg(long, default_value = "20")]
    pub(crate) rate: NonZeroU32,
    /// Rooms that one connection may be in.
    #[arg(long, default_value_t = 100)]
    pub(crate) max_rooms: usize,
    /// Connections from one address.
    #[arg(long, default_value_t = 256)]
    pub(crate) max_connections_per_peer: usize,
    /// Logins from one address that may fail before it gets no connection; all rows make some dozens.
    #[arg(long, default_value_t = 200)]
    pub(crate) failed_logins: usize,
    #[arg(long, default_value = "5000", value_parser = millis, help = "Milliseconds to log in.")]
    pub(crate) auth_timeout: Duration,
    /// Milliseconds to send the HTTP request.
    #[arg(long, default_value = "5000", value_parser = millis)]
    pub(crate) header_timeout: Duration,
    /// Milliseconds that a socket may be HTTP, with all its requests and answers.
    #[arg(long, default_value = "30000", value_parser = millis)]
    pub(crate) http_timeout: Duration,
    /// Milliseconds from the first byte of a message to its last, and of a ping.
    #[arg(long, default_value = "10000", value_parser = millis)]
    pub(crate) message_timeout: Duration,
    /// Milliseconds that the server listens after it has closed.
    #[arg(long, default_value = "5000", value_parser = millis)]
    pub(crate) close_timeout: Duration,
    #[arg(long, default_value = "30000", value_parser = millis, help = "Milliseconds between pings.")]
    pub(crate) ping_interval: Duration,
    /// Milliseconds that a pong may take.
    #[arg(long, default_value = "10000", value_parser = millis)]
    pub(crate) pong_timeout: Duration,
}

/// What this program allows itself.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Bounds of this program")]
pub(crate) struct Bounds {
    /// Milliseconds within which the target reacts to what it must not accept.
    #[arg(long, default_value = "3000", value_parser = millis)]
    pub(crate) patience: Duration,
    /// Milliseconds for one row.
    #[arg(long, default_value = "60000", value_parser = millis)]
    pub(crate) row_timeout: Duration,
    /// Milliseconds for all rows; those that have not begun by then are not tried.
    #[arg(long, default_value = "180000", value_parser = millis)]
    pub(crate) total_timeout: Duration,
    /// MiB to send in all.
    #[arg(long, default_value_t = 256)]
    pub(crate) max_send_mb: u64,
    /// MiB to receive in all.
    #[arg(long, default_value_t = 256)]
    pub(crate) max_receive_mb: u64,
    /// Handshakes each second.
    #[arg(long, default_value = "200")]
    pub(crate) handshakes_per_second: NonZeroU32,
}

fn header(line: &str) -> Result<(String, String), String> {
    let (name, value) = line.split_once(':').ok_or("not `NAME: VALUE`")?;
    let (name, value) = (name.trim_end(), value.trim());
    let token = |it: u8| it.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&it);
    if name.is_empty() || !name.bytes().all(token) {
        return Err(format!("{name:?} is no name of a header"));
    }
    if value.chars().any(char::is_control) {
        return Err(format!("the value of {name} has a control character"));
    }
    let own = name.to_ascii_lowercase();
    let of_handshakes = ["host", "origin", "connection", "upgrade"].contains(&own.as_str());
    if of_handshakes || own.starts_with("sec-websocket-") {
        return Err(format!("{name} is what rows try out; the origin is set by --origin"));
    }
    Ok((name.to_owned(), value.to_owned()))
}

fn millis(text: &str) -> Result<Duration, std::num::ParseIntError> {
    text.parse().map(Duration::from_millis)
}

#[cfg(test)]
mod tests {
    use super::header;

    #[test]
    fn a_header_is_a_name_and_a_value_and_none_that_rows_try_out() {
        let pair = |name: &str, value: &str| Ok((name.to_owned(), value.to_owned()));
        assert_eq!(header("Cookie: session=ada; b=c:d"), pair("Cookie", "session=ada; b=c:d"));
        assert_eq!(header("X-Empty:"), pair("X-Empty", ""));
        for line in ["Cookie", ": a", "A b: c", "X: a\r\nY: b", "origin: a", "Sec-WebSocket-Key: a"]
        {
            assert!(header(line).is_err(), "{line}");
        }
    }
}
