"""Ten misconfigurations in the sandbox's repository of configuration: each with another of its kind, and a good change.

The repository is the sandbox's own (services, HAProxy), with what else a shop keeps beside it: inventory, maps, routes,
flags, a client's settings, a Kubernetes deployment, certificates.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from deployments.sandbox.files import write_files
from deployments.sandbox.layout import REPLICAS, Layout
from deployments.sandbox.repository import DANA, JONAS, commit

Edit = Callable[[Mapping[str, str]], Mapping[str, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Misconfiguration:
    """`bad` is what caused the incident, `alike` the same mistake with another value, `fine` a change that is meant."""

    name: str
    bad: Edit
    alike: Edit
    fine: Edit


def edit(file: str, old: str, new: str, *, last: bool = False) -> Edit:
    """Replace a text, which must be there, once."""

    def run(texts: Mapping[str, str]) -> Mapping[str, str]:
        text = texts[file]
        place = text.rindex(old) if last else text.index(old)
        return {file: text[:place] + new + text[place + len(old) :]}

    return run


def both(*edits: Edit) -> Edit:
    def run(texts: Mapping[str, str]) -> Mapping[str, str]:
        changed: dict[str, str] = {}
        for one in edits:
            changed |= one({**texts, **changed})
        return changed

    return run


def put(file: str, text: Callable[[], str]) -> Edit:
    return lambda _: {file: text()}


def certificate(name: str, *, days: float, age_days: float = 300) -> str:
    """A self-signed certificate that ends in `days`."""
    now = datetime.now(UTC)
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=age_days))
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    return made.public_bytes(serialization.Encoding.PEM).decode()


_CFG = "haproxy/haproxy.cfg"
_HOSTS = "shop.example be_storefront\npay.example be_payment\napi.example be_checkout\nitems.example be_catalog\n"
_LIMITS = "mobile 400\nweb 900\npartner-feed 250\n"
_FLAGS = "# who sees what\ncheckout:\n  pricing: {pricing}\n  one_page: false\nsearch:\n  ranking: classic\n"
_ROUTES = """{
  "routes": [
    {"path": "/", "upstream": "storefront"},
    {"path": "/pay", "upstream": "payment"},
    {"path": "/basket", "upstream": "checkout"}
  ]
}
"""
_CLIENT = '[payment]\ntimeout = "800ms"\n\n[payment.retry]\nattempts = {attempts}\nbackoff = "50ms"\n'
_DEPLOYMENT = """apiVersion: apps/v1
kind: Deployment
metadata:
  name: checkout
spec:
  replicas: 3
  template:
    spec:
      containers:
        - name: checkout
          image: shop/checkout:1.8
          resources:
            limits:
              cpu: 500m
              memory: {memory}
"""


def write_repository(folder: Path) -> Path:
    """The sandbox's repository with the other files; each file that is changed later has a past."""
    layout = Layout(folder=folder)
    now = datetime.now(UTC)
    write_files(layout, now=now)
    root = layout.repository
    ports = {i.name: i.port for i in layout.instances}
    inventory = "services:\n" + "".join(
        f"  {service}:\n    instances:\n"
        + "".join(f"      {service}-{n}: {{port: {ports[f'{service}-{n}']}}}\n" for n in range(1, count + 1))
        for service, count in REPLICAS.items()
    )
    first = {
        "inventory.yaml": inventory,
        "maps/hosts.map": _HOSTS,
        "maps/limits.map": _LIMITS.replace("400", "500"),
        "flags.yaml": _FLAGS.format(pricing="classic"),
        "gateway/routes.json": _ROUTES,
        "gateway/client.toml": _CLIENT.format(attempts=3),
        "deploy/checkout.yaml": _DEPLOYMENT.format(memory="384Mi"),
        "certs/shop.pem": certificate("shop.example", days=90),
        "certs/api.pem": certificate("api.example", days=60),
    }
    second = {
        "maps/limits.map": _LIMITS,
        "flags.yaml": _FLAGS.format(pricing="stable"),
        "gateway/client.toml": _CLIENT.format(attempts=2),
        "deploy/checkout.yaml": _DEPLOYMENT.format(memory="512Mi"),
    }
    for texts, author, days in ((first, JONAS, 18), (second, DANA, 4)):
        write(root, texts)
        summary = "the shop's other settings" if days == 18 else "as measured"
        commit(root, author, summary, paths=list(texts), at=now - timedelta(days=days))
    return root


def write(root: Path, texts: Mapping[str, str]) -> None:
    for name, text in texts.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


def read(root: Path) -> Mapping[str, str]:
    """Every file of the working tree."""
    files = [path for path in root.rglob("*") if path.is_file() and ".git" not in path.parts]
    return {path.relative_to(root).as_posix(): path.read_text() for path in files}


MISCONFIGURATIONS: tuple[Misconfiguration, ...] = (
    Misconfiguration(
        name="wrong port",
        bad=edit(_CFG, "127.0.0.1:7422", "127.0.0.1:7522"),
        alike=edit(_CFG, "127.0.0.1:7432", "127.0.0.1:7499"),
        fine=both(
            edit(_CFG, "server checkout-3 127.0.0.1:7423", "server checkout-3 127.0.0.1:7424"),
            edit("inventory.yaml", "port: 7423", "port: 7424"),
        ),
    ),
    Misconfiguration(
        name="missing health check",
        bad=edit(_CFG, "  option httpchk GET /health\n", ""),
        alike=edit(_CFG, "  option httpchk GET /health\n", "", last=True),
        fine=edit(_CFG, "option httpchk GET /health", "option httpchk GET /ready"),
    ),
    Misconfiguration(
        name="swapped map names",
        bad=both(
            edit("maps/hosts.map", "pay.example be_payment", "pay.example be_checkout"),
            edit("maps/hosts.map", "api.example be_checkout", "api.example be_payment"),
        ),
        alike=both(
            edit("maps/hosts.map", "shop.example be_storefront", "shop.example be_catalog"),
            edit("maps/hosts.map", "items.example be_catalog", "items.example be_storefront"),
        ),
        fine=edit("maps/hosts.map", "items.example", "new.example be_storefront\nitems.example"),
    ),
    Misconfiguration(
        name="timeout too short",
        bad=edit("services/checkout-2.yaml", "payment_timeout_ms: 800", "payment_timeout_ms: 8"),
        alike=edit("services/checkout-1.yaml", "payment_timeout_ms: 800", "payment_timeout_ms: 120"),
        fine=edit("services/checkout-1.yaml", "payment_timeout_ms: 800", "payment_timeout_ms: 600"),
    ),
    Misconfiguration(
        name="limit too low",
        bad=edit("maps/limits.map", "mobile 400", "mobile 4"),
        alike=edit("maps/limits.map", "partner-feed 250", "partner-feed 25"),
        fine=edit("maps/limits.map", "mobile 400", "mobile 350"),
    ),
    Misconfiguration(
        name="bad feature flag",
        bad=edit("flags.yaml", "pricing: stable", "pricing: experiment-7"),
        alike=edit("flags.yaml", "pricing: stable", "pricing: beta"),
        fine=edit("flags.yaml", "pricing: stable", "pricing: classic"),
    ),
    Misconfiguration(
        name="wrong upstream",
        bad=edit("gateway/routes.json", '"payment"', '"payments-old"'),
        alike=edit("gateway/routes.json", '"checkout"', '"chekout"'),
        fine=edit("gateway/routes.json", '"/basket"', '"/items", "upstream": "catalog"},\n    {"path": "/basket"'),
    ),
    Misconfiguration(
        name="expired certificate",
        bad=put("certs/shop.pem", lambda: certificate("shop.example", days=-2)),
        alike=put("certs/api.pem", lambda: certificate("api.example", days=3)),
        fine=put("certs/shop.pem", lambda: certificate("shop.example", days=365)),
    ),
    Misconfiguration(
        name="resource limit",
        bad=edit("deploy/checkout.yaml", "memory: 512Mi", "memory: 32Mi"),
        alike=edit("deploy/checkout.yaml", "memory: 512Mi", "memory: 64000Ki"),
        fine=edit("deploy/checkout.yaml", "memory: 512Mi", "memory: 1Gi"),
    ),
    Misconfiguration(
        name="retry storm",
        bad=edit("gateway/client.toml", "attempts = 2", "attempts = 40"),
        alike=edit("gateway/client.toml", "attempts = 2", "attempts = 25"),
        fine=edit("gateway/client.toml", "attempts = 2", "attempts = 4"),
    ),
)
