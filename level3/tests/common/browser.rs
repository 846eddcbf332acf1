//! A headless Chromium that tests drive as a person would: keys, clicks, looking and waiting.
//!
//! It speaks the DevTools protocol over two pipes (`--remote-debugging-pipe`: JSON texts, each with
//! a NUL byte behind it), so no port is needed and the browser ends with the test. Everything that
//! takes time is waited for by a condition, with patience for a busy machine.

#![allow(dead_code, reason = "each user has its own part")]

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use base64::prelude::{BASE64_STANDARD as BASE64, Engine as _};
use serde_json::{Value, json};
use tempfile::TempDir;

/// How long a page may take for what must happen.
const PATIENCE: Duration = Duration::from_mins(2);

/// How often a condition is looked at.
const GLANCE: Duration = Duration::from_millis(10);

/// A browser with one tab.
pub struct Browser {
    process: Child,
    input: ChildStdin,
    messages: Receiver<Value>,
    session: String,
    last_id: u64,
    /// What scripts have thrown and not caught, and what was refused by the page's policy.
    pub complaints: Vec<String>,
    _profile: TempDir,
}

/// The browser's program, if there is one.
fn program() -> Option<&'static str> {
    let names = ["chromium", "chromium-browser", "google-chrome"];
    names.into_iter().find(|name| {
        let version = Command::new(name).arg("--version").output();
        version.is_ok_and(|run| run.status.success())
    })
}

impl Browser {
    /// Starts a browser; says so and returns nothing where none is installed.
    pub fn start() -> Option<Self> {
        Self::start_with(&[])
    }

    /// Likewise, with further arguments.
    pub fn start_with(arguments: &[&str]) -> Option<Self> {
        let Some(program) = program() else {
            eprintln!("SKIPPED: no Chromium is installed, so the page was not looked at");
            return None;
        };
        let profile = tempfile::tempdir().unwrap();
        // The browser reads descriptor 3 and writes 4.
        let mut process = Command::new("sh")
            .args(["-c", r#"exec "$0" "$@" 3<&0 4>&1 </dev/null >/dev/null"#])
            .arg(program)
            .args(["--headless", "--no-sandbox", "--disable-gpu"])
            .args(["--disable-dev-shm-usage", "--no-first-run"])
            .args(["--disable-background-networking", "--remote-debugging-pipe"])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .args(arguments)
            .arg("about:blank")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let output = BufReader::new(process.stdout.take().unwrap());
        let (sender, messages) = channel();
        std::thread::spawn(move || {
            for message in output.split(0).map_while(Result::ok) {
                let message = serde_json::from_slice(&message).unwrap();
                if sender.send(message).is_err() {
                    return;
                }
            }
        });
        let mut browser = Self {
            input: process.stdin.take().unwrap(),
            process,
            messages,
            session: String::new(),
            last_id: 0,
            complaints: Vec::new(),
            _profile: profile,
        };
        let targets = browser.call("Target.getTargets", json!({}));
        let targets = targets["targetInfos"].as_array().unwrap();
        let page = targets.iter().find(|target| target["type"] == "page");
        let attach = json!({"targetId": page.unwrap()["targetId"], "flatten": true});
        let attached = browser.call("Target.attachToTarget", attach);
        let session = attached["sessionId"].as_str().unwrap();
        session.clone_into(&mut browser.session);
        for domain in ["Page", "Runtime", "Log"] {
            browser.call(&format!("{domain}.enable"), json!({}));
        }
        browser.size(1000, 700);
        Some(browser)
    }

    /// Calls a method of the protocol and returns its result.
    pub fn call(&mut self, method: &str, parameters: Value) -> Value {
        self.try_call(method, parameters)
            .unwrap_or_else(|error| panic!("{method}: {error}"))
    }

    fn try_call(&mut self, method: &str, parameters: Value) -> Result<Value, Value> {
        self.last_id += 1;
        let mut message = json!({"id": self.last_id, "method": method});
        message["params"] = parameters;
        if !self.session.is_empty() {
            message["sessionId"] = self.session.clone().into();
        }
        let mut bytes = message.to_string().into_bytes();
        bytes.push(0);
        self.input.write_all(&bytes).unwrap();
        loop {
            let mut message = self
                .messages
                .recv_timeout(PATIENCE)
                .unwrap_or_else(|error| {
                    panic!("{method}: the browser says nothing: {error}");
                });
            if message["id"] == self.last_id {
                return match message.get_mut("error") {
                    Some(error) => Err(error.take()),
                    None => Ok(message["result"].take()),
                };
            }
            self.note(&message);
        }
    }

    /// Remembers what an event complains of.
    fn note(&mut self, event: &Value) {
        let parameters = &event["params"];
        let complaint = match event["method"].as_str() {
            Some("Runtime.exceptionThrown") => &parameters["exceptionDetails"],
            // What the network had to say, such as a status that is not 200, is the page's to show.
            Some("Log.entryAdded")
                if parameters["entry"]["level"] == "error"
                    && parameters["entry"]["source"] != "network" =>
            {
                &parameters["entry"]
            }
            _ => return,
        };
        self.complaints.push(complaint.to_string());
    }

    /// Goes to an address and waits until it has been loaded.
    pub fn open(&mut self, url: &str) {
        self.call("Page.navigate", json!({"url": url}));
        // Going to another fragment loads nothing.
        self.until(&format!(
            "location.href === {} && document.readyState === 'complete'",
            Value::from(url)
        ));
    }

    /// The value of an expression in the page; a promise is waited for.
    pub fn value(&mut self, expression: &str) -> Value {
        self.try_value(expression)
            .unwrap_or_else(|error| panic!("{expression}: {error}"))
    }

    fn try_value(&mut self, expression: &str) -> Result<Value, Value> {
        let mut outcome = self.try_call(
            "Runtime.evaluate",
            json!({"expression": expression, "awaitPromise": true, "returnByValue": true}),
        )?;
        match outcome.get_mut("exceptionDetails") {
            Some(thrown) => Err(thrown.take()),
            None => Ok(outcome["result"]["value"].take()),
        }
    }

    /// Waits until an expression is true. What it throws on a page that is being loaded is no
    /// matter yet.
    pub fn until(&mut self, expression: &str) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let outcome = self.try_value(&format!("Boolean({expression})"));
            if outcome == Ok(Value::Bool(true)) {
                return;
            }
            if Instant::now() > deadline {
                let page = self.try_value(
                    "location.href + '\\n' + document.activeElement?.outerHTML + '\\n' + document.body?.innerText",
                );
                panic!(
                    "not so within {PATIENCE:?}: {expression}: {outcome:?}\n{page:?}\n{:?}",
                    self.complaints
                );
            }
            std::thread::sleep(GLANCE);
        }
    }

    /// Waits until some text is shown in the element that a selector names.
    pub fn until_shown(&mut self, selector: &str, text: &str) {
        self.until(&format!(
            "document.querySelector({})?.innerText.includes({})",
            Value::from(selector),
            Value::from(text)
        ));
    }

    /// Waits until the results of a query that was typed are there, and not those of its beginning.
    pub fn until_results(&mut self, query: &str) {
        self.until(&format!(
            "document.querySelector('#results').dataset.query === {} && \
             document.querySelector('#results').getAttribute('aria-busy') === 'false'",
            Value::from(query)
        ));
    }

    /// Presses a key that types nothing, such as `Enter`, `ArrowDown` or `Tab`.
    pub fn press(&mut self, key: &str) {
        self.press_with(key, 0);
    }

    /// Likewise, with modifiers: 1 Alt, 2 Ctrl, 4 Meta, 8 Shift.
    pub fn press_with(&mut self, key: &str, modifiers: u8) {
        let code = match key {
            "Enter" => 13,
            "Tab" => 9,
            "Escape" => 27,
            "ArrowUp" => 38,
            "ArrowDown" => 40,
            _ => 0,
        };
        let text = if key == "Enter" { "\r" } else { "" };
        let event = |kind: &str| {
            json!({
                "type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code,
                "modifiers": modifiers, "text": if kind == "keyDown" { text } else { "" },
            })
        };
        self.call("Input.dispatchKeyEvent", event("keyDown"));
        self.call("Input.dispatchKeyEvent", event("keyUp"));
    }

    /// Types text, a key for each character.
    pub fn keys(&mut self, text: &str) {
        for character in text.chars() {
            for kind in ["keyDown", "keyUp"] {
                let typed = if kind == "keyDown" {
                    character.to_string()
                } else {
                    String::new()
                };
                let event = json!({"type": kind, "key": character.to_string(), "text": typed});
                self.call("Input.dispatchKeyEvent", event);
            }
        }
    }

    /// Clicks in the middle of what a selector names, wherever that is.
    pub fn click(&mut self, selector: &str) {
        self.click_with(selector, 0);
    }

    /// Likewise, with modifiers as in [`Browser::press_with`].
    pub fn click_with(&mut self, selector: &str, modifiers: u8) {
        let quoted = Value::from(selector);
        self.until(&format!("document.querySelector({quoted})"));
        // At once, and where it lies when scrolling has come to its end.
        let place = self.value(&format!(
            "(() => {{ const it = document.querySelector({quoted}); \
             it.scrollIntoView({{block: 'center', behavior: 'instant'}}); \
             const box = it.getClientRects()[0]; \
             return [box.x + Math.min(box.width / 2, 200), box.y + box.height / 2]; }})()"
        ));
        for kind in ["mousePressed", "mouseReleased"] {
            let event = json!({
                "type": kind, "x": place[0], "y": place[1], "button": "left", "clickCount": 1,
                "modifiers": modifiers,
            });
            self.call("Input.dispatchMouseEvent", event);
        }
    }

    /// Gives the window a size.
    pub fn size(&mut self, width: u32, height: u32) {
        self.call(
            "Emulation.setDeviceMetricsOverride",
            json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}),
        );
    }

    /// Makes the user one who likes it dark, or light.
    pub fn prefer(&mut self, scheme: &str) {
        let feature = json!({"name": "prefers-color-scheme", "value": scheme});
        self.call("Emulation.setEmulatedMedia", json!({"features": [feature]}));
    }

    /// Leaves a picture of what is in the window, for people to look at.
    pub fn picture(&mut self, name: &str) {
        let picture = self.call("Page.captureScreenshot", json!({"format": "png"}));
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
        let bytes = BASE64.decode(picture["data"].as_str().unwrap()).unwrap();
        assert!(bytes.starts_with(b"\x89PNG"));
        std::fs::write(&path, bytes).unwrap();
        eprintln!("picture: {}", path.display());
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}
