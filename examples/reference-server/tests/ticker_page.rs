//! The page of `examples/ticker` in a real browser.
#![cfg(test)]

mod page_support;

use std::panic::AssertUnwindSafe;

use futures_util::FutureExt;
use serde_json::json;
use test_support::program::{Peer, Program, built};

use self::page_support::{Page, driver};

#[tokio::test]
async fn prices_are_drawn_and_a_pointer_is_shown_while_its_owner_is_there() {
    let mut ticker = Program::start(built("examples/ticker"), &["127.0.0.1:0"], &[]);
    let (mut driver, at) = driver().await;
    let page = Page::open(at, PROFILE).await;
    let looked = AssertUnwindSafe(look(&mut ticker, &page)).catch_unwind().await;
    page.close(PROFILE).await;
    driver.kill().await;
    if let Err(panic) = looked {
        std::panic::resume_unwind(panic);
    }
}

async fn look(ticker: &mut Program, page: &Page) {
    let addr = ticker.addr().await;
    page.goto(&format!("http://{addr}/")).await;
    page.shows("#state[data-state='connected']").await;
    page.shows("#list button:nth-child(24)").await;
    page.click("#list button:nth-child(24)").await;
    page.finds("//*[@id = 'symbol' and text() = 'YEW']").await;

    let mut guest = Peer::connect(addr).await;
    guest.send("guest1234").await;
    guest.say(json!({ "type": "join", "room": "cursors" })).await;
    assert_eq!(guest.hear().await["code"], "joined");
    guest.say(json!({ "type": "point", "room": "cursors", "x": 500, "y": 250 })).await;
    page.finds("//*[@class = 'cursor' and text() = 'guest1234']").await;
    let drawn = "it.getContext('2d').getImageData(0, 0, it.width, it.height).data.some((it) => it)";
    for canvas in ["#large", "#list button:nth-child(1) canvas"] {
        assert_eq!(page.measure(canvas, drawn).await, json!(true), "{canvas}");
    }
    page.screenshots("ticker").await;

    drop(guest);
    page.shows("body:not(:has(.cursor))").await;
    ticker.kill().await;
    page.shows("#state[data-state='waiting']").await;
}

const PROFILE: &str = "chromium-ticker";
