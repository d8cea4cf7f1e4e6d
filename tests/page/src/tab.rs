//! One tab: reads its content, and controls its mouse and keyboard.

use base64::{Engine, prelude::BASE64_STANDARD};
use e2e::until;
use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use std::{fmt::Display, path::Path, time::Duration};
use tokio::{net::TcpStream, sync::Mutex, time::timeout};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async, tungstenite::Message};

const ANSWERS_WITHIN: Duration = Duration::from_secs(60);

/// Runs before the page's own script: it records the page's errors.
const WITNESS: &str = "
    window.wrongs = [];
    addEventListener('securitypolicyviolation', (it) => wrongs.push('policy: ' + it.blockedURI));
    addEventListener('error', (it) => wrongs.push('error: ' + it.message));
    addEventListener('unhandledrejection', (it) => wrongs.push('rejected: ' + it.reason));
";

pub struct Tab {
    line: Mutex<Line>,
}

struct Line {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    asked: u64,
}

impl Tab {
    pub(crate) async fn attach(url: &str) -> Self {
        let (socket, _) = connect_async(url).await.expect("the tab lets us in");
        let tab = Self { line: Mutex::new(Line { socket, asked: 0 }) };
        for domain in ["Page.enable", "Runtime.enable"] {
            tab.call(domain, json!({})).await;
        }
        let source = json!({ "source": WITNESS });
        tab.call("Page.addScriptToEvaluateOnNewDocument", source).await;
        tab
    }

    pub async fn call(&self, method: &str, params: Value) -> Value {
        let mut line = self.line.lock().await;
        line.asked += 1;
        let id = line.asked;
        let request = json!({ "id": id, "method": method, "params": params }).to_string();
        line.socket.send(Message::text(request)).await.expect("the tab listens");
        let answered = async {
            loop {
                let message = line.socket.next().await.expect("the tab is open");
                let Message::Text(text) = message.expect("it can be read") else { continue };
                let answer: Value = serde_json::from_str(&text).expect("it is JSON");
                if answer["id"] == id {
                    return answer;
                }
            }
        };
        let answer = timeout(ANSWERS_WITHIN, answered).await.expect("the tab answers in time");
        assert!(answer["error"].is_null(), "{method}: {}", answer["error"]);
        answer["result"].clone()
    }

    pub async fn open(&self, url: &str) {
        self.call("Page.navigate", json!({ "url": url })).await;
        self.shows("document.readyState === 'complete'").await;
    }

    /// The value of this expression in the page.
    pub async fn eval(&self, script: &str) -> Value {
        let params = json!({
            "expression": script, "returnByValue": true, "awaitPromise": true, "userGesture": true,
        });
        let result = self.call("Runtime.evaluate", params).await;
        assert!(result["exceptionDetails"].is_null(), "{script}: {}", result["exceptionDetails"]);
        result["result"]["value"].clone()
    }

    pub async fn text(&self, selector: &str) -> String {
        let script = format!("document.querySelector({})?.textContent ?? ''", json!(selector));
        self.eval(&script).await.as_str().expect("it is text").trim().to_owned()
    }

    /// Waits until this expression is true in the page.
    pub async fn shows(&self, condition: &str) {
        until(|| async {
            // Between two pages there is none.
            let script = format!(
                "(() => {{ try {{ return !!({condition}) }} catch {{ return false }} }})()"
            );
            if self.eval(&script).await == true {
                return Ok(());
            }
            let seen = self.eval("document.body?.innerText ?? ''").await;
            Err(format!("{condition}; the page shows {seen}"))
        })
        .await;
    }

    /// Waits until the text of the first such element contains this.
    pub async fn says(&self, selector: &str, part: &str) {
        let (selector, part) = (json!(selector), json!(part));
        let script = format!("document.querySelector({selector}).textContent.includes({part})");
        self.shows(&script).await;
    }

    /// Clicks with the mouse, at the element's place on the screen.
    pub async fn click(&self, selector: &str) {
        let notes = format!(
            "window.isHit = false;
            addEventListener('click', ({{ target }}) => {{
                const it = document.querySelector({});
                window.isHit = Boolean(it) && (it.contains(target) || target.contains(it));
            }}, {{ capture: true, once: true }})",
            json!(selector)
        );
        // What moved meanwhile is pressed again. A click may have led to another page.
        until(|| async {
            self.eval(&notes).await;
            let point = self.hold(selector).await;
            self.release(&point).await;
            let is_hit = self.eval("window.isHit !== false").await;
            if is_hit == true { Ok(()) } else { Err(format!("{selector} was missed")) }
        })
        .await;
    }

    /// Presses the button there, and returns where it is.
    pub async fn hold(&self, selector: &str) -> Value {
        let script = format!(
            "(() => {{
                const it = document.querySelector({});
                it.scrollIntoView({{ block: 'center', behavior: 'instant' }});
                const at = it.getBoundingClientRect();
                const point = [at.x + at.width / 2, at.y + at.height / 2];
                const top = document.elementFromPoint(...point);
                return it.contains(top) || top.contains(it) ? point : null;
            }})()",
            json!(selector)
        );
        let point = self.eval(&script).await;
        assert!(point.is_array(), "{selector} is covered by something else");
        self.mouse("mousePressed", &point).await;
        point
    }

    pub async fn release(&self, point: &Value) {
        self.mouse("mouseReleased", point).await;
    }

    async fn mouse(&self, kind: &str, point: &Value) {
        let params = json!({
            "type": kind, "x": point[0], "y": point[1], "button": "left", "clickCount": 1,
        });
        self.call("Input.dispatchMouseEvent", params).await;
    }

    pub async fn press(&self, key: &str) {
        let code = match key {
            "Tab" => 9,
            "Enter" => 13,
            "ArrowDown" => 40,
            _ => 0,
        };
        let text = if key == "Enter" { "\r" } else { "" };
        for kind in [if text.is_empty() { "rawKeyDown" } else { "keyDown" }, "keyUp"] {
            let params = json!({
                "type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code,
                "text": if kind == "keyDown" { text } else { "" },
            });
            self.call("Input.dispatchKeyEvent", params).await;
        }
    }

    /// Emulates a screen of this size, light or dark.
    pub async fn looks(&self, width: u32, height: u32, scheme: &str) {
        let size = json!({
            "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600,
        });
        self.call("Emulation.setDeviceMetricsOverride", size).await;
        let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        self.call("Emulation.setEmulatedMedia", json!({ "features": features })).await;
    }

    /// A screenshot of the whole page.
    pub async fn picture(&self, file: impl AsRef<Path>) {
        let params = json!({ "format": "png", "captureBeyondViewport": true });
        let shot = self.call("Page.captureScreenshot", params).await;
        let data = shot["data"].as_str().expect("a picture");
        let bytes = BASE64_STANDARD.decode(data).expect("it is base64");
        std::fs::write(file, bytes).expect("it can be written");
    }

    /// Fails if there has been any error in the page.
    pub async fn is_content(&self, when: impl Display) {
        assert_eq!(self.eval("wrongs").await, json!([]), "{when}");
    }
}
