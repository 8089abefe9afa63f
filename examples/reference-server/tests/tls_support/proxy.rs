//! nginx and HAProxy, with their configurations as the docs have them.

use std::{fs, net::SocketAddr, path::PathBuf, time::Duration};

use test_support::program::{Program, in_repository};
use tokio::{
    net::{TcpListener, TcpStream},
    time::{sleep, timeout},
};

use super::{PATIENCE, scratch};

/// A port that was free a moment ago.
pub(crate) async fn free() -> SocketAddr {
    TcpListener::bind(("127.0.0.1", 0)).await.unwrap().local_addr().unwrap()
}

/// A configuration of the docs, with other addresses in it.
fn configured(name: &str, as_file: &str, changes: &[(&str, String)]) -> PathBuf {
    let mut text = fs::read_to_string(in_repository(&format!("docs/proxies/{name}"))).unwrap();
    for (from, to) in changes {
        assert!(text.contains(from), "{name} has no {from}");
        text = text.replace(from, to);
    }
    let file = scratch(as_file);
    fs::write(&file, text).unwrap();
    file
}

/// Waits until somebody listens there.
async fn listening(addr: SocketAddr) {
    let connected = async {
        while TcpStream::connect(addr).await.is_err() {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, connected).await.expect("the proxy does not start");
}

pub(crate) async fn nginx(name: &str, changes: &[(&str, String)]) -> (Program, SocketAddr) {
    let addr = free().await;
    let changes = [
        changes,
        &[
            ("listen 443", format!("listen {addr}")),
            // Its own files go where others do not have theirs.
            ("http {", format!("http {{ access_log off; {}", temporary(name))),
        ],
    ]
    .concat();
    let file = configured("nginx.conf", &format!("{name}.conf"), &changes);
    let pid = scratch(&format!("{name}.pid"));
    let own = format!("daemon off; master_process off; pid {}; error_log stderr;", pid.display());
    let args = ["-c", file.to_str().unwrap(), "-g", &own];
    let program = Program::start("/usr/sbin/nginx", &args, &[]);
    listening(addr).await;
    (program, addr)
}

fn temporary(name: &str) -> String {
    let path = |kind| scratch(&format!("{name}-{kind}"));
    ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("{kind}_temp_path {};", path(kind).display()))
        .join(" ")
}

pub(crate) async fn haproxy(
    name: &str,
    file: &str,
    changes: &[(&str, String)],
) -> (Program, SocketAddr) {
    let addr = free().await;
    // As many files as a test may have open.
    let few = ("maxconn 20000", "maxconn 200".to_owned());
    let changes = [changes, &[("bind 0.0.0.0:443", format!("bind {addr}")), few]].concat();
    let file = configured(file, &format!("{name}.cfg"), &changes);
    let program = Program::start("/usr/sbin/haproxy", &["-db", "-f", file.to_str().unwrap()], &[]);
    listening(addr).await;
    (program, addr)
}
