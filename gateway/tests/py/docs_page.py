#!/usr/bin/env python3
"""Uses the page at /docs in a real browser, as a person would.

    pip install playwright && apt-get install chromium
    python docs_page.py http://127.0.0.1:8080 [--chromium /usr/bin/chromium] [--screenshots FOLDER]

Ends with status 1 and says why if a prediction cannot be made, an error is not shown, a request leaves the origin, or
the console has an error. Needs a live default model with a golden example and a number among its features.
"""

import argparse
import json
import re
import sys
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

from playwright.sync_api import expect, sync_playwright

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

# The browser itself logs answers such as the 422 that this test provokes.
PROVOKED = re.compile(r"Failed to load resource: the server responded with a status of (400|422)")


def sizes():
    return {
        "desktop": {"viewport": {"width": 1280, "height": 900}},
        "dark": {"viewport": {"width": 1280, "height": 900}, "color_scheme": "dark"},
        "narrow": {"viewport": {"width": 360, "height": 740}},
    }


def text_of(value):
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))


def numeric(schema):
    return any(kind in ("number", "integer") for kind in [schema.get("type")] + list(schema.get("type") or []))


class Page:
    """The page, with everything that went wrong around it."""

    def __init__(self, browser, url, **options):
        self.origin = urlsplit(url)[:2]
        self.context = browser.new_context(**options)
        self.problems = []
        self.page = self.context.new_page()
        self.page.set_default_timeout(60_000)
        self.page.on("console", self.on_console)
        self.page.on("pageerror", lambda error: self.problems.append(f"uncaught: {error}"))
        self.page.on("request", self.on_request)
        self.page.goto(url + "/docs")

    def on_console(self, message):
        if message.type in ("error", "warning") and not PROVOKED.match(message.text):
            self.problems.append(f"console: {message.text}")

    def on_request(self, request):
        if not request.url.startswith("data:") and urlsplit(request.url)[:2] != self.origin:
            self.problems.append(f"a request left the origin: {request.url}")

    def predict(self):
        with self.page.expect_response("**/predict?outputs=all") as answer:
            self.page.get_by_role("button", name="Predict", exact=True).click()
        return answer.value


def use(view, document, model):
    """Predicts from the form, provokes a field error, mends it, and sends a batch."""
    page = view.page
    media = document["paths"]["/predict"]["post"]
    example = media["requestBody"]["content"]["application/json"]["examples"][model["name"]]["value"]
    known = media["responses"]["200"]["content"]["application/json"]["examples"][model["name"]]["value"]["prediction"]

    expect(page.get_by_role("heading", name=model["name"])).to_be_visible()
    for name in model["inputs"]:
        expect(page.get_by_label(name, exact=True)).to_be_visible()

    answer = view.predict()
    assert answer.status == 200, f"the example was answered with {answer.status}: {answer.text()}"
    sent = answer.request.post_data_json
    filled = {name: value for name, value in example.items() if value is not None}
    assert sent == filled, f"expected the page to send {filled}, got {sent}"
    given = answer.json()["prediction"]
    if not isinstance(known, float):
        assert given == known, f"expected the known answer {known!r}, got {given!r}"
    expect(page.locator("#prediction")).to_have_text(text_of(given))
    expect(page.locator("#result")).to_contain_text(re.compile(r"200 OK.*\d ms"))
    for name, value in answer.json()["outputs"].items():
        if isinstance(value, list) and name != model["outputs"][0]:
            expect(page.locator(".bars li")).to_have_count(min(len(value), 20))
    curl = page.locator("#curl").inner_text()
    assert "curl" in curl and model["name"] in curl, f"not the command for this request: {curl}"

    schema = document["components"]["schemas"][model["row"].rsplit("/", 1)[1]]
    wrong = next(name for name in model["inputs"] if numeric(schema["properties"][name]))
    field = page.get_by_label(wrong, exact=True)
    good = field.input_value()
    field.fill("much <b>&</b>")
    answer = view.predict()
    assert answer.status == 422, f"a wrong value was answered with {answer.status}: {answer.text()}"
    message = answer.json()["detail"][0]["msg"]
    expect(page.locator(".field", has=field).locator(".error")).to_have_text(message)
    expect(field).to_have_attribute("aria-invalid", "true")
    expect(field).to_be_focused()
    expect(page.locator("#prediction")).to_have_count(0)

    field.fill(good)
    field.press("Enter")
    expect(page.locator("#prediction")).to_have_text(text_of(given))
    expect(page.locator(".field .error:not(:empty)")).to_have_count(0)

    page.get_by_role("tab", name="Form").press("ArrowRight")
    expect(page.get_by_role("tab", name="Raw JSON")).to_be_focused()
    page.get_by_label("One object, or a list of them as a batch").fill(json.dumps([example, example]))
    answer = view.predict()
    assert answer.status == 200, f"a batch was answered with {answer.status}: {answer.text()}"
    expect(page.locator("#result tbody tr")).to_have_count(2)
    page.get_by_label("One object, or a list of them as a batch").fill("[{")
    answer = view.predict()
    assert answer.status == 400, f"malformed JSON was answered with {answer.status}: {answer.text()}"
    expect(page.locator("#result")).to_contain_text(answer.json()["detail"])
    page.get_by_role("tab", name="Form").click()


def fits(view):
    wide = view.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert wide <= 0, f"the page is {wide} px wider than its window"


def unnamed(view):
    """Form controls without a name that a screen reader could say."""
    return view.page.evaluate(
        """[...document.querySelectorAll('input,select,textarea,button')]
            .filter((box) => !box.labels?.length && !box.textContent.trim() && !box.ariaLabel).map((box) => box.outerHTML)"""
    )


def broken(view):
    """The page's words when the gateway is gone, or has no model."""
    page = view.page
    page.route("**/openapi.json", lambda route: route.abort())
    page.route("**/predict?*", lambda route: route.abort())
    page.get_by_role("button", name="Predict", exact=True).click()
    expect(page.locator("#result")).to_contain_text("does not answer")
    page.reload()
    expect(page.locator("#notice")).to_contain_text("does not answer")
    page.unroute("**/openapi.json")
    page.route("**/openapi.json", lambda route: route.fulfill(json={"paths": {}, "x-modelgate-models": []}))
    page.get_by_role("button", name="Try again").click()
    expect(page.locator("#notice")).to_contain_text("No model is live")
    page.unroute("**/openapi.json")
    page.get_by_role("button", name="Try again").click()
    expect(page.get_by_role("button", name="Predict", exact=True)).to_be_visible()


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("url")
    options.add_argument("--chromium", default="/usr/bin/chromium")
    options.add_argument("--screenshots", type=Path)
    options = options.parse_args()
    url = options.url.rstrip("/").removesuffix("/docs")
    with urllib.request.urlopen(url + "/openapi.json", timeout=30) as answer:
        document = json.load(answer)
    model = next(model for model in document["x-modelgate-models"] if model["default"])

    problems = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=options.chromium, args=FLAGS)
        for name, size in sizes().items():
            view = Page(browser, url, **size)
            try:
                use(view, document, model)
                fits(view)
                assert not unnamed(view), f"without a label: {unnamed(view)}"
                if options.screenshots:
                    options.screenshots.mkdir(parents=True, exist_ok=True)
                    view.predict()
                    view.page.wait_for_selector("#prediction")
                    view.page.screenshot(path=options.screenshots / f"{name}.png", full_page=True)
                problems += [f"{name}: {problem}" for problem in view.problems]
                if name == "desktop":
                    broken(view)
            except AssertionError as error:
                problems.append(f"{name}: {error}")
                problems += [f"{name}: {problem}" for problem in view.problems]
            view.context.close()
        browser.close()
    for problem in problems:
        print(problem, file=sys.stderr)
    if problems:
        sys.exit(1)
    print(f"/docs works: predicted with {model['name']} on {', '.join(sizes())}")


if __name__ == "__main__":
    main()
