"""iSCSI sessions that stay up, as an asyncio library: find targets, log in, use LUNs.

async with connect("iscsi://10.0.0.1/iqn.2003-01.org.example:disk") as session:
    unit = session.lun(0)
    print(await unit.info(), await unit.read(0, 8))
"""

from san_console.initiator.discovery import DiscoveryResult, ProbeResult, probe, send_targets
from san_console.initiator.errors import InitiatorError
from san_console.initiator.events import SessionEvent
from san_console.initiator.logical_unit import LogicalUnit
from san_console.initiator.lun_info import LunInfo
from san_console.initiator.opening import connect
from san_console.initiator.session import Session
from san_console.initiator.settings import RetryPolicy, SessionSettings

__all__ = [
    "DiscoveryResult",
    "InitiatorError",
    "LogicalUnit",
    "LunInfo",
    "ProbeResult",
    "RetryPolicy",
    "Session",
    "SessionEvent",
    "SessionSettings",
    "connect",
    "probe",
    "send_targets",
]
