"""What a committed notebook must be like, as functions from a notebook to a list of complaints.

test_notebooks.py applies them all to each notebook, and to notebooks with a defect of each kind.
"""

import ast
import base64
import html
import re
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from urllib.parse import unquote, urlparse

import nbformat
from IPython.core.inputtransformer2 import TransformerManager
from nbformat import NotebookNode
from outputs import DIGEST, WIDGET, code_digest

KB = 1000
NOTEBOOK_BYTES = 2000 * KB  # STYLE: under 1 MB, 2 MB at the most
IMAGE_BYTES = {"png": 100 * KB, "jpeg": 100 * KB, "gif": 300 * KB}
STEPS = range(5, 11)  # sections (H2), not counting those of FRAME
FRAME = {"Set-up", "Try it yourself", "What you saw"}
CODE_LINES = 25  # in a cell, without blank ones
CODE_CELLS, PROSE_WORDS = 25, 2_400  # the most, words in folds not counted
PROSE_BEFORE_CODE = 0.8  # share of the code cells (not an exercise's check) that follow markdown
FIRST_STEP_BY = 6  # code cell in which the environment first steps, in notebooks 01 to 06
PREDICTIONS = 3  # the least number in notebooks 01 to 07
EXERCISES = range(2, 5)  # in notebooks 01 to 08
ALT_CHARACTERS = 20  # the least that can say what happens

NAME = re.compile(r"\d\d(-[a-z0-9]+){2,}")
STEP = re.compile(r"\.step\(|\brollout\(|\bevaluate\(|\.record\(")
PROGRESS = re.compile(r"\r|\d+%\||\d(it|s)/(s|it)\]|\[\d+:\d\d<")
IMG = re.compile(r"<img\b[^>]*>", re.IGNORECASE)
ATTRIBUTE = re.compile(r"""\b(alt|src|href)\s*=\s*("[^"]*"|'[^']*')""", re.IGNORECASE)
DATA = re.compile(r"data:image/(\w+);base64,([A-Za-z0-9+/=\s]+)")
MARKDOWN_IMAGE = re.compile(r"!\[([^\]]*)\]\(([^)\s]+)[^)]*\)")
MARKDOWN_LINK = re.compile(r"(?<!!)\[[^\]]+\]\(<?([^)\s>]+)[^)]*\)")
CODE_IN_PROSE = re.compile(r"^(```|~~~).*?^\1|`+[^`]*`+", re.MULTILINE | re.DOTALL)
MATHS = re.compile(r"\$\$.*?\$\$|\$[^$\n]+\$", re.DOTALL)
SOLUTION = re.compile(
    r"<summary>Solution</summary>\s*```python\n(.*?)^```", re.DOTALL | re.MULTILINE
)
TIMING = re.compile(r"(^|_)(rates?|speed|speedup|faster|seconds|elapsed)(_|$)", re.IGNORECASE)
FORBIDDEN = {
    r"\bsys\.path\b": "edits sys.path; helpers is installed",
    r"^\s*from\s+\S+\s+import\s+\*": "has an import *",
    r"^\s*[!%]+\s*(pip|conda|uv)\b": "installs a package; pyproject.toml lists them all",
    r"\ballow_pickle\s*=\s*True": "loads pickles",
}
UNLIKE = "Not as in our run"  # what a cell prints where other constants break the prose's claim
FOLDED = re.compile(r"<details>.*?</details>", re.DOTALL)
NUMBER = re.compile(r"(?<![\w.])[-−]?\d[\d,]*(?:\.\d+)?")
NO_RESULT = re.compile(r"\]\([^)]*\)|^#.*|\b(19|20)\d\d\b|\b0\d\b", re.M)  # links, years, notebooks
WORDS = re.compile(r"\b(simply|just|obviously)\b", re.IGNORECASE)


def code_cells(notebook: NotebookNode) -> list[NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def prose(notebook: NotebookNode) -> Iterator[str]:
    """The markdown cells, without the code and the formulas in them."""
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            yield MATHS.sub(" ", CODE_IN_PROSE.sub(" ", cell.source))


def outputs(notebook: NotebookNode) -> Iterator[tuple[str, NotebookNode]]:
    """Every output, and the words for its place."""
    for number, cell in enumerate(code_cells(notebook), 1):
        for output in cell.outputs:
            yield f"the output of code cell {number}", output


def number_of(path: Path) -> int:
    return int(path.name[:2]) if path.name[:2].isdigit() else -1


def tags(cell: NotebookNode) -> list[str]:
    return list(cell.metadata.get("tags", []))


def syntax(cell: NotebookNode) -> ast.Module:
    """A code cell's source as Python reads it, once IPython has turned `%` and `!` into calls."""
    return ast.parse(TransformerManager().transform_cell(cell.source))


def solution_behind(notebook: NotebookNode, check: NotebookNode) -> str:
    """The solution of an exercise, from the markdown behind its check; "" where there is none."""
    after = next((after for cell, after in pairwise(notebook.cells) if cell is check), None)
    found = after and after.cell_type == "markdown" and SOLUTION.search(after.source)
    return found[1] if found else ""


# --- the file


def check_name(notebook: NotebookNode, path: Path) -> Iterator[str]:
    if not NAME.fullmatch(path.stem):
        yield f"is called {path.name}; the pattern is 01-verb-phrase.ipynb"


def check_format(notebook: NotebookNode, path: Path) -> Iterator[str]:
    try:
        nbformat.validate(notebook)
    except nbformat.ValidationError as error:
        yield f"is no valid notebook: {error.message}"
    kernel = notebook.metadata.get("kernelspec", {}).get("name")
    if kernel != "python3":
        yield f"has the kernelspec {kernel!r}; only 'python3' is everywhere"


def check_size(notebook: NotebookNode, path: Path) -> Iterator[str]:
    size = path.stat().st_size if path.exists() else len(nbformat.writes(notebook))
    if size > NOTEBOOK_BYTES:
        yield f"has {size / KB:.0f} kB; at most {NOTEBOOK_BYTES // KB} are allowed"


# --- the outputs


def check_digest(notebook: NotebookNode, path: Path) -> Iterator[str]:
    if notebook.metadata.get(DIGEST) != code_digest(notebook):
        yield f"has outputs of other code; run `make outputs NOTEBOOK={path.stem}`"


def check_counts(notebook: NotebookNode, path: Path) -> Iterator[str]:
    counts = [cell.execution_count for cell in code_cells(notebook)]
    if counts != list(range(1, len(counts) + 1)):
        yield f"was not run once from top to bottom; the execution counts are {counts}"


def check_clean(notebook: NotebookNode, path: Path) -> Iterator[str]:
    if "widgets" in notebook.metadata:
        yield "keeps the state of widgets in its metadata"
    for place, output in outputs(notebook):
        data = output.get("data", {})
        text = output.get("text", "") + data.get("text/plain", "") + data.get("text/html", "")
        if output.output_type == "error":
            yield f"{place} is an error: {output.ename}: {output.evalue}"
        if UNLIKE in output.get("text", ""):
            yield f"{place} says {UNLIKE!r}: the prose claims what doesn't hold"
        if output.get("name") == "stderr":
            yield f"{place} is on stderr: {text[:80]!r}"
        if WIDGET in data:
            yield f"{place} is a widget, of which a reader sees nothing"
        if PROGRESS.search(DATA.sub("", text)):
            yield f"{place} has a progress bar in it; tqdm's leave=False removes it"


def check_images(notebook: NotebookNode, path: Path) -> Iterator[str]:
    for place, output in outputs(notebook):
        data = output.get("data", {})
        kinds = [kind for kind in data if kind.startswith("image/")]
        if kinds and not IMG.search(data.get("text/html", "")):
            yield f"{place} is a bare {kinds[0]}; show.figure(fig, alt) gives it alt text"
        for kind in kinds:
            if isinstance(data[kind], str) and kind != "image/svg+xml":
                yield from _check_bytes(place, kind.removeprefix("image/"), data[kind])
        for kind, content in DATA.findall(data.get("text/html", "")):
            yield from _check_bytes(place, kind, content)
    for text in prose(notebook):
        for _, target in MARKDOWN_IMAGE.findall(text):
            file = path.parent / unquote(target)
            if file.is_file():
                yield from _check_length(target, file.suffix[1:], file.stat().st_size)


def _check_bytes(place: str, kind: str, content: str) -> Iterator[str]:
    yield from _check_length(place, kind, len(base64.b64decode(content)))


def _check_length(place: str, kind: str, size: int) -> Iterator[str]:
    allowed = IMAGE_BYTES.get(kind, 100 * KB)
    if size > allowed:
        yield f"{place} has a {kind} of {size / KB:.0f} kB; at most {allowed // KB} are allowed"


def check_alt(notebook: NotebookNode, path: Path) -> Iterator[str]:
    texts = [("the prose", text) for text in prose(notebook)]
    texts += [(place, out.get("data", {}).get("text/html", "")) for place, out in outputs(notebook)]
    for place, text in texts:
        tags = [dict(_attributes(tag)) for tag in IMG.findall(text)]
        alts = [tag.get("alt", "") for tag in tags]
        alts += [alt for alt, _ in MARKDOWN_IMAGE.findall(text)]
        for alt in alts:
            if len(alt) < ALT_CHARACTERS:
                yield f"{place} has an image with the alt text {alt!r}: say what it shows"


def _attributes(tag: str) -> Iterator[tuple[str, str]]:
    for name, value in ATTRIBUTE.findall(tag):
        yield name.lower(), html.unescape(value[1:-1])


# --- the code


def check_code(notebook: NotebookNode, path: Path) -> Iterator[str]:
    for number, cell in enumerate(code_cells(notebook), 1):
        lines = [line for line in cell.source.splitlines() if line.strip()]
        if not lines:
            yield f"code cell {number} is empty"
        if len(lines) > CODE_LINES:
            yield f"code cell {number} has {len(lines)} lines; at most {CODE_LINES} are allowed"
        for pattern, complaint in FORBIDDEN.items():
            if re.search(pattern, cell.source, re.MULTILINE):
                yield f"code cell {number} {complaint}"


def check_first_step(notebook: NotebookNode, path: Path) -> Iterator[str]:
    early = code_cells(notebook)[:FIRST_STEP_BY]
    if 1 <= number_of(path) <= 6 and not any(STEP.search(cell.source) for cell in early):
        yield f"takes no step in an environment by code cell {FIRST_STEP_BY}"


def check_timings(notebook: NotebookNode, path: Path) -> Iterator[str]:
    for number, cell in enumerate(code_cells(notebook), 1):
        for node in ast.walk(syntax(cell)):
            if isinstance(node, ast.Assert):
                names = {getattr(n, "id", getattr(n, "attr", "")) for n in ast.walk(node.test)}
                for name in sorted(filter(TIMING.search, names)):
                    yield f"code cell {number} asserts {name}: a busy machine would stop a reader"


def check_asserts(notebook: NotebookNode, path: Path) -> Iterator[str]:
    for number, cell in enumerate(code_cells(notebook), 1):
        for node in ast.walk(syntax(cell)):
            if isinstance(node, ast.Assert) and node.msg is None:
                yield f"code cell {number} has an assert without a message: say what to do"


def check_imports(notebook: NotebookNode, path: Path) -> Iterator[str]:
    for number, cell in enumerate(code_cells(notebook), 1):
        for node in ast.walk(syntax(cell)):
            line = ast.unparse(node) if isinstance(node, ast.Import | ast.ImportFrom) else ""
            if re.match(r"(import|from) helpers\b", line):
                try:
                    exec(line, {})
                except ImportError as error:
                    yield f"code cell {number} fails in {line!r}: {error}"


# --- the exercises: a code cell to complete (tag "exercise"), its check, its solution in markdown


def check_exercises(notebook: NotebookNode, path: Path) -> Iterator[str]:
    kinds = [" ".join({"exercise", "check"} & set(tags(cell))) for cell in notebook.cells]
    checks = [cell for cell in notebook.cells if "check" in tags(cell)]
    if 1 <= number_of(path) <= 8 and len(checks) not in EXERCISES:
        yield f"has {len(checks)} exercises, not {EXERCISES[0]} to {EXERCISES[-1]}"
    if [kind for kind in kinds if kind] != ["exercise", "check"] * len(checks):
        yield "has an exercise without a check, or a check without an exercise"
    for number, check in enumerate(checks, 1):
        if not solution_behind(notebook, check):
            yield f"has no solution of exercise {number}: <details>, in it ```python, right behind"


# --- the prose


def headings(notebook: NotebookNode) -> list[tuple[int, str]]:
    """(level, text) of every heading."""
    text = "\n\n".join(prose(notebook))
    return [(len(m[1]), m[2].strip()) for m in re.finditer(r"^(#{1,6}) +(.+)$", text, re.M)]


def check_headings(notebook: NotebookNode, path: Path) -> Iterator[str]:
    levels = [level for level, _ in headings(notebook)]
    if levels.count(1) != 1 or levels[0] != 1:
        yield f"has {levels.count(1)} titles (# …); it needs one, at the top"
    steps = sum(level == 2 and text not in FRAME for level, text in headings(notebook))
    if steps not in STEPS:
        yield f"has {steps} steps (## …), not {STEPS[0]} to {STEPS[-1]}"


def check_prose_before_code(notebook: NotebookNode, path: Path) -> Iterator[str]:
    cells = [cell for cell in notebook.cells if "check" not in tags(cell)]
    kinds = [cell.cell_type for cell in cells]
    before = [kinds[i - 1] == "markdown" for i, kind in enumerate(kinds) if kind == "code" and i]
    share = sum(before) / max(kinds.count("code"), 1)
    if share < PROSE_BEFORE_CODE:
        yield f"has prose before {share:.0%} of its code cells, not {PROSE_BEFORE_CODE:.0%}"


def check_predictions(notebook: NotebookNode, path: Path) -> Iterator[str]:
    found = sum(text.count("**Predict") for text in prose(notebook))
    if 1 <= number_of(path) <= 7 and found < PREDICTIONS:
        yield f"asks for {found} predictions (**Predict.** …), not {PREDICTIONS} or four"


def check_length(notebook: NotebookNode, path: Path) -> Iterator[str]:
    words = sum(len(FOLDED.sub(" ", text).split()) for text in prose(notebook))
    cells = len(code_cells(notebook))
    if words > PROSE_WORDS:
        yield f"has {words} words outside of folds; at most {PROSE_WORDS} are allowed"
    if cells > CODE_CELLS:
        yield f"has {cells} code cells; at most {CODE_CELLS} are allowed"


def numbers(text: str) -> dict[str, str]:
    """The numbers in a text, without commas between their digits → as they stand there."""
    found = NUMBER.findall(text)
    return {one.strip(",").replace(",", "").replace("−", "-"): one for one in found}


def check_quotes(notebook: NotebookNode, path: Path) -> Iterator[str]:
    """What prose quotes from the results files stands in an output that the tests compare."""
    shown: dict[str, str] = {}
    for cell in code_cells(notebook):
        if "nbval-check-output" in tags(cell):
            for output in cell.outputs:
                data = output.get("data", {})
                text = output.get("text", "") + data.get("text/html", data.get("text/plain", ""))
                shown |= numbers(re.sub(r"<[^>]+>", " ", text))
    for cell in notebook.cells:
        if cell.cell_type == "markdown" and "quotes-results" in tags(cell):
            text = NO_RESULT.sub(" ", cell.source)
            for number, written in numbers(text).items():
                if number not in shown:
                    where = _around(text, written)
                    yield f"quotes {number} from results ({where!r}); no output shows it"


def check_words(notebook: NotebookNode, path: Path) -> Iterator[str]:
    for text in prose(notebook):
        plain = re.sub(r"!?\[([^\]]*)\]\([^)]*\)|<[^>]+>", r" \1 ", text)
        for word in WORDS.findall(plain):
            yield f"says {word!r} in {_around(plain, word)!r}"
        if "!" in plain:
            yield f"has an exclamation mark in {_around(plain, '!')!r}"


def _around(text: str, word: str) -> str:
    at = text.index(word)
    return " ".join(text[max(at - 30, 0) : at + 30].split())


# --- the links


def targets(markdown: str) -> list[str]:
    """Where the links and images of a text lead, markdown's and HTML's."""
    found = MARKDOWN_LINK.findall(markdown) + [to for _, to in MARKDOWN_IMAGE.findall(markdown)]
    for tag in re.findall(r"<(?:a|img)\b[^>]*>", markdown, re.IGNORECASE):
        found += [value for name, value in _attributes(tag) if name in ("src", "href")]
    return [target for target in found if not target.startswith(("data:", "attachment:"))]


def slug(text: str) -> str:
    """A heading or an anchor without what GitHub and JupyterLab write differently."""
    return re.sub(r"[^a-z0-9]+", "-", unquote(text).lower()).strip("-")


def anchors(path: Path) -> set[str]:
    """The anchors of a file's headings."""
    if path.suffix == ".ipynb":
        found = headings(nbformat.read(path, as_version=4))
    else:
        text = CODE_IN_PROSE.sub(lambda m: m[0].strip("`"), path.read_text(encoding="utf-8"))
        found = [(0, m[1]) for m in re.finditer(r"^#{1,6} +(.+)$", text, re.M)]
    return {slug(text) for _, text in found}


def broken_links(markdown: str, path: Path) -> Iterator[str]:
    """Complaints about the links of a text that stands in the file ``path``."""
    for target in targets(markdown):
        parts = urlparse(target)
        if parts.scheme or target.startswith("//"):
            if parts.scheme != "https" or "." not in parts.netloc or " " in target:
                yield f"links to {target}, which is no https address"
            continue
        file = path.parent / unquote(parts.path) if parts.path else path
        if not file.exists():
            yield f"links to {target}, where there is no file"
        elif parts.fragment and slug(parts.fragment) not in anchors(file):
            yield f"links to {target}, where there is no such heading"


def check_links(notebook: NotebookNode, path: Path) -> Iterator[str]:
    for text in prose(notebook):
        yield from broken_links(text, path)


Check = Callable[[NotebookNode, Path], Iterator[str]]
CHECKS: list[Check] = [value for name, value in globals().items() if name.startswith("check_")]


def complaints(path: Path) -> list[str]:
    """Everything that is wrong with a notebook."""
    notebook = nbformat.read(path, as_version=4)
    return [f"{path.name} {text}" for check in CHECKS for text in check(notebook, path)]
