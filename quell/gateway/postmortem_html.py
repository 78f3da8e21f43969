"""The post-mortem as part of the incident's page: its markdown as HTML, without what the page shows itself."""

import re

from markdown_it import MarkdownIt

# The page has the timeline and the chart; a browser draws neither mermaid nor an SVG inside of markdown.
_SHOWN_BY_THE_PAGE = re.compile(r"^## (?:Timeline|Signal)\n.*?(?=^## |\Z)", re.MULTILINE | re.DOTALL)
_TITLE = re.compile(r"\A# .*\n")
_ALIGNED = re.compile(r' style="text-align:(left|right|center)"')  # the page allows no inline styles
# No HTML of its own gets through: alerts, changes and reports bring words from outside.
_MARKDOWN = MarkdownIt("commonmark", {"html": False}).enable("table").disable("image")


def postmortem_html(markdown: str) -> str:
    """Safe HTML for the page.

    >>> postmortem_html("# INC-1\\n\\nAll <b>well</b>.\\n\\n## Signal\\n\\n![x](data:)\\n\\n## Guards\\n")
    '<p>All &lt;b&gt;well&lt;/b&gt;.</p>\\n<h2>Guards</h2>\\n'
    """
    html = _MARKDOWN.render(_SHOWN_BY_THE_PAGE.sub("", _TITLE.sub("", markdown)))
    return _ALIGNED.sub(r' class="\1"', html)
