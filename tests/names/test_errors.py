"""One tree: whoever catches NamesError catches all of it."""

import pytest

from san_console.names import errors


@pytest.mark.parametrize(
    "kind", ["InvalidName", "InvalidPortal", "InvalidUrl", "InvalidLun", "InvalidSecret"]
)
def test_one_tree(kind: str) -> None:
    assert issubclass(getattr(errors, kind), errors.NamesError)
    assert issubclass(errors.NamesError, ValueError)
