"""Pages of HTML about what sparsity brings: one file each, which loads nothing.

`write_html` takes the report of a conversion, latencies against density, accuracies against
sparsity and weights, and writes one page; ``sparsecore report`` does so from files. A source
becomes a part of a `Page` (`conversion`, `latency`, `accuracy`, `weights`), which `render` makes
HTML.
"""

from sparsecore.html_report.page import Page
from sparsecore.html_report.render import render
from sparsecore.html_report.write import make_page, write_html

__all__ = ["Page", "make_page", "render", "write_html"]
