"""`quell people`: what is printed lets its owner in, and a secret that lets nobody in is said."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pyotp.totp import TOTP
from typer.testing import CliRunner

from deployments.cli.check_secrets import check_secrets
from deployments.cli.main import app
from quell.adapters.identity import code_step
from quell.config.load import load_config
from quell.incidents.decision import Person
from quell.incidents.errors import InvalidInput

pytestmark = pytest.mark.integration

EXAMPLE = Path(__file__).parents[2] / "deployments" / "config.example"
NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)
ANN = Person(name="ann", full_name="Ann Lee", team="shop", roles=("approver",), email="ann@shop.example")


def test_the_printed_secret_and_the_address_for_the_app_give_the_same_codes(tmp_path: Path) -> None:
    """Somebody who sets Quell up on services of their own has to come by a secret, without writing a program."""
    result = CliRunner().invoke(app, ["people", "secret", "ann"])
    secret = result.stdout.strip()
    assert result.exit_code == 0 and "totp_secret: file:secrets/ann.totp" in result.stderr
    assert f"otpauth://totp/Quell:ann?secret={secret}&issuer=Quell" in result.stderr
    (tmp_path / "ann.totp").write_text(result.stdout)
    ann = replace(ANN, totp_secret=f"file:{tmp_path / 'ann.totp'}")
    assert code_step(ann, TOTP(secret).at(NOW), NOW) is not None
    assert code_step(ann, TOTP(secret).at(NOW, counter_offset=5), NOW) is None


def test_a_secret_in_groups_of_four_as_apps_show_it_is_the_same_secret(tmp_path: Path) -> None:
    (tmp_path / "ann.totp").write_text("jbsw y3dp ehpk 3pxp jbsw y3dp ehpk 3pxp\n")
    ann = replace(ANN, totp_secret=f"file:{tmp_path / 'ann.totp'}")
    assert code_step(ann, TOTP("JBSWY3DPEHPK3PXP" * 2).at(NOW), NOW) is not None


@pytest.mark.parametrize("secret", ["correct horse", "JBSWY3DPEHPK3PXP", "0189" * 8])
def test_a_secret_of_no_app_is_an_error_that_says_where_and_what_to_do(tmp_path: Path, secret: str) -> None:
    """It was a traceback in the command line and a 500 on the page of whoever gave a code."""
    (tmp_path / "ann.totp").write_text(secret)
    ann = replace(ANN, totp_secret=f"file:{tmp_path / 'ann.totp'}")
    with pytest.raises(
        InvalidInput, match=r"totp_secret of ann at file:.*ann\.totp.*base32.*`quell people secret ann`"
    ):
        code_step(ann, "123456", NOW)


def test_secrets_that_can_be_read_and_let_nobody_in_are_found_before_anybody_needs_them(tmp_path: Path) -> None:
    (tmp_path / "ann.totp").write_text("correct horse")
    (tmp_path / "ann.hash").write_text("my own password")
    ann = replace(ANN, totp_secret=f"file:{tmp_path / 'ann.totp'}", password_hash=f"file:{tmp_path / 'ann.hash'}")
    config = replace(load_config(EXAMPLE), people={"ann": ann}, sources=None)
    found = [finding.text for finding in check_secrets(config) if not finding.is_ok]
    assert len(found) == 2 and "base32" in found[0] and "`quell people hash`" in found[1]
    assert "correct horse" not in str(found) and "my own password" not in str(found)
