"""How the documents become pages: `make docs`.

The source directory is the root of the repository, so that every document stays where it is and its
relative links hold both here and where the repository is read. Nothing is fetched.
"""

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from sphinx.application import Sphinx

import sparsecore

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "sphinx_parts"))

project = "sparsecore"
author = "the authors of sparsecore"
copyright = author
version = release = sparsecore.__version__
root_doc = "docs/index"
include_patterns = ["*.md", "bench/README.md", "bench/results/*.md", "docs/**.md"]
exclude_patterns = [".*", "**/.*", "build", "csrc", "python", "tests"]
nitpicky = True
# Parameters and fields in single quotation marks, what Python and torch define, and what lies
# behind the public functions.
nitpick_ignore_regex = [
    ("py:obj", r"(?!sparsecore\.)[\w.]+"),
    ("py:(class|obj)", r"(collections|torch|sparsecore\.(cuda\.\w+|plan))\..*"),
    ("py:func", r"regrown"),
]

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "numpydoc",
    "drawn",
    "command_help",
]

# Headings are named as the place where the repository is read names them.
myst_heading_anchors = 4
myst_enable_extensions = ["colon_fence"]

smartquotes = False

# What names in single quotation marks are, where they are names; else they are only set apart.
default_role = "autolink"
autodoc_member_order = "groupwise"
# The docstrings say the types, in words.
autodoc_typehints = "none"
autosummary_generate = False
# Functions are in the table at the head of their page: in the navigation of every page they would
# make building half as long again.
toc_object_entries = False
numpydoc_show_class_members = False
numpydoc_class_members_toctree = False
numpydoc_xref_param_type = False

html_theme = "furo"
html_title = f"sparsecore {version}"
html_static_path = ["_static"]
html_css_files = ["wide_content.css"]
templates_path = ["_templates"]
# A page that leads from the root of the pages to the first of them.
html_additional_pages = {"index": "to_first_page.html"}
html_copy_source = False
html_show_sourcelink = False


def outline_module(
    _: Sphinx, what: str, name: str, module: ModuleType, options: Any, lines: list[str]
) -> None:
    """End a module's docstring with a table of its names; examples are no section of a page."""
    if what != "module":
        return
    if "Examples" in lines:
        place = lines.index("Examples")
        lines[place : place + 2] = [".. rubric:: Examples", ""]
    found = {known: getattr(module, known) for known in getattr(module, "__all__", dir(module))}
    names = [
        f"   {known}"
        for known, value in found.items()
        if callable(value) and not known.startswith("_")
        if known not in (options.exclude_members or ())
        if hasattr(module, "__all__") or value.__module__ == name
    ]
    lines += ["", ".. autosummary::", "   :nosignatures:", "", *names, ""]


def setup(app: Sphinx) -> None:
    """Connect what changes docstrings."""
    app.connect("autodoc-process-docstring", outline_module)
