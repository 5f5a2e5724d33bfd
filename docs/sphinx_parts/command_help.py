"""The directive `command-help`: what every command of `sparsecore` says of itself."""

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective


class CommandHelp(SphinxDirective):
    """Show the text of ``sparsecore --help`` and of each command's."""

    def run(self) -> list[nodes.Node]:
        """Return one literal block a command."""
        from click.testing import CliRunner

        from sparsecore.cli.commands import commands

        def text(*words: str) -> nodes.literal_block:
            told = CliRunner().invoke(commands, [*words, "--help"], prog_name="sparsecore")
            command = " ".join(["sparsecore", *words, "--help"])
            code = f"$ {command}\n{told.output}"
            return nodes.literal_block(code, code, language="text")

        return [text(), *(text(name) for name in sorted(commands.commands))]


def setup(app: Sphinx) -> dict[str, bool]:
    """Add the directive."""
    app.add_directive("command-help", CommandHelp)
    return {"parallel_read_safe": True}
