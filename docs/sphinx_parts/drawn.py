"""The directive `drawn`: a figure that the Python block above it draws, made anew in every build.

The block ends with ``figure.savefig("NAME.svg")``, so that a reader who copies it gets the same
picture; the directive names that file and gives its caption.
"""

import os
import re
from contextlib import chdir
from pathlib import Path
from typing import Any, ClassVar

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

BLOCK = re.compile(r"^```python\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)


class Drawn(SphinxDirective):
    """Run the block of this page that saves the named file, and show that file."""

    required_arguments = 1
    has_content = True
    option_spec: ClassVar[dict[str, Any]] = {"alt": directives.unchanged_required}

    def run(self) -> list[nodes.Node]:
        """Return the figure."""
        name = self.arguments[0]
        page = Path(self.env.doc2path(self.env.docname))
        folder = Path(self.env.app.outdir).parent / "figures"
        folder.mkdir(exist_ok=True)
        draw(page, name, folder)
        place = "/" + os.path.relpath(folder / name, self.env.srcdir)
        figure = nodes.figure("", nodes.image(uri=place, alt=self.options["alt"]))
        caption, _ = self.parse_inline(" ".join(self.content), lineno=self.lineno)
        figure += nodes.caption("", "", *caption)
        return [figure]


def draw(page: Path, name: str, folder: Path) -> None:
    """Run the only block of a page that saves `name`, in `folder`.

    Raises
    ------
    ValueError
        Where not exactly one block saves it.
    """
    blocks = [block["code"] for block in BLOCK.finditer(page.read_text(encoding="utf-8"))]
    drawing = [code for code in blocks if f'savefig("{name}")' in code]
    if len(drawing) != 1:
        msg = f"drawn: {len(drawing)} blocks of {page} save {name}, expected one"
        raise ValueError(msg)
    import matplotlib as mpl
    from matplotlib import pyplot

    mpl.use("Agg")
    with mpl.rc_context({"svg.hashsalt": name, "savefig.bbox": "tight"}), chdir(folder):
        exec(compile(drawing[0], f"{page}: {name}", "exec"), {"__name__": "__main__"})
    pyplot.close("all")


def setup(app: Sphinx) -> dict[str, bool]:
    """Add the directive."""
    app.add_directive("drawn", Drawn)
    return {"parallel_read_safe": False}
