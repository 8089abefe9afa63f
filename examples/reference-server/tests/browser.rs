//! The reference server's page in a real browser.
#![cfg(test)]

mod page_support;

use std::{net::SocketAddr, panic::AssertUnwindSafe};

use futures_util::FutureExt;
use serde_json::json;
use test_support::program::Program;

use self::page_support::{Page, driver};

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
        let (driver, at) = driver().await;
        let [a, b, c] = PROFILES;
        let pages = [Page::open(at, a).await, Page::open(at, b).await, Page::open(at, c).await];
        Self { server, addr, driver, pages }
    }

    fn url(&self) -> String {
        format!("http://{}/", self.addr)
    }

    async fn strike(mut self) {
        for (page, profile) in self.pages.iter().zip(PROFILES) {
            page.close(profile).await;
        }
        self.driver.kill().await;
    }
}

async fn serve(port: u16) -> (Program, SocketAddr) {
    started(&["--port", &port.to_string()]).await
}

async fn started(args: &[&str]) -> (Program, SocketAddr) {
    let mut server = Program::start(SERVER, args, &[]);
    let addr = server.addr().await;
    (server, addr)
}

#[tokio::test]
async fn pages_talk_come_back_after_the_server_died_and_say_what_is_wrong() {
    let mut stage = Stage::set().await;
    let played = async {
        talk(&mut stage).await;
        be_kept_out(&mut stage).await;
        go_back_and_forth(&mut stage).await;
        write_too_much(&mut stage).await;
    };
    let played = AssertUnwindSafe(played).catch_unwind().await;
    stage.strike().await;
    if let Err(panic) = played {
        std::panic::resume_unwind(panic);
    }
}

async fn talk(stage: &mut Stage) {
    let url = stage.url();
    let [ada, grace, linus] = &stage.pages;
    ada.goto(&url).await;
    ada.screenshots("page-form").await;
    ada.join(&url, "ada", "den").await;
    grace.join(&url, "grace", "den").await;
    linus.join(&url, "linus", "elsewhere").await;

    ada.say("hello from ada").await;
    grace.hears("ada", "hello from ada").await;
    grace.say("hello from grace").await;
    ada.hears("grace", "hello from grace").await;
    // What was said in the other room would be in front of the own message by now.
    linus.say("anybody here?").await;
    assert_eq!(linus.messages().await, 1);
    ada.screenshots("page-talking").await;

    // One banner says that there is no connection, above the composer.
    stage.server.kill().await;
    for page in [ada, grace] {
        page.shows("#banner[data-state='waiting']:not([hidden])").await;
    }
    let said = ada.text_of("#banner-text").await;
    assert!(said.contains("Trying again in ") && !said.contains("1006"), "{said}");
    assert_eq!(ada.count("#log .event").await, 1, "it is said once");
    ada.screenshots("page-waiting").await;
    (stage.server, stage.addr) = serve(stage.addr.port()).await;
    ada.says("You are back.").await;
    grace.says("You are back.").await;
    assert!(ada.is_hidden("#banner").await);
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
    // The time is beside the text: a line of text is a line of the log.
    let times = ada.measure("#log .own:last-child time", "it.getBoundingClientRect().top").await;
    let texts = ada.measure("#log .own:last-child .text", "it.getBoundingClientRect().top").await;
    assert!((times.as_f64().unwrap() - texts.as_f64().unwrap()).abs() < 8.0, "{times} {texts}");
    ada.screenshots("page-back").await;
}

/// Who does not get in stays in the form, which says why, once, where it is.
async fn be_kept_out(stage: &mut Stage) {
    let url = stage.url();
    let [_, _, linus] = &stage.pages;
    let (mut gone, addr) = serve(0).await;
    linus.goto(&format!("http://{addr}/")).await;
    gone.kill().await;
    linus.click("#join").await;
    linus.shows("#join-error:not([hidden])").await;
    assert!(linus.text_of("#join-error").await.starts_with("There is no connection"));
    assert!(linus.is_hidden("#conversation").await);
    linus.shows("#join[aria-disabled='false']").await;
    linus.screenshots("page-server-down").await;
    // It is there again: nothing needs to be typed anew.
    let (mut back, _) = serve(addr.port()).await;
    linus.click("#join").await;
    linus.says("You joined lobby.").await;
    back.kill().await;

    let (mut refusing, addr) =
        started(&["--port", "0", "--allow-origin", "http://127.0.0.1:3000"]).await;
    linus.enter(&format!("http://{addr}/"), ["linus", "den"]).await;
    linus.shows("#join-error:not([hidden])").await;
    refusing.kill().await;

    let (mut closed, addr) = started(&["--port", "0", "--login-by-name", "false"]).await;
    linus.enter(&format!("http://{addr}/"), ["linus", "den"]).await;
    linus.shows("#join-error:not([hidden])").await;
    let why = linus.text_of("#join-error").await;
    assert_eq!(why, "This server lets nobody in by name: --login-by-name is off.");
    closed.kill().await;

    let (no_room, no_name) = (
        "A room is 1 to 64 of A-Z a-z 0-9 : _ and -, without spaces.",
        "A name is 1 to 32 of A-Z a-z 0-9 _ and -, without spaces.",
    );
    for ([name, room], at, why) in [
        (["linus", "my den"], "#room", no_room),
        (["linus t", "den"], "#name", no_name),
        (["linus", ""], "#room", no_room),
    ] {
        linus.enter(&url, [name, room]).await;
        linus.shows(&format!("{at}:focus")).await;
        assert_eq!(linus.text_of(&format!("{at}-error")).await, why);
        assert_eq!(linus.count(":is(.wrong, .error):not([hidden])").await, 1, "{name} {room}");
        // Its hint says the same.
        assert!(linus.is_hidden(&format!("{at}-hint")).await);
    }
    linus.screenshots("page-wrong-room").await;
}

/// The address is the room, and the browser's own buttons do what they always do.
async fn go_back_and_forth(stage: &mut Stage) {
    let url = stage.url();
    let [ada, _, linus] = &stage.pages;
    let long = "a-room-with-a-name-that-is-as-long-as-the-name-of-a-room-may-be1";
    linus.goto(&format!("{url}#{long}")).await;
    linus.browser.refresh().await.unwrap();
    assert_eq!(linus.value_of("#room").await, long);
    linus.enter(&format!("{url}#{long}"), ["linus", long]).await;
    linus.says("You joined").await;
    assert_eq!(linus.fragment().await, format!("{long}/linus"));
    // On one line, however narrow.
    linus.look(320, "light").await;
    let height = linus.measure("#room-name", "it.getBoundingClientRect().height").await;
    assert!(height.as_f64().unwrap() < 30.0, "{height}");
    linus.screenshots("page-long-name").await;

    linus.browser.back().await.unwrap();
    linus.shows("#entrance:not([hidden])").await;
    assert!(linus.is_hidden("#conversation").await);
    linus.browser.execute("history.forward()", vec![]).await.unwrap();
    linus.says("You joined").await;
    // A reload in a room is back in it.
    linus.browser.refresh().await.unwrap();
    linus.says("You joined").await;
    linus.click("#invite").await;
    linus.says(&format!("#{long}")).await;
    linus.click("#leave").await;
    linus.shows("#entrance:not([hidden])").await;
    // A phone's keyboard puts a space behind each word.
    linus.enter(&url, ["linus ", " den "]).await;
    linus.says("You joined den.").await;
    assert_eq!(ada.fragment().await, "den/ada");
}

async fn write_too_much(stage: &mut Stage) {
    let [ada, _, linus] = &stage.pages;
    linus.type_text(&"x".repeat(899)).await;
    assert!(linus.is_hidden("#counter").await);
    linus.type_text("x").await;
    assert_eq!(linus.text_of("#counter").await, "900 / 1000");
    linus.type_text(&"x".repeat(101)).await;
    linus.shows("#send:disabled").await;
    linus.type_text("\n").await;
    linus.shows("#notice:not([hidden])").await;
    let why = linus.text_of("#notice").await;
    assert!(why.starts_with("The text is 1001 long, and has at most 1000 characters"), "{why}");
    linus.screenshots("page-too-long").await;
    // It can be made shorter and is sent then; nothing was closed meanwhile.
    linus.type_text("\u{8}\n").await;
    linus.shows(".message.own[data-delivery='confirmed']").await;
    ada.hears("linus", &"x".repeat(1000)).await;
    assert_eq!(linus.text_of("#status").await, "connected");
    assert_eq!(linus.measure("#log", "it.scrollWidth - it.clientWidth").await, json!(0));
}

const PROFILES: [&str; 3] = ["chromium-ada", "chromium-grace", "chromium-linus"];

/// The built server.
const SERVER: &str = env!("CARGO_BIN_EXE_reference-server");
