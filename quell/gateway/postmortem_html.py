"""A post-mortem's markdown as HTML that is safe to show, and without what a browser cannot draw."""

import re
from functools import lru_cache
from html import escape

from markdown_it import MarkdownIt

from quell.incidents.review import Section
from quell.prevention.postmortem import demote_headings

# The incident's page has the timeline and the chart; a browser draws neither mermaid nor an SVG inside of markdown.
_SHOWN_BY_THE_PAGE = re.compile(r"^## (?:Timeline|Signal)\n.*?(?=^## |\Z)", re.MULTILINE | re.DOTALL)
_TITLE = re.compile(r"\A# .*\n")
_MERMAID = re.compile(r"^```mermaid\n.*?^```$", re.MULTILINE | re.DOTALL)
_FOLDED = re.compile(r"<details><summary>([^<>]*)</summary>\n(.*?)</details>", re.DOTALL)
_PICTURE = re.compile(r"!\[([^\]\n]*)\]\((data:image/svg\+xml;base64,[A-Za-z0-9+/=]+)\)")
_ALIGNED = re.compile(r' style="text-align:(left|right|center)"')  # the page allows no inline styles
# No HTML of its own gets through: alerts, changes and reports bring words from outside.
_MARKDOWN = MarkdownIt("commonmark", {"html": False}).enable("table").disable("image")


def postmortem_html(markdown: str) -> str:
    """Safe HTML of a whole post-mortem, without what the incident's page shows itself.

    >>> postmortem_html("# INC-1\\n\\nAll <b>well</b>.\\n\\n## Signal\\n\\n![x](data:)\\n\\n## Guards\\n")
    '<p>All &lt;b&gt;well&lt;/b&gt;.</p>\\n<h2>Guards</h2>\\n'
    """
    return _html(_SHOWN_BY_THE_PAGE.sub("", _TITLE.sub("", markdown)))


@lru_cache(maxsize=256)  # everybody who watches the page asks for the same
def section_html(section: Section) -> str:
    """Safe HTML of one section. Only the record's own sections bring pictures and folded parts: no person writes them.

    >>> text = "![users](data:image/svg+xml;base64,AAAA)"
    >>> section_html(Section(id="signal", title="Signal", text=text, is_record=True))
    '<div class="scroll"><img class="picture" alt="users" src="data:image/svg+xml;base64,AAAA"></div>'
    """
    if not section.is_record:
        return _html(demote_headings(section.text))
    if picture := _PICTURE.fullmatch(section.text.strip()):
        return f'<div class="scroll"><img class="picture" alt="{escape(picture[1])}" src="{picture[2]}"></div>'
    text = _MERMAID.sub("", section.text)
    folded = _FOLDED.search(text)
    if folded is None:
        return _html(text)
    inside = f'<details id="all-{section.id}"><summary>{escape(folded[1])}</summary>{_html(folded[2])}</details>'
    return _html(text[: folded.start()]) + inside


def _html(markdown: str) -> str:
    html = _ALIGNED.sub(r' class="\1"', _MARKDOWN.render(markdown))
    return html.replace("<table>", '<div class="scroll"><table>').replace("</table>", "</table></div>")
