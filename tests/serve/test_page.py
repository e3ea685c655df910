"""The page in a browser: what people click, drop and type, and what they see.

Screenshots go to the folder that M2UGEN_SCREENSHOTS names, else to pytest's own.
"""

from __future__ import annotations

import os
import shutil
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import soundfile

from m2ugen.examples import example

playwright_api = pytest.importorskip("playwright.sync_api", reason="needs playwright (pip install playwright)")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium (apt-get install chromium)")
FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--use-fake-ui-for-media-stream",
    "--use-fake-device-for-media-stream", "--autoplay-policy=no-user-gesture-required",
)  # fmt: skip
PATIENCE = 120_000  # milliseconds for something that the model makes
INK = """canvas => {
  const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  let inked = 0;
  for (let place = 3; place < data.length; place += 4) if (data[place]) inked += 1;
  return inked / (data.length / 4);
}"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright_api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        yield started
        started.close()


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = Path(os.environ.get("M2UGEN_SCREENSHOTS") or tmp_path_factory.mktemp("screenshots"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def opened(browser: Any, url: str, **options: Any) -> tuple[Any, list[str]]:
    """The page, ready to use, and a list that gathers what goes wrong in it."""
    page = browser.new_context(accept_downloads=True, **options).new_page()
    troubles: list[str] = []
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.on("console", lambda told: troubles.append(told.text) if told.type == "error" else None)
    page.goto(url)
    playwright_api.expect(page.locator("#status")).to_contain_text("ready", timeout=PATIENCE)
    return page, troubles


@pytest.fixture
def page(browser: Any, server: str) -> Iterator[Any]:
    made, troubles = opened(browser, server, viewport={"width": 1200, "height": 850}, permissions=["microphone"])
    yield made
    made.context.close()
    assert [trouble for trouble in troubles if "status of 4" not in trouble] == []  # refusals are logged by the browser


def say(page: Any, words: str, mode: str | None = None, seconds: int | None = None) -> None:
    if mode is not None:
        page.get_by_role("radio", name=mode).check(force=True)
    if seconds is not None:
        page.locator("summary").click()
        page.locator("#duration").fill(str(seconds))
    page.get_by_label("Message", exact=True).fill(words)
    page.keyboard.press("Enter")


def test_make_music_look_at_it_download_it_and_edit_it(page: Any, pictures: Path, tmp_path: Path) -> None:
    expect = playwright_api.expect
    page.screenshot(path=pictures / "welcome.png")
    say(page, "a slow piano piece in C major", "Make music", 5)
    answer = page.locator("#log .answer").first
    expect(answer.get_by_role("button", name="Cancel")).to_be_visible()
    page.screenshot(path=pictures / "working.png")
    expect(answer.locator("audio")).to_be_visible(timeout=PATIENCE)
    page.wait_for_function("document.querySelector('.answer audio').duration > 4.8", timeout=20_000)
    assert answer.locator("canvas.wave").evaluate(INK) > 0.05
    assert answer.locator("canvas.roll").evaluate(INK) > 0.005
    expect(answer.get_by_role("img", name="Piano roll")).to_be_visible()
    for label, ending in (("WAV", ".wav"), ("MP3", ".mp3"), ("MIDI", ".mid")):
        with page.expect_download() as download:
            answer.get_by_role("button", name=f"Download {label}").click()
        path = tmp_path / f"a{ending}"
        download.value.save_as(path)
        assert download.value.suggested_filename.endswith(ending) and path.stat().st_size > 100
    assert soundfile.info(tmp_path / "a.wav").duration == pytest.approx(5, rel=0.01)
    page.screenshot(path=pictures / "result.png")
    answer.get_by_role("button", name="Edit this").click()
    expect(page.locator("#chips")).to_contain_text("editing: a slow piano piece")
    expect(page.get_by_role("radio", name="Edit")).to_be_checked()
    say(page, "make it faster")
    expect(page.locator("#log .answer audio")).to_have_count(2, timeout=PATIENCE)
    expect(page.locator("#history li")).to_have_count(2)
    page.screenshot(path=pictures / "edited.png")
    page.reload()
    page.locator("#history li button").last.click()
    expect(page.locator("#log .answer audio")).to_be_visible(timeout=20_000)


@pytest.mark.slow
def test_regenerate_draws_another_seed(page: Any) -> None:
    say(page, "a short jazz tune", "Make music", 5)
    expect = playwright_api.expect
    expect(page.locator(".answer .plan")).to_have_count(1, timeout=PATIENCE)
    page.get_by_role("button", name="Regenerate").click()
    expect(page.locator(".answer .plan")).to_have_count(2, timeout=PATIENCE)
    first, second = (page.locator(".answer .plan").nth(index).inner_text().split("·")[1] for index in (0, 1))
    assert first != second


def test_ask_about_a_file_that_is_dropped(page: Any) -> None:
    expect = playwright_api.expect
    page.locator("#file").set_input_files([example("dark")])
    expect(page.locator("#chips")).to_contain_text("image: launchpad.jpg")
    page.get_by_role("button", name="Remove image").click()
    expect(page.locator("#chips .chip")).to_have_count(0)
    transfer = page.evaluate_handle(
        """async () => {
          const blob = await (await fetch("/v1/examples/music")).blob();
          const transfer = new DataTransfer();
          transfer.items.add(new File([blob], "song.ogg", { type: "audio/ogg" }));
          return transfer;
        }"""
    )
    page.dispatch_event("main", "drop", {"dataTransfer": transfer})
    expect(page.locator("#chips")).to_contain_text("music: song.ogg")
    say(page, "Which instruments play?", "Ask")
    expect(page.locator(".mine audio")).to_be_visible()
    words = page.locator(".answer .actions")
    expect(words).to_be_visible(timeout=PATIENCE)
    assert len(page.locator(".answer .words").inner_text()) > 3


def test_a_video_comes_back_with_its_music(page: Any, pictures: Path) -> None:
    page.get_by_role("button", name="A soundtrack for this clip").click()
    show = page.get_by_role("button", name="Show the video with this music")
    playwright_api.expect(show).to_be_visible(timeout=PATIENCE)
    show.click()
    playwright_api.expect(page.get_by_label("The video with its new soundtrack")).to_be_visible(timeout=30_000)
    playwright_api.expect(page.get_by_role("button", name="Download Video")).to_be_visible()
    page.screenshot(path=pictures / "video.png")


def test_cancel_and_try_again(page: Any) -> None:
    say(page, "a very long piece", "Make music", 240)
    page.get_by_role("button", name="Cancel").click()
    playwright_api.expect(page.locator(".answer").first).to_contain_text("Cancelled.", timeout=20_000)
    playwright_api.expect(page.get_by_role("button", name="Try again")).to_be_visible()


def test_errors_are_told_where_they_happen(page: Any, pictures: Path) -> None:
    expect = playwright_api.expect
    page.locator("#file").set_input_files({"name": "notes.txt", "mimeType": "text/plain", "buffer": b"words"})
    expect(page.get_by_role("alert")).to_contain_text("notes.txt is neither music nor a picture nor a video")
    page.locator("#file").set_input_files({"name": "song.wav", "mimeType": "audio/wav", "buffer": b"no sound"})
    say(page, "Which key is it in?", "Ask")
    expect(page.get_by_role("alert").last).to_contain_text("not a known kind of", timeout=20_000)
    say(page, "add drums", "Edit")
    expect(page.get_by_role("alert").last).to_contain_text("There is no music to edit", timeout=20_000)
    page.screenshot(path=pictures / "errors.png")


def test_the_microphone(page: Any) -> None:
    page.get_by_role("button", name="Record").click()
    page.wait_for_timeout(1500)
    page.get_by_role("button", name="Stop").click()
    playwright_api.expect(page.locator("#chips")).to_contain_text("music: recording")
    say(page, "Are there drums?", "Ask")
    playwright_api.expect(page.locator(".answer .actions")).to_be_visible(timeout=PATIENCE)
    assert page.get_by_role("alert").count() == 0


def test_keyboard_and_names(page: Any) -> None:
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    page.keyboard.type("hello")
    assert page.get_by_label("Message", exact=True).input_value() == "hello"
    nameless = page.evaluate(
        """() => [...document.querySelectorAll("button, input, textarea")].filter((control) => {
          const labels = control.labels ? [...control.labels].map((label) => label.textContent.trim()).join("") : "";
          return !(labels || control.textContent.trim() || control.getAttribute("aria-label"));
        }).map((control) => control.id)"""
    )
    assert nameless == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_shows_everything_without_scrolling_sideways(
    browser: Any, server: str, scheme: str, pictures: Path
) -> None:
    page, troubles = opened(browser, server, viewport={"width": 390, "height": 844}, color_scheme=scheme)
    page.locator("summary").click()
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    page.screenshot(path=pictures / f"phone-{scheme}.png")
    back = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.get_by_role("button", name="Switch between light and dark").click()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != back
    page.context.close()
    assert troubles == []


def test_a_server_with_keys_asks_for_one(browser: Any) -> None:
    import uvicorn

    from m2ugen.serve.app import create_app
    from m2ugen.serve.engine import Engine
    from m2ugen.serve.process import WorkerProcess
    from m2ugen.serve.run import listen
    from m2ugen.serve.settings import Settings

    settings = Settings(api_keys=("a-key-that-is-long-enough",))
    command = (sys.executable, "-m", "tests.serve.pretender")
    app = create_app(settings, Engine(settings, lambda told: WorkerProcess(told, command)))
    bound = listen("127.0.0.1", 0)
    server = uvicorn.Server(uvicorn.Config(app, log_config=None))
    thread = threading.Thread(target=server.run, args=([bound],))
    thread.start()
    try:
        page = browser.new_context().new_page()
        page.goto(f"http://127.0.0.1:{bound.getsockname()[1]}")
        page.get_by_label("API key").fill("a-key-that-is-long-enough")
        page.keyboard.press("Enter")
        playwright_api.expect(page.locator("#status")).to_contain_text("ready", timeout=PATIENCE)
        page.context.close()
    finally:
        server.should_exit = True
        thread.join(20)
