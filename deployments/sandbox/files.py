"""The files that a sandbox starts from: rendered once into its folder, then the user's to change."""

import re
import shutil
from datetime import datetime
from pathlib import Path

import jinja2

from deployments.sandbox.credentials import write_secrets
from deployments.sandbox.layout import DEFAULT_BASE_PORT, REPLICAS, Layout
from deployments.sandbox.repository import create_repository

_EXAMPLE = Path(__file__).resolve().parents[1] / "config.example"
_OWN = ("config", "shop-config", "haproxy", "prometheus", "alertmanager", "secrets", "logs", "run", "quell")
_PORT = re.compile(rf"(?<![\w.-]){DEFAULT_BASE_PORT // 100}(\d\d)(?![\w.])")
_FOLDER = ".quell/sandbox"
_templates = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
    undefined=jinja2.StrictUndefined,
    keep_trailing_newline=True,
    autoescape=False,
)


def remove_files(layout: Layout) -> None:
    """Take away what `write_files` and the programs made; nothing else in the folder is touched."""
    for name in _OWN:
        shutil.rmtree(layout.folder / name, ignore_errors=True)
    for file in layout.folder.glob("quell.db*"):  # the record of what happened here
        file.unlink()


def write_files(layout: Layout, *, now: datetime) -> None:
    """Everything that is not there yet. What follows from ports and folder alone is written anew each time."""
    for name in (*_OWN, "haproxy/maps", "prometheus/rules"):
        (layout.folder / name).mkdir(parents=True, exist_ok=True)
    _write_maps(layout)
    write_secrets(layout.secrets)
    if not (layout.repository / ".git").exists():
        shutil.rmtree(layout.repository)
        create_repository(layout, _render("haproxy.cfg.j2", layout), now=now)
    (layout.folder / "prometheus" / "prometheus.yml").write_text(_render("prometheus.yml.j2", layout))
    rules = (Path(__file__).parent / "templates" / "shop-rules.yaml").read_text()
    (layout.folder / "prometheus" / "shop-rules.yml").write_text(rules)
    (layout.folder / "alertmanager" / "alertmanager.yml").write_text(_render("alertmanager.yml.j2", layout))
    render_config(layout)


def _render(template: str, layout: Layout) -> str:
    return _templates.get_template(template).render(
        folder=layout.folder,
        haproxy=layout.haproxy,
        secrets=layout.secrets,
        gateway_url=layout.gateway_url,
        port=dict(layout.ports()),
        services={service: layout.of_service(service) for service in REPLICAS},
    )


def _write_maps(layout: Layout) -> None:
    knobs = "global_rps 1000000\nshed 0\n"
    empty = ("maps/limits.map", "maps/adaptive.map", "maps/standing.map", "server-state")
    starts = dict.fromkeys(empty, "") | {"maps/knobs.map": knobs}
    for name, text in starts.items():
        file = layout.haproxy / name
        if not file.exists():
            file.write_text(text)


def render_config(layout: Layout) -> None:
    """Copy deployments/config.example with this sandbox's ports and folder; files that exist are left alone."""
    for source in sorted(_EXAMPLE.rglob("*")) if _EXAMPLE.is_dir() else []:
        target = layout.config / source.relative_to(_EXAMPLE)
        if source.is_dir() or target.exists():
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(substitute(source.read_text(), layout))


def substitute(text: str, layout: Layout) -> str:
    """Ports of the 74xx family and the path `.quell/sandbox`, wherever they stand.

    >>> substitute("http://127.0.0.1:7450 .quell/sandbox/x", Layout(folder=Path("/tmp/s"), base_port=9000))
    'http://127.0.0.1:9050 /tmp/s/x'
    """
    text = _PORT.sub(lambda found: str(layout.base_port + int(found.group(1))), text)
    return text.replace(f"./{_FOLDER}", str(layout.folder)).replace(_FOLDER, str(layout.folder))
