"""Who is answered by the server of a page."""

from __future__ import annotations

import pytest

from townlet_runtime.sockets.security import HEADERS, allowed_hosts, allows_origin, is_local, is_same, new_secret


def test_secrets_differ_and_are_compared_whole() -> None:
    one, other = new_secret(), new_secret()
    assert one != other
    assert len(one) >= 43  # 256 bits in base64
    assert is_same(one, one)
    assert not is_same(one[:-1], one)
    assert not is_same(other, one)
    assert not is_same(None, one)
    assert not is_same("ä", one)


@pytest.mark.parametrize(
    ("host", "local"),
    [
        *((host, True) for host in ("127.0.0.1", "127.8.8.8", "localhost", "::1", "[::1]")),
        *((host, False) for host in ("0.0.0.0", "192.168.1.4", "::", "example.org", "127.0.0.1.x.org")),
    ],
)
def test_an_address_is_local_where_only_this_machine_reaches_it(host: str, local: bool) -> None:
    assert is_local(host) is local


def test_names_that_lead_here_are_not_answered() -> None:
    hosts = allowed_hosts("127.0.0.1", 8400)
    assert hosts == {"127.0.0.1:8400", "localhost:8400", "[::1]:8400"}
    assert allowed_hosts("10.0.0.7", 81) == {"10.0.0.7:81"}
    assert allowed_hosts("fe80::1", 81) == {"[fe80::1]:81"}
    assert "127.0.0.1" in allowed_hosts("127.0.0.1", 80)


@pytest.mark.parametrize(
    ("origin", "fits"),
    [
        ("http://127.0.0.1:8400", True),
        ("https://127.0.0.1:8400", True),
        ("http://127.0.0.1:8401", False),
        ("http://evil.example", False),
        ("http://127.0.0.1:8400.evil.example", False),
        ("http://127.0.0.1:8400/path", False),
        ("null", False),
        ("file://127.0.0.1:8400", False),
        (None, False),
    ],
)
def test_a_socket_is_opened_by_our_page_alone(origin: str | None, fits: bool) -> None:
    assert allows_origin(origin, "127.0.0.1:8400") is fits
    assert not allows_origin(origin, None)


def test_the_policy_allows_nothing_from_elsewhere() -> None:
    policy = dict(part.strip().split(" ", 1) for part in HEADERS["Content-Security-Policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert "unsafe" not in HEADERS["Content-Security-Policy"]
    assert policy["script-src"] == policy["connect-src"] == "'self'"
