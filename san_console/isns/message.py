"""Messages: TLVs, the status in front of a response, and the parts of a request (RFC 4171 §5.3, §5.6)."""

import struct
from collections.abc import Iterable
from dataclasses import dataclass, field

from san_console.isns import pdu, status
from san_console.isns.attributes import DELIMITER, Attribute, Tag, check
from san_console.isns.errors import RemoteProtocolError
from san_console.isns.functions import RESPONSE, function_name

_TLV = struct.Struct(">II")
assert _TLV.size == 8
_STATUS = struct.Struct(">I")
assert _STATUS.size == 4

MAX_ATTRIBUTES = 100_000
"""TLVs of one message: more than any real answer, and a bound on what empty TLVs cost in objects."""


@dataclass(slots=True)
class Message:
    """One request or response; `status_code` is None in a request."""

    function: int
    transaction: int
    flags: int = 0
    status_code: int | None = None
    attributes: list[Attribute] = field(default_factory=list)

    @property
    def is_response(self) -> bool:
        return bool(self.function & RESPONSE)

    def encode(self) -> list[bytes]:
        """The PDUs of this message, in order."""
        payload = encode_attributes(self.attributes)
        if self.status_code is not None:
            payload = _STATUS.pack(self.status_code) + payload
        return pdu.split(self.function, self.transaction, self.flags, payload)


def encode_attributes(attributes: Iterable[Attribute]) -> bytes:
    """The TLVs, joined. Values are expected padded, as the writers of `attributes` make them."""
    return b"".join(_TLV.pack(tag, len(value)) + value for tag, value in attributes)


def decode_attributes(payload: bytes) -> list[Attribute]:
    """Cut a payload into TLVs; values are not looked at. Raises RemoteProtocolError (status 2)."""
    attributes: list[Attribute] = []
    offset, end = 0, len(payload)
    while offset < end:
        if end - offset < _TLV.size:
            raise _malformed(f"{end - offset} bytes are left where a TLV should start.")
        tag, size = _TLV.unpack_from(payload, offset)
        offset += _TLV.size
        if size % 4:
            raise _malformed(
                f"The length {size} of attribute {tag} is not a multiple of 4 (RFC 4171 §5.3.1)."
            )
        if size > end - offset:
            raise _malformed(f"Attribute {tag} says {size} bytes where {end - offset} are left.")
        if len(attributes) >= MAX_ATTRIBUTES:
            raise _malformed(f"More than {MAX_ATTRIBUTES} attributes in one message.")
        attributes.append(Attribute(tag, payload[offset : offset + size]))
        offset += size
    return attributes


def decode(whole: pdu.WholeMessage) -> Message:
    """Read a reassembled message. Raises RemoteProtocolError with function and transaction filled in."""
    message = Message(whole.function, whole.transaction, whole.flags)
    payload = whole.payload
    try:
        if message.is_response:
            if len(payload) < _STATUS.size:
                raise _malformed("A response without a status code (RFC 4171 §5.4).")
            (message.status_code,) = _STATUS.unpack_from(payload)
            payload = payload[_STATUS.size :]
        message.attributes = decode_attributes(payload)
    except RemoteProtocolError as error:
        error.function, error.transaction = whole.function, whole.transaction
        raise
    return message


def response_to(request: Message, code: int, attributes: Iterable[Attribute] = ()) -> Message:
    """The server's answer: same transaction, function with the leading bit set (§5.1.2, §5.1.5)."""
    return Message(request.function | RESPONSE, request.transaction, pdu.FLAG_SERVER, code, list(attributes))


@dataclass(slots=True)
class RequestParts:
    """A request by §5.6: who asks, the message key, the operating attributes."""

    source: Attribute | None
    key: list[Attribute]
    operating: list[Attribute]


def parts_of(message: Message) -> RequestParts:
    """Cut a request at its delimiter and check each value against the table.

    `source` is None where the message does not start with a non-empty iSCSI name or FC port name; what such
    a request gets (status 7) is for the caller. Raises RemoteProtocolError (status 2).
    """
    for attribute in message.attributes:
        if attribute.tag != Tag.DELIMITER:
            check(attribute)
        elif attribute.value:
            raise _malformed("The delimiter is not empty (RFC 4171 §5.6.3).")
    if DELIMITER in message.attributes:
        cut = message.attributes.index(DELIMITER)
        head, operating = message.attributes[:cut], message.attributes[cut + 1 :]
        if DELIMITER in operating:
            raise _malformed("A second delimiter.")
    else:
        head, operating = message.attributes, []
    source = None
    if head and head[0].value and head[0].tag in (Tag.ISCSI_NAME, Tag.FC_PORT_NAME):
        source, head = head[0], head[1:]
    return RequestParts(source, head, operating)


def describe(message: Message) -> str:
    """One line for a log: function, transaction, status."""
    text = f"{function_name(message.function)} transaction {message.transaction}"
    if message.status_code is not None:
        text += f": {status.explain(message.status_code).name}"
    return f"{text}, {len(message.attributes)} attributes"


def _malformed(text: str) -> RemoteProtocolError:
    return RemoteProtocolError(text, status=status.MESSAGE_FORMAT_ERROR)
