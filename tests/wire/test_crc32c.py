"""CRC32C against the examples of RFC 7143 A.4, on the compiled and on the pure path."""

import builtins
import importlib.util
import sys
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from san_console.wire import crc32c as module

READ_10_PDU = bytes.fromhex(
    "01c00000 00000000 00000000 00000000 14000000 00000400"
    "00000014 00000018 28000000 00000000 02000000 00000000"
)

VECTORS = [
    (bytes(32), "aa36918a"),
    (b"\xff" * 32, "43aba862"),
    (bytes(range(32)), "4e79dd46"),
    (bytes(range(31, -1, -1)), "5cdb3f11"),
    (READ_10_PDU, "563a96d9"),
]

both_paths = pytest.mark.parametrize("function", [module.crc32c, module.crc32c_pure], ids=["seam", "pure"])


@both_paths
@pytest.mark.parametrize(("data", "digest"), VECTORS)
def test_rfc_examples_in_wire_order(function: Callable[..., int], data: bytes, digest: str) -> None:
    assert function(data).to_bytes(4, "little").hex() == digest


@both_paths
@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_takes_every_kind_of_buffer_and_slices(
    function: Callable[..., int], kind: Callable[[bytes], memoryview]
) -> None:
    assert function(kind(b"123456789")) == 0xE3069283
    assert function(memoryview(kind(b"xx123456789yy"))[2:-2]) == 0xE3069283


@settings(max_examples=100)
@given(st.binary(max_size=300), st.integers(0, 300))
def test_both_paths_agree_and_continue(data: bytes, cut: int) -> None:
    whole = module.crc32c(data)
    assert module.crc32c_pure(data) == whole
    assert module.crc32c(data[cut:], module.crc32c(data[:cut])) == whole
    assert module.crc32c_pure(data[cut:], module.crc32c_pure(data[:cut])) == whole


def test_is_accelerated_here() -> None:
    assert module.ACCELERATED


def test_without_the_wheel_the_pure_path_takes_over(monkeypatch: pytest.MonkeyPatch) -> None:
    real_import = builtins.__import__

    def no_wheel(name: str, *args: object, **kwargs: object) -> object:
        if name == "crc32c":
            raise ImportError(name)
        return real_import(name, *args, **kwargs)  # type: ignore[arg-type]  # passed on as they came

    monkeypatch.delitem(sys.modules, "crc32c", raising=False)
    monkeypatch.setattr(builtins, "__import__", no_wheel)
    spec = importlib.util.spec_from_file_location("crc32c_without_wheel", module.__file__)
    assert spec is not None
    assert spec.loader is not None
    fresh = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(fresh)
    assert fresh.ACCELERATED is False
    assert fresh.crc32c(bytes(32)) == 0x8A9136AA
