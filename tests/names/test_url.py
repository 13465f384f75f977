"""iscsi:// URLs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from san_console.names.errors import InvalidUrl
from san_console.names.portal import Portal
from san_console.names.url import IscsiUrl

NAME = "iqn.2001-04.com.example:disk"
CANARY = "hunter2hunter2"


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("iscsi://10.0.0.1", IscsiUrl(Portal("10.0.0.1"))),
        ("iscsi://10.0.0.1/", IscsiUrl(Portal("10.0.0.1"))),
        ("ISCSI://[::1]:3261/" + NAME, IscsiUrl(Portal("::1", 3261), NAME)),
        (f"iscsi://host/{NAME}/", IscsiUrl(Portal("host"), NAME)),
        (f"iscsi://host/{NAME}/0", IscsiUrl(Portal("host"), NAME, 0)),
        (f"iscsi://u@host:1/{NAME}/16383", IscsiUrl(Portal("host", 1), NAME, 16383, "u")),
        (
            "iscsi://iqn.2001-04.com%3Ame@host/iqn.2001-04.com.A_b:C",
            IscsiUrl(Portal("host"), "iqn.2001-04.com.A_b:C", None, "iqn.2001-04.com:me"),
        ),
        ("iscsi://host/iqn.2001-04.com%3A%C3%A9/1", IscsiUrl(Portal("host"), "iqn.2001-04.com:é", 1)),
        ("iscsi://host/iqn.2001-04.com:a@b/1", IscsiUrl(Portal("host"), "iqn.2001-04.com:a@b", 1)),
    ],
)
def test_parse(text: str, url: IscsiUrl) -> None:
    assert IscsiUrl.parse(text) == url
    assert IscsiUrl.parse(str(url)) == url


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("http://10.0.0.1/", "starts with iscsi://"),
        ("10.0.0.1", "starts with iscsi://"),
        ("iscsi://", "missing"),
        ("iscsi:///" + NAME, "missing"),
        ("iscsi://@host", "empty"),
        ("iscsi://a%20b@host", "space"),
        ("iscsi://host//0", "target name is missing"),
        ("iscsi://host/disk/0", "none of iqn."),
        (f"iscsi://host/{NAME}/x", "not a LUN number"),
        (f"iscsi://host/{NAME}/-1", "not a LUN number"),
        (f"iscsi://host/{NAME}/1/2", "not a LUN number"),
        (f"iscsi://host/{NAME}/16384", "0 to 16383"),
        (f"iscsi://host/{NAME}/0?x=1", "neither"),
        (f"iscsi://host/{NAME}/0#x", "neither"),
        ("iscsi://host/iqn.%FF%FE", "UTF-8"),
        ("iscsi://host/iqn.2001-04.com:%0A", "U+000A"),
        ("iscsi://host/" + "a" * 5000, "5013 characters"),
        ("iscsi://a:b:c", "IPv6"),
    ],
)
def test_refusals(text: str, reason: str) -> None:
    with pytest.raises(InvalidUrl) as caught:
        IscsiUrl.parse(text)
    assert reason in str(caught.value)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    "user_info",
    [
        f"user:{CANARY}@",
        f"user%{CANARY}@",
        f"user%64{CANARY}@",
        f"user%ff{CANARY}@",
        f"user:{CANARY}/x@",
        f"user:x/{CANARY}@",
        f":{CANARY}@",
    ],
)
def test_a_password_is_refused_and_not_repeated(user_info: str) -> None:
    with pytest.raises(InvalidUrl) as caught:
        IscsiUrl.parse(f"iscsi://{user_info}host/{NAME}/0")
    assert "password does not belong" in str(caught.value)
    error: BaseException | None = caught.value
    while error is not None:
        assert CANARY not in str(error)
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def test_a_lun_needs_a_target() -> None:
    with pytest.raises(InvalidUrl, match="without its target"):
        IscsiUrl(Portal("host"), lun=1)


@given(
    st.sampled_from([Portal("10.0.0.1"), Portal("::1", 1), Portal("host", 65535)]),
    st.sampled_from([None, NAME, "iqn.2001-04.com:é_x", "iqn.2001-04.com.A:B@c+d~e=f"]),
    st.one_of(st.none(), st.integers(0, 16383)),
    st.one_of(st.none(), st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1)),
)
def test_round_trip(portal: Portal, target: str | None, lun: int | None, user: str | None) -> None:
    url = IscsiUrl(portal, target, lun if target else None, user)
    assert IscsiUrl.parse(str(url)) == url


@given(st.text(max_size=60))
def test_any_text_gives_a_url_or_a_refusal(text: str) -> None:
    for candidate in (text, "iscsi://" + text, "iscsi://host/" + text, f"iscsi://host/{NAME}/{text}"):
        try:
            url = IscsiUrl.parse(candidate)
        except InvalidUrl as error:
            message = str(error)
        else:
            message = ""
            assert IscsiUrl.parse(str(url)) == url
        assert message.isprintable()
