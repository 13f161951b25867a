"""The console in a real browser: how soon a page is painted, and whether it stays smooth under rows and lines."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from statistics import median
from typing import Any

import httpx

from bench import engines
from bench.measure import Scale, in_flight
from bench.report import Row

MOST_ROWS = 10_000
MOST_SECONDS = 3.0
LOG_JOB = """
name: tail
input: {{echo: {{event: {event}, trigger: {{interval: {{duration: 100ms}}}}}}}}
output: {{print: STDOUT}}
"""
LINES_A_FIRING = 100
PAGES = {"overview": ("", "Needs attention"), "form": ("triggers/smoke_trigger", "Run Smoke trigger")}
PAGES["editor"] = ("workflows/new", "Add a step")
FIRST_PAINT = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime"  # told a while after it
FRAMES = """([seconds, scroll]) => new Promise((done) => {
  const rooms = [...document.querySelectorAll("main, main *")];
  const room = rooms.reduce((a, b) => (b.scrollHeight - b.clientHeight > a.scrollHeight - a.clientHeight ? b : a));
  let frames = 0, worst = 0, before = performance.now();
  const start = before;
  const next = (now) => {
    frames += 1;
    worst = Math.max(worst, now - before);
    before = now;
    if (scroll) room.scrollTop += 40;
    if (now - start < seconds * 1000) requestAnimationFrame(next);
    else done({ rate: (frames * 1000) / (now - start), worst, rows: document.querySelectorAll("tbody tr").length });
  };
  requestAnimationFrame(next);
})"""


async def measure(scale: Scale, folder: Path) -> list[Row]:
    try:
        from playwright.async_api import Error, async_playwright  # of the dev extra
    except ImportError:
        return [Row("the console", "", None, note="Playwright is not installed")]
    home = folder / "home"
    count = min(MOST_ROWS, scale.history)
    async with engines.engine(home) as running:
        await engines.prepare(running)
        await in_flight(lambda: engines.invoke(running), count, 64)
        event = '"' + "\\n".join(f"line {number} of a job that says much" for number in range(LINES_A_FIRING)) + '"'
        await engines.deploy(running, LOG_JOB.format(event=event))
    async with engines.served(home) as served, async_playwright() as playwright:
        path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
        path = os.environ.get("SLUICE_CHROMIUM") or path
        try:
            browser = await playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        except Error as error:
            return [Row("the console", "", None, note=f"no Chromium starts: {str(error).splitlines()[0]}")]
        try:
            return await _figures(browser, served, scale, count)
        finally:
            await browser.close()


async def _figures(browser: Any, served: engines.Served, scale: Scale, count: int) -> list[Row]:
    rows = []
    for name, (path, text) in PAGES.items():
        times = [await _painted(browser, served, path, text) for _ in range(scale.rounds)]
        rows.append(Row(f"first paint of a cold browser: {name}", "ms", median(times), None, 600))
    seconds = min(MOST_SECONDS, scale.idle_seconds)
    page = await _signed_in(browser, served)
    await page.goto(f"{_url(served)}/invocations")
    await page.get_by_text("succeeded").first.wait_for()
    table = await page.evaluate(FRAMES, [seconds, True])
    note = f"{count} runs"
    rows.append(Row("frames while runs are scrolled", "/s", table["rate"], None, 55, more_is_better=True, note=note))
    rows.append(Row("the longest of them", "ms", table["worst"], None, 50, note=note))
    rows.append(Row("rows of the table in the document", "", table["rows"], None, 100, note=note))
    await page.goto(f"{_url(served)}/logs?of=tail")
    await page.get_by_text("line 1 of a job").first.wait_for()
    tail = await page.evaluate(FRAMES, [seconds, False])
    note = f"{LINES_A_FIRING * 10} lines/s"
    rows.append(Row("frames while a log is followed", "/s", tail["rate"], None, 55, more_is_better=True, note=note))
    rows.append(Row("the longest of them", "ms", tail["worst"], None, 50, note=note))
    return rows


def _url(served: engines.Served) -> str:
    return f"http://127.0.0.1:{served.port}/console/t/{engines.TENANT}"


async def _signed_in(browser: Any, served: engines.Served) -> Any:
    async with httpx.AsyncClient(trust_env=False) as client:
        made = await client.post(
            f"http://127.0.0.1:{served.port}/api/operations/console_link_create",
            json={},
            headers={"authorization": f"Bearer {served.token}", "x-sluice-tenant": engines.TENANT},
        )
    context = await browser.new_context(viewport={"width": 1280, "height": 800})
    page = await context.new_page()
    await page.goto(f"http://127.0.0.1:{served.port}{made.raise_for_status().json()['path']}")
    await page.get_by_text("Needs attention").first.wait_for()
    return page


async def _painted(browser: Any, served: engines.Served, path: str, text: str) -> float:
    """With nothing of it in the cache of the browser but the cookie."""
    first = await _signed_in(browser, served)
    context = await browser.new_context(storage_state=await first.context.storage_state())
    page = await context.new_page()
    await page.goto(f"{_url(served)}/{path}")
    await page.get_by_text(text).first.wait_for()
    took = float(await (await page.wait_for_function(FIRST_PAINT)).json_value())
    await context.close()
    await first.context.close()
    return took
