"""The site, as `make site` builds it, looked at in a real browser."""

import base64
import functools
import http.server
import io
import os
import re
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urljoin, urlsplit
from urllib.request import url2pathname

import nbformat
import pytest
from bs4 import BeautifulSoup
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
PAGES = ["index", *(f"notebooks/{path.stem}" for path in NOTEBOOKS)]
PAGES += ["course/README", "course/predictions", "course/hub/README", "CONTRIBUTING"]
PHONE, LAPTOP = {"width": 390, "height": 800}, {"width": 1200, "height": 900}
GIF = re.compile(r'"image/gif|\.gif|data:image/gif')
# No build may ask the network for anything; whoever tries finds nobody there.
OFFLINE = {f"{scheme}_proxy": "http://127.0.0.1:9" for scheme in ("http", "https", "all")}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Makefile's command, with its output elsewhere."""
    build = tmp_path_factory.mktemp("build")
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    (command,) = re.findall(r"^site:.*\n\t\$\(BIN\)/python (.*)\n", makefile, re.M)
    words = [word.replace("build/", f"{build.as_posix()}/") for word in command.split()]
    run = subprocess.run(
        [sys.executable, *words], cwd=ROOT, env={**os.environ, **OFFLINE}, capture_output=True
    )
    assert run.returncode == 0, run.stderr.decode(errors="replace")
    return build / "site"


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="module")
def address(site: Path) -> Iterator[str]:
    handler = functools.partial(Quiet, directory=str(site))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@pytest.fixture
def visit(browser: Any, address: str) -> Iterator[Any]:
    """A function: page -> Playwright's page, on which everything came, and from this site alone."""
    contexts, wrong = [], []

    def visit(name: str, size: dict[str, int], scheme: str = "light") -> Any:
        contexts.append(browser.new_context(viewport=size, color_scheme=scheme))
        page = contexts[-1].new_page()

        def look(request: Any) -> None:
            if not request.url.startswith((address, "data:", "blob:")):
                wrong.append(f"from elsewhere: {request.url}")

        def judge(response: Any) -> None:
            if response.status >= 400 and not response.url.endswith("/favicon.ico"):
                wrong.append(f"{response.status}: {response.url}")

        page.on("request", look)
        page.on("response", judge)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.goto(address + name)
        return page

    yield visit
    for context in contexts:
        context.close()
    assert not wrong


@functools.cache
def parsed(path: Path) -> BeautifulSoup:
    return BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")


def test_every_page_is_in_the_sidebar_in_order(site: Path) -> None:
    links = parsed(site / "index.html").select(".bd-sidebar-primary a.reference.internal")
    pages = [link["href"].removesuffix(".html") for link in links]
    assert pages == [*PAGES[1:], "LICENSE-TEXT"]


def test_the_front_page_is_the_readme(site: Path) -> None:
    page = parsed(site / "index.html").select_one("article")
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    titles = re.findall(r"^#+ (.*)", re.sub(r"```.*?```", "", readme, flags=re.S), re.M)
    assert [title.get_text().rstrip("#") for title in page.select("h1, h2, h3")] == titles


@pytest.mark.parametrize("name", PAGES)
def test_every_link_within_leads_somewhere(name: str, site: Path) -> None:
    page = site / f"{name}.html"
    links = [a["href"] for a in parsed(page).select("article a[href], nav a[href]")]
    assert links
    for link in links:
        parts = urlsplit(urljoin(page.as_uri(), link))
        if parts.scheme == "file":
            target = Path(url2pathname(parts.path))
            assert target.is_file(), link
            if parts.fragment:
                assert parsed(target).find(id=unquote(parts.fragment)), link


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_output_is_shown_and_every_gif_has_frames(path: Path, site: Path) -> None:
    cells = nbformat.read(path, as_version=4).cells
    outputs = [output for cell in cells for output in cell.get("outputs", [])]
    page = parsed(site / f"notebooks/{path.stem}.html")
    moving = [img["src"] for img in page.select("article img") if GIF.search(img["src"])]
    made = sum(
        "data:image/gif" in output.get("data", {}).get("text/html", "") for output in outputs
    )
    assert len(moving) == made + sum(cell.source.count(".gif)") for cell in cells)
    for source in moving:
        if source.startswith("data:"):
            data = base64.b64decode(source.partition(",")[2])
        else:
            data = (site / "notebooks" / source).resolve().read_bytes()
        assert Image.open(io.BytesIO(data)).n_frames > 1
    shown = page.select("div.cell_output table, div.cell_output img")
    assert len(shown) == sum("text/html" in output.get("data", {}) for output in outputs)


@pytest.mark.parametrize("name", PAGES)
def test_a_phone_shows_it(name: str, visit: Any) -> None:
    """Nothing makes the page scroll sideways, all pictures come, all formulas are set."""
    page = visit(f"{name}.html", PHONE)
    page.wait_for_function(
        "() => document.querySelectorAll('mjx-container svg').length"
        " == document.querySelectorAll('.math').length"
    )
    assert page.evaluate("document.querySelectorAll('[data-mml-node=merror]').length") == 0
    assert page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]
    broken = "[...document.images].filter(i => i.complete && !i.naturalWidth).map(i => i.alt)"
    assert page.evaluate(broken) == []


def test_formulas_were_there_to_be_set(site: Path) -> None:
    assert len(parsed(site / "notebooks/05-measure-compounding-error.html").select(".math")) > 20


def test_a_gif_moves(visit: Any) -> None:
    picture = visit("index.html", LAPTOP).locator("article img").first
    first = picture.screenshot()
    for _ in range(50):
        if picture.screenshot() != first:
            return
    pytest.fail("its picture stays the same")


def luminance(rgb: tuple[int, ...]) -> float:
    """Of an sRGB colour, 0 to 1 (WCAG 2, relative luminance; its short linear part left out)."""
    linear = [((value / 255 + 0.055) / 1.055) ** 2.4 for value in rgb]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: tuple[int, ...], other: tuple[int, ...]) -> float:
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def test_the_dark_theme_is_dark_and_legible(visit: Any) -> None:
    page = visit("notebooks/05-measure-compounding-error.html", LAPTOP, "dark")
    colour = "(e, name) => getComputedStyle(e)[name].match(/[0-9]+/g).slice(0, 3).map(Number)"
    ground = page.locator("body").evaluate(f"e => ({colour})(e, 'backgroundColor')")
    assert luminance(ground) < 0.05
    for selector in ("article p", "div.cell_output table td", "mjx-container"):
        ink = page.locator(selector).first.evaluate(f"e => ({colour})(e, 'color')")
        assert contrast(ink, ground) > 7, selector
    # plots have black axes: their ground must stay light
    plot = page.locator("div.cell_output img[src^='data:image/png']").first
    picture = Image.open(io.BytesIO(plot.screenshot())).convert("RGB")
    assert contrast(picture.getpixel((3, 3)), (0, 0, 0)) > 7


def test_the_columns_of_a_table_stand_apart(visit: Any) -> None:
    page = visit("notebooks/03-collect-car-racing.html", LAPTOP)
    padding = "e => parseFloat(getComputedStyle(e).paddingLeft)"
    assert page.locator("div.cell_output table td").first.evaluate(padding) >= 6  # pixels


def test_search_finds_a_word(visit: Any) -> None:
    page = visit("search.html?q=take-over", LAPTOP)
    page.locator("ul.search a[href*='06-fix-it-with-dagger']").first.wait_for()


def test_badges_hold_the_one_address() -> None:
    """Addresses of this project on other servers follow pyproject.toml."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    us = urlsplit(project.get("urls", {}).get("Repository", "")).path.strip("/")
    place = r"(?:mybinder\.org/v2/gh|colab\.research\.google\.com/github)/([\w.-]+/[\w.-]+)"
    for path in (ROOT / "README.md", ROOT / "course" / "README.md", *NOTEBOOKS):
        for where in re.findall(place, path.read_text(encoding="utf-8")):
            assert where == us, f"{path.name} names {where}; pyproject.toml says {us or 'nothing'}"
