"""HAProxy's generated configuration: HAProxy itself accepts it, and nothing in a plan can write a line of it."""

import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from tests.required import missing
from tests.unit.plans import plan

from verdigris.plan.plan import Environment, Plan, Setting, Traffic
from verdigris.plan.settings import SETTINGS
from verdigris.traffic.chosen_users import new_key
from verdigris.traffic.data_plane import NotSupported
from verdigris.traffic.haproxy_config import first_map, haproxy_config, lease_ms, names

PATHS = {"socket": "/run/haproxy/admin.sock", "map_file": "/etc/haproxy/verdigris.map"}


def haproxy_plan(settings: Mapping[str, Setting] | None = None, lease_s: float = 3.0) -> Plan:
    return plan(traffic=Traffic("haproxy", lease_s, {"subject": "shop", **PATHS, **(settings or {})}))


@pytest.mark.parametrize("with_users", [False, True])
def test_haproxy_accepts_it_without_a_warning(tmp_path: Path, with_users: bool) -> None:  # noqa: FBT001
    haproxy = shutil.which("haproxy", path="/usr/sbin:/usr/local/sbin:/usr/bin")
    if haproxy is None:
        missing("haproxy", "there is no haproxy here; scripts/setup-servers installs it")
    if not re.fullmatch(r"[A-Za-z0-9_./+-]+", str(tmp_path)):
        pytest.skip("the temporary folder's name needs quoting")
    (tmp_path / "users.pub").write_bytes(new_key()[1])
    settings: dict[str, Setting] = {"token_key": f"{tmp_path}/users.pub"} if with_users else {}
    several = replace(
        haproxy_plan(settings | {"socket": f"{tmp_path}/s.sock", "map_file": f"{tmp_path}/v.map"}),
        candidate=Environment("green", plan().candidate.identity, ("127.0.0.1:8002", "[::1]:8003")),
    )
    (tmp_path / "v.map").write_text(first_map(several))
    (tmp_path / "haproxy.cfg").write_text(haproxy_config(several))
    checked = subprocess.run([haproxy, "-c", "-V", "-f", tmp_path / "haproxy.cfg"], capture_output=True, text=True, check=False, timeout=30)
    assert checked.returncode == 0, checked.stderr
    assert "WARNING" not in checked.stderr
    assert ("jwt_verify" in (tmp_path / "haproxy.cfg").read_text()) is with_users


def test_it_stays_the_same_when_the_roles_change_places() -> None:
    before = haproxy_plan()
    after = replace(before, baseline=before.candidate, candidate=before.baseline)

    def rules(of: Plan) -> list[str]:
        """Without what only says where to begin: the first map, and the default of a map without lines."""
        return [line.replace(",green)", ",blue)") for line in haproxy_config(of).splitlines() if "printf" not in line]

    assert rules(before) == rules(after)
    assert first_map(after) == "default green\nnewest none\nlease none\n"


def test_the_lease_of_the_plan_is_the_period_of_the_table() -> None:
    assert "gpc0_rate(2500)" in haproxy_config(haproxy_plan(lease_s=2.5))
    # Rows are kept longer than they count: it is the rate that ends a lease.
    assert "expire 6000ms" in haproxy_config(haproxy_plan(lease_s=2.5))


@pytest.mark.parametrize("lease_s", [0.0, 0.05, 90_000.0, float("nan"), float("inf")])
def test_a_lease_that_haproxy_cannot_keep_is_refused(lease_s: float) -> None:
    with pytest.raises(NotSupported, match="lease"):
        lease_ms(lease_s)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("subject", "shop\n    http-request deny"),
        ("subject", "shop shop"),
        ("subject", ""),
        ("socket", None),
        ("socket", "relative.sock"),
        ("socket", "/run/a b"),
        ("map_file", "/etc/x;clear map /etc/y"),
        ("map_file", "/etc/x,green"),
        ("map_file", "/etc/x\n"),
        ("token_key", "/etc/x) or 1"),
        ("token_key", True),
        ("listen", "127.0.0.1:80 ssl crt /x"),
    ],
)
def test_a_setting_that_would_need_quoting_is_refused(setting: str, value: Setting) -> None:
    wrong = haproxy_plan({setting: value})
    if setting == "subject" and value == "":
        assert names(wrong).subject == "payments"  # the plan's name
        return
    with pytest.raises(NotSupported, match=setting):
        haproxy_config(wrong)


@pytest.mark.parametrize("address", ["127.0.0.1", "127.0.0.1:80 weight 0", "host:port", "a:1\nserver b", ""])
def test_an_address_that_would_need_quoting_is_refused(address: str) -> None:
    with pytest.raises(NotSupported, match="address"):
        haproxy_config(replace(haproxy_plan(), candidate=Environment("green", plan().candidate.identity, (address,))))


def test_a_slot_without_address_and_two_roles_in_one_slot_are_refused() -> None:
    with pytest.raises(NotSupported, match="no address"):
        haproxy_config(replace(haproxy_plan(), candidate=replace(plan().candidate, addresses=())))
    with pytest.raises(NotSupported, match="both in slot"):
        haproxy_config(replace(haproxy_plan(), candidate=replace(plan().candidate, slot="blue")))


def test_every_setting_that_is_read_is_one_that_a_plan_may_have() -> None:
    source = "".join(Path(file).read_text() for file in Path("src/verdigris/traffic").glob("haproxy*.py"))
    read = set(re.findall(r'settings\.get\("(\w+)"', source))
    assert read <= SETTINGS["haproxy"].keys()
    assert {"socket", "map_file", "subject", "token_key", "listen"} <= read
