//! The reference server's page in a real browser.
#![cfg(test)]

use std::{fs, net::SocketAddr, panic::AssertUnwindSafe, path::PathBuf, time::Duration};

use fantoccini::{Client, ClientBuilder, Locator};
use futures_util::FutureExt;
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::json;
use test_support::program::Program;

/// The reference server's page, in a browser of its own.
struct Page {
    browser: Client,
}

impl Page {
    async fn open(driver: SocketAddr, profile: &str) -> Self {
        // A profile that was used before remembers, and one that is in use is refused.
        let profile = scratch(profile);
        let _ = fs::remove_dir_all(&profile);
        let profile = format!("--user-data-dir={}", profile.display());
        let args = [FLAGS, &[&profile]].concat();
        let options = json!({ "goog:chromeOptions": { "args": args } });
        let browser = ClientBuilder::new(HttpConnector::new())
            .capabilities(options.as_object().unwrap().clone())
            .connect(&format!("http://{driver}"))
            .await
            .expect("chromedriver starts no Chromium: are chromium and chromium-driver installed?");
        Self { browser }
    }

    /// Fills in the form and sends it.
    async fn enter(&self, server: SocketAddr, [name, room]: [&str; 2]) {
        self.browser.goto(&format!("http://{server}/")).await.unwrap();
        for (field, text) in [("#name", name), ("#room", room)] {
            let field = self.browser.find(Locator::Css(field)).await.unwrap();
            field.clear().await.unwrap();
            field.send_keys(text).await.unwrap();
        }
        self.click("#join").await;
    }

    async fn join(&self, server: SocketAddr, name: &str, room: &str) {
        self.enter(server, [name, room]).await;
        self.shows("#status[data-state='connected']").await;
        self.says(&format!("You joined {room}.")).await;
    }

    async fn type_text(&self, text: &str) {
        self.browser.find(Locator::Css("#text")).await.unwrap().send_keys(text).await.unwrap();
    }

    /// Says `text` and waits until the server has confirmed it.
    async fn say(&self, text: &str) {
        self.type_text(text).await;
        self.click("#send").await;
        let own = "contains(@class, 'own') and @data-delivery = 'confirmed'";
        self.finds(&format!("//*[{own} and .//*[text() = '{text}']]")).await;
    }

    /// Waits until `author` is heard saying `text`.
    async fn hears(&self, author: &str, text: &str) {
        let said = format!(".//*[text() = '{author}'] and .//*[text() = '{text}']");
        self.finds(&format!("//*[contains(@class, 'message') and {said}]")).await;
    }

    /// Waits until the log shows `text`, which nobody said.
    async fn says(&self, text: &str) {
        self.finds(&format!("//*[@class = 'event' and contains(text(), '{text}')]")).await;
    }

    async fn messages(&self) -> usize {
        self.browser.find_all(Locator::Css("#log .message")).await.unwrap().len()
    }

    async fn shows(&self, css: &str) {
        let wait = self.browser.wait().at_most(PATIENCE);
        wait.for_element(Locator::Css(css)).await.unwrap_or_else(|it| panic!("no {css}: {it}"));
    }

    async fn finds(&self, xpath: &str) {
        let wait = self.browser.wait().at_most(PATIENCE);
        wait.for_element(Locator::XPath(xpath))
            .await
            .unwrap_or_else(|error| panic!("no {xpath}: {error}"));
    }

    /// Pixels that can be seen by scrolling only.
    async fn hidden_height_of(&self, css: &str) -> u64 {
        let script = "const it = document.querySelector(arguments[0]);
            return it.scrollHeight - it.clientHeight;";
        self.browser.execute(script, vec![json!(css)]).await.unwrap().as_u64().unwrap()
    }

    async fn click(&self, css: &str) {
        self.browser.find(Locator::Css(css)).await.unwrap().click().await.unwrap();
    }

    async fn text_of(&self, css: &str) -> String {
        self.browser.find(Locator::Css(css)).await.unwrap().text().await.unwrap()
    }

    /// Leaves what is on the screen in a file, for a person to look at.
    async fn screenshot(&self, name: &str) {
        fs::write(scratch(name), self.browser.screenshot().await.unwrap()).unwrap();
    }
}

/// The server, chromedriver, and the first pages.
struct Stage {
    server: Program,
    addr: SocketAddr,
    driver: Program,
    pages: [Page; 3],
}

impl Stage {
    async fn set() -> Self {
        let (server, addr) = serve(0).await;
        let mut driver = Program::start("chromedriver", &["--port=0"], &[]);
        let line = driver.line_with("started successfully on port ").await;
        let (_, port) = line.trim_end_matches('.').rsplit_once(' ').unwrap();
        let at = SocketAddr::from(([127, 0, 0, 1], port.parse().unwrap()));
        let [a, b, c] = PROFILES;
        let pages = [Page::open(at, a).await, Page::open(at, b).await, Page::open(at, c).await];
        Self { server, addr, driver, pages }
    }

    /// Closes the browsers, which would outlive chromedriver.
    async fn strike(mut self) {
        for page in &self.pages {
            let _ = page.browser.clone().close().await;
        }
        self.driver.kill().await;
        for profile in PROFILES {
            let _ = fs::remove_dir_all(scratch(profile));
        }
    }
}

async fn serve(port: u16) -> (Program, SocketAddr) {
    let mut server = Program::start(SERVER, &["--port", &port.to_string()], &[]);
    let addr = server.addr().await;
    (server, addr)
}

#[tokio::test]
async fn pages_talk_come_back_after_the_server_died_and_say_what_is_wrong() {
    let mut stage = Stage::set().await;
    let played = AssertUnwindSafe(play(&mut stage)).catch_unwind().await;
    stage.strike().await;
    if let Err(panic) = played {
        std::panic::resume_unwind(panic);
    }
}

async fn play(stage: &mut Stage) {
    let [ada, grace, linus] = &stage.pages;
    ada.join(stage.addr, "ada", "den").await;
    grace.join(stage.addr, "grace", "den").await;
    linus.join(stage.addr, "linus", "elsewhere").await;

    ada.say("hello from ada").await;
    grace.hears("ada", "hello from ada").await;
    grace.say("hello from grace").await;
    ada.hears("grace", "hello from grace").await;
    // What was said in the other room would be in front of the own message by now.
    linus.say("anybody here?").await;
    assert_eq!(linus.messages().await, 1);
    ada.screenshot("page-talking.png").await;

    stage.server.kill().await;
    ada.shows("#status:not([data-state='connected'])").await;
    grace.shows("#status:not([data-state='connected'])").await;
    ada.screenshot("page-waiting.png").await;
    (stage.server, stage.addr) = serve(stage.addr.port()).await;
    ada.says("You are back.").await;
    grace.says("You are back.").await;
    ada.say("ada is back").await;
    grace.hears("ada", "ada is back").await;
    grace.say("so is grace").await;
    ada.hears("grace", "so is grace").await;
    assert_eq!((ada.messages().await, grace.messages().await), (4, 4));
    // Who goes on speaking is not named again, and only the log scrolls.
    for nth in 0..20 {
        ada.say(&format!("line {nth}")).await;
    }
    assert_eq!(ada.hidden_height_of("main").await, 0);
    assert!(ada.hidden_height_of("#log").await > 0);
    ada.screenshot("page-back.png").await;

    let elsewhere = ["--port", "0", "--allow-origin", "http://127.0.0.1:3000"];
    let mut refusing = Program::start(SERVER, &elsewhere, &[]);
    linus.enter(refusing.addr().await, ["linus", "den"]).await;
    linus.says("There is no connection yet").await;
    linus.screenshot("page-no-connection.png").await;
    refusing.kill().await;

    let nobody = ["--port", "0", "--login-by-name", "false"];
    let mut closed = Program::start(SERVER, &nobody, &[]);
    linus.enter(closed.addr().await, ["linus", "den"]).await;
    linus.shows("#join-error:not([hidden])").await;
    let why = linus.text_of("#join-error").await;
    assert_eq!(why, "This server lets nobody in by name: --login-by-name is off.");
    assert_eq!(linus.messages().await, 0);
    linus.screenshot("page-refused.png").await;
    closed.kill().await;

    for [name, room, why] in [
        ["linus", "my den", "A room is 1 to 64 of A-Z a-z 0-9 : _ and -, without spaces."],
        ["linus t", "den", "A name is 1 to 32 of A-Z a-z 0-9 _ and -, without spaces."],
        ["linus", "", "A room is 1 to 64 of A-Z a-z 0-9 : _ and -, without spaces."],
    ] {
        linus.enter(stage.addr, [name, room]).await;
        linus.shows("#join-error:not([hidden])").await;
        assert_eq!(linus.text_of("#join-error").await, why);
        linus.shows(if room == "den" { "#name:focus" } else { "#room:focus" }).await;
    }
    linus.screenshot("page-no-room.png").await;
    // A phone's keyboard puts a space behind each word.
    linus.enter(stage.addr, ["linus ", " den "]).await;
    linus.says("You joined den.").await;
    linus.type_text(&"x".repeat(1001)).await;
    linus.shows("#send:disabled").await;
    linus.type_text("\n").await;
    linus.shows("#notice:not([hidden])").await;
    let why = linus.text_of("#notice").await;
    assert!(why.starts_with("The text is 1001 long, and has at most 1000 characters"), "{why}");
    linus.screenshot("page-too-long.png").await;
    // It can be made shorter and is sent then; nothing was closed meanwhile.
    linus.type_text("\u{8}\n").await;
    linus.shows(".message.own[data-delivery='confirmed']").await;
    ada.hears("linus", &"x".repeat(1000)).await;
    assert_eq!(linus.text_of("#status").await, "connected");
}

/// A file that stays beside the build.
fn scratch(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name)
}

const PROFILES: [&str; 3] = ["chromium-ada", "chromium-grace", "chromium-linus"];

const FLAGS: &[&str] = &[
    "--headless",
    // Chromium refuses to run as root with its sandbox; the page is our own.
    "--no-sandbox",
    "--disable-gpu",
    "--window-size=900,700",
    // The rest keeps it from looking for the rest of the world.
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
];

/// Above the longest wait of the page's first few attempts to reconnect.
const PATIENCE: Duration = Duration::from_secs(60);

/// The built server.
const SERVER: &str = env!("CARGO_BIN_EXE_reference-server");
