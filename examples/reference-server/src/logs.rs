//! Write one JSON object for each event to stdout, of those that `RUST_LOG` asks for.

use std::{env, ffi::OsStr, fs::File, io, os::fd::AsFd as _};

use tracing::{Level, level_filters::LevelFilter};
use tracing_subscriber::{
    EnvFilter, Layer as _, Registry, filter::filter_fn, fmt, layer::SubscriberExt as _,
    util::SubscriberInitExt as _,
};

use crate::log_queue::LogQueue;

/// What is to be logged.
#[derive(Debug)]
struct Wanted {
    filter: EnvFilter,
    /// Nothing of this server is, though `off` was not said.
    nothing_of_ours: bool,
}

/// Logs as `RUST_LOG` says, INFO by default.
///
/// Whatever it says, the protocol engine stays at INFO: at TRACE it prints whole messages, tokens
/// included.
///
/// # Errors
///
/// What is wrong with `RUST_LOG`. A name that nothing here goes by may be meant for another program, and
/// only a warning is due.
pub(crate) fn init() -> Result<LogQueue, String> {
    let variable = env::var_os("RUST_LOG").unwrap_or_default();
    let wanted = Wanted::read(&variable)?;
    // Without the buffer of the standard library, which keeps what could not be written.
    let stdout = io::stdout().as_fd().try_clone_to_owned();
    let stdout = stdout.map_err(|error| format!("there is no stdout to log to: {error}"))?;
    let queue = LogQueue::new(File::from(stdout))?;
    let lines = fmt::layer::<Registry>().json().flatten_event(true).with_writer(queue.clone());
    // A directive for a module of the engine would outrank one for all of it.
    let harmless = filter_fn(|it| *it.level() <= Level::INFO || !is_of_engine(it.target()));
    tracing_subscriber::registry().with(lines.with_filter(harmless)).with(wanted.filter).init();
    if wanted.nothing_of_ours {
        use io::Write as _;
        let _ = writeln!(
            io::stderr(),
            "warning: RUST_LOG={variable:?} logs nothing of this server; `info` logs what it usually \
             does, `off` nothing without this warning"
        );
    }
    Ok(queue)
}

impl Wanted {
    fn read(variable: &OsStr) -> Result<Self, String> {
        let error = |what: &dyn std::fmt::Debug| {
            format!(
                "RUST_LOG: {what:?} is neither a level (off, error, warn, info, debug, trace) nor \
                 `target=level`; several are separated by commas"
            )
        };
        let text = variable.to_str().ok_or_else(|| error(&variable))?;
        let mut directives: Vec<_> =
            text.split(',').map(str::trim).filter(|it| !it.is_empty()).collect();
        if directives.is_empty() {
            directives.push("info");
        }
        for directive in &directives {
            let parsed = EnvFilter::builder().parse(directive);
            // No target has a space in its name; the value of a field may.
            if parsed.is_err() || (directive.contains(' ') && !directive.contains('[')) {
                return Err(error(directive));
            }
        }
        let filter = EnvFilter::builder().parse(directives.join(","));
        let nothing_of_ours = !directives.iter().any(|it| is_level(it) || is_of_ours(it));
        Ok(Self { filter: filter.map_err(|_| error(&text))?, nothing_of_ours })
    }
}

fn is_of_engine(target: &str) -> bool {
    ["tungstenite", "tokio_tungstenite"].iter().any(|it| target.starts_with(it))
}

fn is_level(directive: &str) -> bool {
    directive.parse::<LevelFilter>().is_ok()
}

/// A target stands for all that begin with it.
fn is_of_ours(directive: &str) -> bool {
    let target = directive.split(['=', '[']).next().unwrap_or_default();
    ["reference_server", "tower_websocket"]
        .iter()
        .any(|ours| ours.starts_with(target) || target.starts_with(ours))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Wanted, String> {
        Wanted::read(text.as_ref())
    }

    // covers: P2-24
    #[test]
    fn a_filter_is_read_however_it_is_padded() {
        for (text, same) in [
            ("", "info"),
            (" ", "info"),
            (",", "info"),
            ("warn\r", "warn"),
            (" INFO , tower_websocket = debug ", "info,tower_websocket=debug"),
            ("3", "info"),
            ("reference_server::accept=debug", "reference_server::accept=debug"),
        ] {
            let text = text.replace(" = ", "=");
            let (wanted, same) = (read(&text).unwrap(), EnvFilter::new(same));
            assert_eq!(wanted.filter.to_string(), same.to_string(), "{text:?}");
            assert!(!wanted.nothing_of_ours, "{text:?}");
        }
    }

    // covers: P2-24
    #[test]
    fn what_is_no_filter_is_an_error_and_what_logs_nothing_is_known() {
        for text in ["a=b=c", "reference_server=loud", "info,[[[", "=", "info debug"] {
            let error = read(text).unwrap_err();
            assert!(error.starts_with("RUST_LOG: ") && error.contains("level"), "{error}");
        }
        for text in ["inof", "tower-websocket=debug", "hyper=debug,h2=trace"] {
            assert!(read(text).unwrap().nothing_of_ours, "{text}");
        }
        for text in ["off", "error", "0", "tower=info", "inof,warn", "[span]=info"] {
            assert!(!read(text).unwrap().nothing_of_ours, "{text}");
        }
    }
}
