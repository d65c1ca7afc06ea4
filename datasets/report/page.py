"""Pages that are one file and load nothing.

plotly.js stands in the page, and its content security policy names the two scripts that may run by their hashes, so
that no text of a corpus becomes one.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup, escape

from .blocks import Exact, Plot, Section, Share
from .plots import DARK

_TEMPLATES = Path(__file__).parent / "templates"
_LINK = re.compile(r"(?P<doi>\bdoi:\s?(?P<id>10\.\d{4,}/[^\s,;<>\"]*[\w)]))|(?P<url>https://[^\s,;<>\"]*[\w/])")


def render(template: str, told: Sequence[Section], **values: Any) -> str:
    """Return the page that a template makes of sections; every text is escaped.

    Parameters
    ----------
    template
        A file of ``templates``; `values` are what it asks for: of every page a ``title``, the ``brand`` (what kind of
        page it is) and ``top``, the figures on top as (number, what, more).
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from plotly.offline import get_plotlyjs

    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"cell": cell, "linked": linked}
    environment.tests |= {"number": lambda value: isinstance(value, int | float)}
    scripts = [get_plotlyjs(), (_TEMPLATES / "report.js").read_text(encoding="utf-8")]
    plots = [block for section in told for block in section.blocks if isinstance(block, Plot)]
    return environment.get_template(template).render(
        sections=told,
        style=Markup((_TEMPLATES / "report.css").read_text(encoding="utf-8")),  # noqa: S704 - files of this package
        scripts=[Markup(script) for script in scripts],  # noqa: S704
        hashes=[f"'sha256-{_sha256(script)}'" for script in scripts],
        data={
            "dark": DARK,
            "plots": {plot.name: {"figure": plot.figure, "variants": list(plot.variants)} for plot in plots},
        },
        **values,
    )


def _sha256(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def cell(value: Any) -> str:
    """Return a value as tables show it: whole numbers with commas, shares in per cent, others to two decimals.

    Exact ones have four.
    """
    if value is None:
        return "\N{EN DASH}"
    if isinstance(value, Share):
        return f"{value:.2%}"
    if isinstance(value, Exact):
        return f"{value:,.4f}"
    if isinstance(value, bool | str):
        return str(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:,.2f}"


def linked(text: str) -> Markup:
    """Return escaped HTML of a text in which DOIs and https addresses are links."""
    parts, end = [], 0
    for match in _LINK.finditer(text):
        address = f"https://doi.org/{match['id']}" if match["doi"] else match["url"]
        parts += [
            escape(text[end : match.start()]),
            Markup('<a href="{}" rel="noreferrer">{}</a>').format(address, match[0]),
        ]
        end = match.end()
    return Markup("").join([*parts, escape(text[end:])])
