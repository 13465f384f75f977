"""Function IDs of messages (RFC 4171 §4.1.3)."""

DEV_ATTR_REG = 0x0001
DEV_ATTR_QRY = 0x0002
DEV_GET_NEXT = 0x0003
DEV_DEREG = 0x0004
SCN_REG = 0x0005
SCN_DEREG = 0x0006
SCN_EVENT = 0x0007
SCN = 0x0008
DD_REG = 0x0009
DD_DEREG = 0x000A
DDS_REG = 0x000B
DDS_DEREG = 0x000C
ESI = 0x000D
HEARTBEAT = 0x000E
RQST_DOM_ID = 0x0011
RLSE_DOM_ID = 0x0012
GET_DOM_ID = 0x0013

RESPONSE = 0x8000
"""The leading bit of every response (§5.1.2)."""

REQUEST_NAMES: dict[int, str] = {
    DEV_ATTR_REG: "DevAttrReg",
    DEV_ATTR_QRY: "DevAttrQry",
    DEV_GET_NEXT: "DevGetNext",
    DEV_DEREG: "DevDereg",
    SCN_REG: "SCNReg",
    SCN_DEREG: "SCNDereg",
    SCN_EVENT: "SCNEvent",
    SCN: "SCN",
    DD_REG: "DDReg",
    DD_DEREG: "DDDereg",
    DDS_REG: "DDSReg",
    DDS_DEREG: "DDSDereg",
    ESI: "ESI",
    HEARTBEAT: "Heartbeat",
    RQST_DOM_ID: "RqstDomId",
    RLSE_DOM_ID: "RlseDomId",
    GET_DOM_ID: "GetDomId",
}


def function_name(function: int) -> str:
    """`DevAttrReg`, `DevAttrRegRsp`, or the number where the RFC defines none."""
    name = REQUEST_NAMES.get(function & ~RESPONSE)
    if name is None:
        return f"function 0x{function:04x}"
    return f"{name}Rsp" if function & RESPONSE else name
