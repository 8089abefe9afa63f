//! nginx with TLS in front of two reference servers, and Chromium through it.
#![cfg(test)]

mod page_support;
mod tls_support;

use std::{net::SocketAddr, panic::AssertUnwindSafe, time::Duration};

use futures_util::FutureExt;
use test_support::program::{Program, send_bytes};
use tokio::time::sleep;

use self::{
    page_support::{Page, driver},
    tls_support::{Authority, SERVER, proxy::nginx},
};

struct Server {
    program: Program,
    addr: SocketAddr,
    admin: SocketAddr,
}

impl Server {
    async fn start() -> Self {
        let own = ["--port", "0", "--admin-addr", "127.0.0.1:0", "--trusted-proxy", "127.0.0.1"];
        let login = ["--dev-token", "a secret", "--login-by-name", "true", "--require-tls"];
        let mut program = Program::start(SERVER, &[&own[..], &login[..]].concat(), &[]);
        let addr = program.addr().await;
        let line = program.line_with("listening for operators").await;
        let (_, rest) = line.split_once("127.0.0.1:").unwrap();
        let port: String = rest.chars().take_while(char::is_ascii_digit).collect();
        let admin = SocketAddr::from(([127, 0, 0, 1], port.parse().unwrap()));
        Self { program, addr, admin }
    }

    async fn connections(&mut self) -> String {
        self.program.signal("USR1").await;
        let line = self.program.line_with("\"status\"").await;
        let (_, rest) = line.split_once("\"connections\":").unwrap();
        rest.chars().take_while(char::is_ascii_digit).collect()
    }

    /// Throws a user out to stay away, as an operator does; says what came of it.
    async fn throw_out(&self, user: &str) -> String {
        let request = format!(
            "POST /admin/users/{user}/close HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\
             Content-Length: 0\r\n\r\n",
            self.admin
        );
        send_bytes(self.admin, request.as_bytes()).await
    }
}

// covers: AU-10
#[tokio::test]
async fn pages_talk_through_nginx_and_hear_of_a_lost_server_a_kick_and_a_log_out() {
    let mut servers = [Server::start().await, Server::start().await];
    let [a, b] = [servers[0].addr, servers[1].addr];
    let authority = Authority::new("two");
    // As its comment says.
    let both = format!("hash $remote_addr consistent; server {a}; server {b};");
    let changes = [
        ("/etc/nginx/chat.example.pem", authority.certificate.display().to_string()),
        ("/etc/nginx/chat.example.key", authority.key.display().to_string()),
        ("server 127.0.0.1:8080;", both),
    ];
    let (_nginx, proxy) = nginx("two", &changes).await;
    let (mut chromedriver, at) = driver().await;
    let pages = [Page::open(at, PROFILES[0]).await, Page::open(at, PROFILES[1]).await];
    let url = format!("https://{proxy}/");
    let played = AssertUnwindSafe(play(&mut servers, &pages, &url)).catch_unwind().await;
    for (page, profile) in pages.iter().zip(PROFILES) {
        page.close(profile).await;
    }
    chromedriver.kill().await;
    if let Err(panic) = played {
        std::panic::resume_unwind(panic);
    }
}

async fn play(servers: &mut [Server; 2], [ada, grace]: &[Page; 2], url: &str) {
    ada.join(url, "ada", "den").await;
    grace.join(url, "grace", "den").await;
    ada.say("hello from ada").await;
    grace.hears("ada", "hello from ada").await;
    ada.screenshots("nginx-talking").await;

    // Both came from one address, and so to one server. When it is gone they meet on the other.
    let here = usize::from(servers[0].connections().await != "2");
    assert_eq!(servers[here].connections().await, "2");
    servers[here].program.kill().await;
    ada.says("You are back.").await;
    grace.says("You are back.").await;
    grace.say("here we are again").await;
    ada.hears("grace", "here we are again").await;
    let other = &mut servers[1 - here];
    assert_eq!(other.connections().await, "2");

    // A kick is shown, and not retried.
    let answer = other.throw_out("grace").await;
    assert!(answer.contains(r#"{"closed":1}"#), "{answer}");
    grace.shows("#banner[data-state='stopped'][data-code='4100']:not([hidden])").await;
    let said = grace.text_of("#banner-text").await;
    assert_eq!(said, "An operator has removed you from this server.");
    grace.shows("#send:disabled").await;
    grace.screenshots("nginx-kicked").await;
    // Its first attempt would have been due within half a second.
    sleep(Duration::from_secs(2)).await;
    grace.shows("#status[data-state='stopped']").await;
    assert_eq!(other.connections().await, "1");
    grace.click("#back").await;
    grace.shows("#entrance:not([hidden])").await;

    // A log-out in one tab ends the other.
    let first = ada.browser.window().await.unwrap();
    let second = ada.browser.new_window(true).await.unwrap().handle;
    ada.browser.switch_to_window(second).await.unwrap();
    ada.join(&format!("{url}#den"), "ada", "den").await;
    assert_eq!(other.connections().await, "2");
    ada.click("#logout").await;
    ada.shows("#entrance:not([hidden])").await;
    assert_eq!(ada.text_of("#join-error").await, "You are logged out.");
    ada.screenshots("nginx-logged-out").await;
    ada.browser.switch_to_window(first).await.unwrap();
    ada.shows("#banner[data-state='stopped']:not([hidden])").await;
    assert_eq!(ada.text_of("#banner-text").await, "You are logged out.");
    ada.screenshots("nginx-logged-out-elsewhere").await;
    assert_eq!(other.connections().await, "0");
    // Nor does a reload log in again by itself.
    ada.browser.refresh().await.unwrap();
    ada.shows("#join-error:not([hidden])").await;
    assert_eq!(ada.text_of("#join-error").await, "You are logged out.");
    ada.click("#join").await;
    ada.says("You joined den.").await;
}

const PROFILES: [&str; 2] = ["chromium-two-ada", "chromium-two-grace"];
