"""The site: README, notebooks with their committed outputs and the teacher's page (``make site``).

Sphinx reads the project's folder itself, so links mean the same here as in the repository. Nothing
is run, and nothing is fetched, neither by the build nor by a reader's browser.
"""

import re
import tomllib
from importlib.metadata import files
from pathlib import Path
from shutil import copyfile

from sphinx.application import Sphinx

ROOT = Path(__file__).resolve().parents[2]
FRONT = "README"
CONTENTS = {  # captions, and the pages beneath, in the order of the sidebar
    "Notebooks": [f"notebooks/{path.stem}" for path in sorted(ROOT.glob("notebooks/*.ipynb"))],
    "Teaching": ["course/README", "course/predictions", "course/hub/README"],
    "This project": ["CONTRIBUTING", "LICENSE-TEXT"],
}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
ADDRESS = PROJECT.get("urls", {}).get("Repository", "")  # the one place that says where we are

project = "Imitation learning, hands on"
author = "the imitation-learning-notebooks authors"
copyright = f"2026 {author}; text and figures CC BY 4.0, code MIT"
extensions = ["myst_nb", "sphinx.ext.mathjax"]
root_doc = FRONT
include_patterns = ["*.md", "notebooks/*.ipynb", "course/*.md", "course/hub/*.md"]
exclude_patterns = [".*", "build", "data"]  # not to be walked through

myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 4
nb_execution_mode = "off"
nb_merge_streams = True

html_theme = "sphinx_book_theme"
html_title = project
html_css_files = ["site.css"]
html_static_path = ["site.css"]
# MathJax from a package, in one file that holds its fonts
html_static_path += [
    str(file.locate())
    for file in files("sphinx-mathjax-offline") or ()
    if file.name == "tex-svg.js"
]
mathjax_path = "tex-svg.js"
html_theme_options = {
    "navbar_persistent": [],  # the sidebar has the search already
    "use_fullscreen_button": False,
    "show_toc_level": 2,
    **({"repository_url": ADDRESS, "use_repository_button": True} if ADDRESS else {}),
}


def as_read_here(app: Sphinx, page: str, source: list[str]) -> None:
    """A table of contents for the front page; anchors as JupyterLab writes them, in lower case."""
    if page == FRONT:
        for caption, pages in CONTENTS.items():
            listed = "\n".join(pages)
            source[0] += f"\n```{{toctree}}\n:hidden:\n:caption: {caption}\n{listed}\n```\n"
    source[0] = re.sub(r"\]\(#[^)]+\)", lambda link: link[0].lower(), source[0])


def first_page(app: Sphinx, error: Exception | None) -> None:
    """Servers show index.html first."""
    if error is None:
        copyfile(Path(app.outdir, f"{FRONT}.html"), Path(app.outdir, "index.html"))


def setup(app: Sphinx) -> None:
    app.connect("source-read", as_read_here)
    app.connect("build-finished", first_page)
