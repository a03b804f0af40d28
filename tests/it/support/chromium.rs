//! A real browser without a screen, driven over its debugging pipe: documents end in a NUL byte, descriptor 3 is read by it and
//! 4 written. Where it is missing the run says so, and fails if `TIDINGS_REQUIRE_CHROMIUM=1`.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use super::daemon::until;

const PLACES: [&str; 3] = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];

pub struct Chromium {
    child: Child,
    say: File,
    hear: BufReader<File>,
    session: Option<String>,
    count: u64,
    _profile: tempfile::TempDir,
}

impl Chromium {
    pub fn start() -> Option<Chromium> {
        let Some(program) = PLACES.iter().find(|place| std::path::Path::new(place).exists()) else {
            let required = std::env::var("TIDINGS_REQUIRE_CHROMIUM").is_ok_and(|value| value == "1");
            assert!(!required, "TIDINGS_REQUIRE_CHROMIUM=1, but there is no Chromium");
            println!("no browser is tested: there is no Chromium");
            return None;
        };
        let profile = tempfile::tempdir().unwrap();
        let (theirs_in, say) = std::io::pipe().unwrap();
        let (hear, theirs_out) = std::io::pipe().unwrap();
        let (reads, writes) = (theirs_in.as_raw_fd(), theirs_out.as_raw_fd());
        let mut command = Command::new(program);
        command
            .args([
                "--headless=new",
                "--no-sandbox",
                "--disable-gpu",
                "--remote-debugging-pipe",
                "--no-first-run",
            ])
            .args(["--disable-background-networking", "--disable-dev-shm-usage", "--hide-scrollbars"])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        // SAFETY: only calls that are safe between fork and exec. Both are copied out of the way first, because either may be 3
        // or 4 itself.
        unsafe {
            command.pre_exec(move || {
                let (reads, writes) =
                    (libc::fcntl(reads, libc::F_DUPFD, 10), libc::fcntl(writes, libc::F_DUPFD, 10));
                if libc::dup2(reads, 3) < 0 || libc::dup2(writes, 4) < 0 {
                    return Err(std::io::Error::last_os_error());
                }
                Ok(())
            });
        }
        let child = command.spawn().unwrap();
        drop((theirs_in, theirs_out));
        let (say, hear) = (std::os::fd::OwnedFd::from(say).into(), std::os::fd::OwnedFd::from(hear).into());
        let mut browser =
            Chromium { child, say, hear: BufReader::new(hear), session: None, count: 0, _profile: profile };
        let target = browser.call("Target.createTarget", json!({ "url": "about:blank" }));
        let attach = json!({ "targetId": target["targetId"], "flatten": true });
        let attached = browser.call("Target.attachToTarget", attach);
        browser.session = Some(attached["sessionId"].as_str().unwrap().to_owned());
        browser.call("Page.enable", json!({}));
        Some(browser)
    }

    /// One command and its answer; what happens meanwhile is passed over.
    pub fn call(&mut self, method: &str, parameters: Value) -> Value {
        self.ask(method, parameters).unwrap_or_else(|error| panic!("{method}: {error}"))
    }

    fn ask(&mut self, method: &str, parameters: Value) -> Result<Value, Value> {
        self.count += 1;
        let mut command = json!({ "id": self.count, "method": method, "params": parameters });
        if let Some(session) = &self.session {
            command["sessionId"] = session.as_str().into();
        }
        self.say.write_all(format!("{command}\0").as_bytes()).unwrap();
        loop {
            let mut document = Vec::new();
            self.hear.read_until(0, &mut document).unwrap();
            document.pop();
            let told: Value = serde_json::from_slice(&document).unwrap();
            if told["id"] == self.count {
                return match told.get("error") {
                    Some(error) => Err(error.clone()),
                    None => Ok(told["result"].clone()),
                };
            }
        }
    }

    /// What a script in the page answers.
    pub fn eval(&mut self, script: &str) -> Value {
        loop {
            let asked = self.ask("Runtime.evaluate", json!({ "expression": script, "returnByValue": true }));
            match asked {
                Ok(told) => return told["result"]["value"].clone(),
                // The page went away under it; the next one is asked.
                Err(error) if error["message"].as_str().is_some_and(|why| why.contains("navigated")) => {}
                Err(error) => panic!("{script}: {error}"),
            }
        }
    }

    /// Opens a page and waits until it is there.
    pub fn open(&mut self, url: &str) {
        self.call("Page.navigate", json!({ "url": url }));
        self.settled();
    }

    fn settled(&mut self) {
        until("the page is loaded", || (self.eval("document.readyState") == "complete").then_some(()));
    }

    /// Presses a button as a finger does, and waits for the page that follows.
    pub fn press(&mut self, selector: &str) {
        self.eval("window.before = true");
        let place = format!(
            "(() => {{ const b = document.querySelector('{selector}'); b.scrollIntoView({{block: 'center'}}); \
             const r = b.getBoundingClientRect(); return [r.x + r.width / 2, r.y + r.height / 2] }})()"
        );
        let place = self.eval(&place);
        for kind in ["mousePressed", "mouseReleased"] {
            let event =
                json!({ "type": kind, "x": place[0], "y": place[1], "button": "left", "clickCount": 1 });
            self.call("Input.dispatchMouseEvent", event);
        }
        until("the next page", || (self.eval("window.before === undefined") == true).then_some(()));
        self.settled();
    }

    /// Presses the Tab key.
    pub fn tab(&mut self) {
        for kind in ["rawKeyDown", "keyUp"] {
            let event = json!({ "type": kind, "key": "Tab", "code": "Tab", "windowsVirtualKeyCode": 9 });
            self.call("Input.dispatchKeyEvent", event);
        }
    }

    /// Types into a field.
    pub fn write(&mut self, selector: &str, text: &str) {
        self.eval(&format!("document.querySelector('{selector}').select()"));
        self.call("Input.insertText", json!({ "text": text }));
    }

    pub fn text(&mut self) -> String {
        self.eval("document.body.innerText").as_str().unwrap_or_default().to_owned()
    }

    /// How wide the window is, and whether it is night.
    pub fn look(&mut self, width: u32, dark: bool) {
        let size = json!({ "width": width, "height": 900, "deviceScaleFactor": 1, "mobile": false });
        self.call("Emulation.setDeviceMetricsOverride", size);
        let scheme = if dark { "dark" } else { "light" };
        let media = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        self.call("Emulation.setEmulatedMedia", media);
    }

    /// A picture of the whole page, as PNG.
    pub fn picture(&mut self) -> Vec<u8> {
        let shot = json!({ "format": "png", "captureBeyondViewport": true });
        let told = self.call("Page.captureScreenshot", shot);
        data_encoding::BASE64.decode(told["data"].as_str().unwrap().as_bytes()).unwrap()
    }
}

impl Drop for Chromium {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
