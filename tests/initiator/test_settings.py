"""Settings: back-off, digests, ISID."""

from __future__ import annotations

import pytest

from san_console.initiator.opening import default_initiator_name, settings_from_url
from san_console.initiator.settings import RetryPolicy, SessionSettings, random_isid
from san_console.names.errors import InvalidUrl
from san_console.names.iscsi_name import normalise
from san_console.names.portal import Portal


def test_the_back_off_grows_up_to_its_bound() -> None:
    policy = RetryPolicy(first_s=1, factor=2, max_s=30)
    assert [policy.delay_s(attempt) for attempt in (1, 2, 3, 4, 5, 6, 7)] == [1, 2, 4, 8, 16, 30, 30]
    assert policy.delay_s(100_000) == 30


@pytest.mark.parametrize(
    ("wish", "offered"),
    [("none", ("None",)), ("prefer", ("CRC32C", "None")), ("require", ("CRC32C",))],
)
def test_digest_wishes_become_lists(wish: str, offered: tuple[str, ...]) -> None:
    settings = SessionSettings("iqn.2026-11.a:b", "iqn.2026-11.a:c", Portal("h"), header_digest=wish)  # type: ignore[arg-type]
    settings.data_digest = wish  # type: ignore[assignment]  # the parametrised text is one of them
    offer = settings.effective_offer()
    assert (offer.header_digest, offer.data_digest) == (offered, offered)


def test_an_isid_of_the_random_format() -> None:
    assert random_isid(b"abcde") == b"\x80abcde"
    with pytest.raises(ValueError, match="5 random bytes"):
        random_isid(b"")


def test_a_url_becomes_settings() -> None:
    settings = settings_from_url("iscsi://10.0.0.1/iqn.2026-11.a:b/3", header_digest="require")
    assert (settings.target_name, settings.portal) == ("iqn.2026-11.a:b", Portal("10.0.0.1"))
    assert settings.initiator_name == default_initiator_name() == normalise(settings.initiator_name)
    assert settings.header_digest == "require"
    named = settings_from_url("iscsi://10.0.0.1/iqn.2026-11.a:b", initiator_name="iqn.2026-11.x:me")
    assert named.initiator_name == "iqn.2026-11.x:me"
    with pytest.raises(InvalidUrl, match="no target"):
        settings_from_url("iscsi://10.0.0.1")
