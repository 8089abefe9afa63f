//! The reference server's page, in Chromium.
#![allow(dead_code, reason = "each test binary uses some of it")]

use std::{fs, net::SocketAddr, path::PathBuf, time::Duration};

use fantoccini::{Client, ClientBuilder, Locator, wd::WebDriverCompatibleCommand};
use http::Method;
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};
use test_support::program::Program;
use url::{ParseError, Url};

/// A page, in a browser of its own.
pub(crate) struct Page {
    pub(crate) browser: Client,
}

/// chromedriver, and where it listens.
pub(crate) async fn driver() -> (Program, SocketAddr) {
    let mut driver = Program::start("chromedriver", &["--port=0"], &[]);
    let line = driver.line_with("started successfully on port ").await;
    let (_, port) = line.trim_end_matches('.').rsplit_once(' ').unwrap();
    (driver, SocketAddr::from(([127, 0, 0, 1], port.parse().unwrap())))
}

impl Page {
    pub(crate) async fn open(driver: SocketAddr, profile: &str) -> Self {
        // A profile that was used before remembers, and one that is in use is refused.
        let profile = scratch(profile);
        let _ = fs::remove_dir_all(&profile);
        let profile = format!("--user-data-dir={}", profile.display());
        let args = [FLAGS, &[&profile]].concat();
        // The certificates of tests sign themselves.
        let capabilities =
            json!({ "acceptInsecureCerts": true, "goog:chromeOptions": { "args": args } });
        let browser = ClientBuilder::new(HttpConnector::new())
            .capabilities(capabilities.as_object().unwrap().clone())
            .connect(&format!("http://{driver}"))
            .await
            .expect("chromedriver starts no Chromium: are chromium and chromium-driver installed?");
        Self { browser }
    }

    /// A browser would outlive chromedriver.
    pub(crate) async fn close(&self, profile: &str) {
        let _ = self.browser.clone().close().await;
        let _ = fs::remove_dir_all(scratch(profile));
    }

    pub(crate) async fn goto(&self, url: &str) {
        self.browser.goto(url).await.unwrap();
    }

    /// Fills in the form of the page at `url` and sends it.
    pub(crate) async fn enter(&self, url: &str, [name, room]: [&str; 2]) {
        self.goto(url).await;
        for (field, text) in [("#name", name), ("#room", room)] {
            let field = self.browser.find(Locator::Css(field)).await.unwrap();
            field.clear().await.unwrap();
            field.send_keys(text).await.unwrap();
        }
        self.click("#join").await;
    }

    pub(crate) async fn join(&self, url: &str, name: &str, room: &str) {
        self.enter(url, [name, room]).await;
        self.shows("#status[data-state='connected']").await;
        self.says(&format!("You joined {room}.")).await;
    }

    pub(crate) async fn type_text(&self, text: &str) {
        self.browser.find(Locator::Css("#text")).await.unwrap().send_keys(text).await.unwrap();
    }

    /// Says `text` and waits until the server has confirmed it.
    pub(crate) async fn say(&self, text: &str) {
        self.type_text(text).await;
        self.click("#send").await;
        let own = "contains(@class, 'own') and @data-delivery = 'confirmed'";
        self.finds(&format!("//*[{own} and .//*[text() = '{text}']]")).await;
    }

    /// Waits until `author` is heard saying `text`.
    pub(crate) async fn hears(&self, author: &str, text: &str) {
        let said = format!(".//*[text() = '{author}'] and .//*[text() = '{text}']");
        self.finds(&format!("//*[contains(@class, 'message') and {said}]")).await;
    }

    /// Waits until the log shows `text`, which nobody said.
    pub(crate) async fn says(&self, text: &str) {
        self.finds(&format!("//*[@class = 'event' and contains(text(), '{text}')]")).await;
    }

    pub(crate) async fn messages(&self) -> usize {
        self.count("#log .message").await
    }

    pub(crate) async fn count(&self, css: &str) -> usize {
        self.browser.find_all(Locator::Css(css)).await.unwrap().len()
    }

    pub(crate) async fn shows(&self, css: &str) {
        let wait = self.browser.wait().at_most(PATIENCE);
        wait.for_element(Locator::Css(css)).await.unwrap_or_else(|it| panic!("no {css}: {it}"));
    }

    pub(crate) async fn finds(&self, xpath: &str) {
        let wait = self.browser.wait().at_most(PATIENCE);
        wait.for_element(Locator::XPath(xpath))
            .await
            .unwrap_or_else(|error| panic!("no {xpath}: {error}"));
    }

    pub(crate) async fn is_hidden(&self, css: &str) -> bool {
        !self.browser.find(Locator::Css(css)).await.unwrap().is_displayed().await.unwrap()
    }

    /// What `script` returns of the element.
    pub(crate) async fn measure(&self, css: &str, script: &str) -> Value {
        let script = format!("const it = document.querySelector(arguments[0]); return {script};");
        self.browser.execute(&script, vec![json!(css)]).await.unwrap()
    }

    /// Pixels that can be seen by scrolling only.
    pub(crate) async fn hidden_height_of(&self, css: &str) -> u64 {
        self.measure(css, "it.scrollHeight - it.clientHeight").await.as_u64().unwrap()
    }

    pub(crate) async fn click(&self, css: &str) {
        self.browser.find(Locator::Css(css)).await.unwrap().click().await.unwrap();
    }

    pub(crate) async fn text_of(&self, css: &str) -> String {
        self.browser.find(Locator::Css(css)).await.unwrap().text().await.unwrap()
    }

    pub(crate) async fn value_of(&self, css: &str) -> String {
        let field = self.browser.find(Locator::Css(css)).await.unwrap();
        field.prop("value").await.unwrap().unwrap()
    }

    /// What is behind the host in the address.
    pub(crate) async fn fragment(&self) -> String {
        let url = self.browser.current_url().await.unwrap();
        url.fragment().unwrap_or_default().to_owned()
    }

    /// Shows the page in a window of this width and scheme, as a device does.
    pub(crate) async fn look(&self, width: u32, scheme: &str) {
        let height = if width > 500 { 800 } else { 700 };
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500 });
        let media = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        for (name, params) in
            [("Emulation.setDeviceMetricsOverride", size), ("Emulation.setEmulatedMedia", media)]
        {
            self.browser.issue_cmd(DevTools { name, params }).await.unwrap();
        }
    }

    /// Leaves what is on the screen in a file, for a person to look at.
    pub(crate) async fn screenshot(&self, name: &str) {
        fs::write(scratch(name), self.browser.screenshot().await.unwrap()).unwrap();
    }

    /// One of each width and scheme. Nothing is wider than the window in any of them.
    pub(crate) async fn screenshots(&self, name: &str) {
        for (width, scheme) in LOOKS {
            self.look(width, scheme).await;
            let over = self.measure("html", "it.scrollWidth - innerWidth").await;
            assert_eq!(over, json!(0), "{name} is too wide at {width}");
            self.screenshot(&format!("{name}-{width}-{scheme}.png")).await;
        }
        self.look(900, "light").await;
    }
}

/// A laptop, a phone, and the smallest that there is; each by day and by night.
const LOOKS: [(u32, &str); 6] =
    [(1280, "light"), (1280, "dark"), (390, "light"), (390, "dark"), (320, "light"), (320, "dark")];

/// A command that WebDriver does not have.
#[derive(Debug)]
struct DevTools {
    name: &'static str,
    params: Value,
}

impl WebDriverCompatibleCommand for DevTools {
    fn endpoint(&self, base: &Url, session: Option<&str>) -> Result<Url, ParseError> {
        base.join(&format!("session/{}/goog/cdp/execute", session.unwrap_or_default()))
    }

    fn method_and_body(&self, _: &Url) -> (Method, Option<String>) {
        let body = json!({ "cmd": self.name, "params": self.params });
        (Method::POST, Some(body.to_string()))
    }
}

/// A file that stays beside the build.
pub(crate) fn scratch(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name)
}

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
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
