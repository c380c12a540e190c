"""The generated configuration is one that Envoy takes, and the commands that print it and make tokens work."""

import subprocess
import time
from pathlib import Path

import jwt
import pytest
import yaml
from cryptography.hazmat.primitives import serialization
from tests.contract.data_planes.certificates import Authority
from tests.contract.data_planes.envoy import envoy_binary
from tests.unit.test_envoy_runtime import plan
from typer.testing import CliRunner

from verdigris.cli.traffic import UnreadableFile, WrongLifetime, app
from verdigris.errors import VerdigrisError
from verdigris.plan.example import example_plan
from verdigris.plan.plan import Setting
from verdigris.traffic.chosen_users import ALGORITHM, LIFETIME_S_MAX, InvalidToken, issue, new_key, read_public_keys
from verdigris.traffic.data_plane import NotSupported
from verdigris.traffic.envoy_config import envoy_config


def validate(text: str, folder: Path) -> None:
    config = folder / "envoy.yaml"
    config.write_text(text, encoding="utf-8")
    (folder / "committed").mkdir(exist_ok=True)
    command = [envoy_binary(), "--mode", "validate", "-c", str(config), "--disable-hot-restart", "--log-level", "warning"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 0, ended.stderr


@pytest.mark.parametrize("case", ["plain", "everything", "names and unix sockets"])
def test_envoy_takes_it(tmp_path: Path, case: str) -> None:
    settings: dict[str, Setting] = {"committed_folder": str(tmp_path / "committed")}
    if case == "everything":
        (tmp_path / "token.pub").write_bytes(new_key()[1] + new_key()[1])
        authority = Authority(tmp_path)
        certificate, key = authority.issue("proxy")
        settings |= {
            "token_key": str(tmp_path / "token.pub"), "chosen_users": True, "xds": "10.0.0.1:18000, 10.0.0.2:18000",
            "xds_certificate": str(certificate), "xds_key": str(key), "xds_client_ca": str(authority.file), "xds_server_name": "guard",
            "xds_server_ca": str(authority.file), "xds_proxy_certificate": str(certificate), "xds_proxy_key": str(key),
            "mirror_methods": "*", "node": "edge-1", "listen": "[::]:8080",
        }  # fmt: skip
    elif case == "names and unix sockets":
        settings |= {"xds": str(tmp_path / "xds"), "subject": "shop.eu-1", "listen": "127.0.0.1:8080"}
    text = envoy_config(plan(settings))
    validate(text, tmp_path)
    assert yaml.safe_load(text)["layered_runtime"]["layers"][-1]["name"].endswith(".fence")


def test_it_does_not_change_with_the_roles_but_for_where_it_starts(tmp_path: Path) -> None:
    folder = str(tmp_path)
    one, other = (envoy_config(plan({"committed_folder": folder}, *roles)).splitlines() for roles in (("blue", "green"), ("green", "blue")))
    different = [(a, b) for a, b in zip(one, other, strict=True) if a != b]
    assert different
    assert all("numerator: 0" in a or "all to" in a for a, _ in different)
    assert all(b == a.replace("numerator: 0", "numerator: 1000000").replace("all to blue", "all to green") for a, b in different)


def test_a_private_key_does_not_get_into_a_configuration(tmp_path: Path) -> None:
    private, public = new_key()
    for content in (private, private + public, b"nothing", b""):
        (tmp_path / "key").write_bytes(content)
        with pytest.raises(InvalidToken):
            envoy_config(plan({"token_key": str(tmp_path / "key")}))
    with pytest.raises(InvalidToken):
        read_public_keys(tmp_path / "absent")


@pytest.mark.parametrize(("lifetime_s", "user"), [(0.0, "maria"), (LIFETIME_S_MAX + 1.0, "maria"), (60.0, " "), (60.0, "x" * 201)])
def test_tokens_end_and_have_a_user(lifetime_s: float, user: str) -> None:
    with pytest.raises(InvalidToken):
        issue(new_key()[0], "shop", user, time.time(), lifetime_s)


def test_commands(tmp_path: Path) -> None:
    run = CliRunner()
    made = run.invoke(app, ["key", "new", str(tmp_path / "users")], catch_exceptions=False)
    assert made.exit_code == 0
    private, public = tmp_path / "users.pem", tmp_path / "users.pub.pem"
    assert private.stat().st_mode & 0o777 == 0o600
    with pytest.raises(VerdigrisError, match="never replaced"):
        run.invoke(app, ["key", "new", str(tmp_path / "users")], catch_exceptions=False)
    file = tmp_path / "plan.yaml"
    file.write_text(example_plan("envoy"), encoding="utf-8")
    printed = run.invoke(app, ["envoy-config", str(file)], catch_exceptions=False)
    assert yaml.safe_load(printed.stdout)["admin"]["address"]["socket_address"]["address"] == "127.0.0.1"
    with pytest.raises(NotSupported, match="envoy-config"):
        run.invoke(app, ["haproxy-config", str(file)], catch_exceptions=False)
    token = run.invoke(app, ["token", str(file), "--user", "maria", "--for", "2h", "--key", str(private)], catch_exceptions=False)
    key = serialization.load_pem_public_key(public.read_bytes())
    claims = jwt.decode(token.stdout.strip(), key, algorithms=[ALGORITHM], audience="appointments", issuer="verdigris")  # type: ignore[arg-type]
    assert claims["sub"] == "maria"
    assert claims["exp"] - claims["iat"] == 7200
    with pytest.raises(WrongLifetime):
        run.invoke(app, ["token", str(file), "--user", "m", "--for", "soon", "--key", str(private)], catch_exceptions=False)
    with pytest.raises(InvalidToken, match="private"):
        run.invoke(app, ["token", str(file), "--user", "m", "--key", str(public)], catch_exceptions=False)
    with pytest.raises(UnreadableFile):
        run.invoke(app, ["envoy-config", str(tmp_path / "absent")], catch_exceptions=False)
