"""Chromium, spoken to in its own protocol over a pipe: enough to open a page, measure it and picture it."""

from __future__ import annotations

import base64
import json
import os
import pathlib
import select
import shutil
import subprocess
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
# The descriptors at which Chromium expects its orders and leaves its answers.
ORDERS, ANSWERS = 3, 4
# Seconds.
PATIENCE = 60
COMPLAINTS = ("error", "assert", "warning")


def find_browser() -> str:
    """The program; a missing one is told with its cure."""
    for name in [os.environ.get("CHROMIUM", ""), *NAMES]:
        found = name and shutil.which(name)
        if found:
            return found
    raise FileNotFoundError("Chromium is not installed: apt-get install chromium, or set CHROMIUM=PATH.")


class Browser:
    """A headless Chromium with one page.

    Args:
        profile: An empty directory for its files.
    """

    def __init__(self, profile: pathlib.Path) -> None:
        orders, self._orders = os.pipe()
        self._answers, answers = os.pipe()
        command = [
            find_browser(),
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--hide-scrollbars",
            "--remote-debugging-pipe",
            f"--user-data-dir={profile}",
            "about:blank",
        ]
        # The shell puts the pipes where Chromium looks for them.
        script = f'exec "$@" {ORDERS}<&{orders} {ANSWERS}>&{answers}'
        self._process = subprocess.Popen(
            ["/bin/bash", "-c", script, "browser", *command],
            pass_fds=(orders, answers),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(orders)
        os.close(answers)
        self._count = 0
        self._unread = b""
        self._session = ""
        self.events: list[dict[str, Any]] = []
        page = next(t for t in self._do("Target.getTargets")["targetInfos"] if t["type"] == "page")
        attached = self._do("Target.attachToTarget", targetId=page["targetId"], flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self._do(f"{domain}.enable")

    def open(self, path: pathlib.Path, width: int = 1440, dark: bool = False) -> None:
        """Opens a file in a window of this width, and waits until it is drawn."""
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._do(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=900,
            screenWidth=width,
            screenHeight=900,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        self._do("Emulation.setEmulatedMedia", features=[scheme])
        self.events.clear()
        self._do("Page.navigate", url=path.resolve().as_uri())
        while not any(event["method"] == "Page.loadEventFired" for event in self.events):
            self._read()

    def evaluate(self, script: str) -> Any:
        """The value of an expression in the page."""
        answer = self._do("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def complaints(self) -> list[str]:
        """What the console and the log hold since the page was opened."""
        self.evaluate("1")  # What was said before has arrived then.
        found = []
        for event in self.events:
            parameters = event["params"]
            if event["method"] == "Runtime.exceptionThrown":
                found.append(str(parameters["exceptionDetails"]))
            if event["method"] == "Runtime.consoleAPICalled" and parameters["type"] in COMPLAINTS:
                found.append(str(parameters["args"]))
            if event["method"] == "Log.entryAdded" and parameters["entry"]["level"] in COMPLAINTS:
                found.append(parameters["entry"]["text"])
        return found

    def requests(self) -> list[str]:
        """Addresses that were asked for since the page was opened; embedded data asks nobody."""
        sent = [event for event in self.events if event["method"] == "Network.requestWillBeSent"]
        urls = [event["params"]["request"]["url"] for event in sent]
        return [url for url in urls if not url.startswith("data:")]

    def picture(self, path: pathlib.Path) -> None:
        """Leaves the whole page as a PNG file."""
        answer = self._do("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(answer["data"]))

    def close(self) -> None:
        """Ends the program."""
        self._do("Browser.close")
        self._process.wait(timeout=30)
        os.close(self._orders)
        os.close(self._answers)

    def _do(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._count += 1
        order: dict[str, Any] = {"id": self._count, "method": method, "params": parameters}
        if self._session:
            order["sessionId"] = self._session
        os.write(self._orders, json.dumps(order).encode() + b"\0")
        while True:
            answer = self._read()
            if answer.get("id") == self._count:
                assert "error" not in answer, answer["error"]
                return answer["result"]

    def _read(self) -> dict[str, Any]:
        while b"\0" not in self._unread:
            ready, _, _ = select.select([self._answers], [], [], PATIENCE)
            assert ready, f"Chromium has said nothing for {PATIENCE} s"
            part = os.read(self._answers, 1 << 16)
            assert part, "Chromium has ended"
            self._unread += part
        message, self._unread = self._unread.split(b"\0", 1)
        answer = json.loads(message)
        if "method" in answer:
            self.events.append(answer)
        return answer
