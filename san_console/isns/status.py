"""Status codes of responses (RFC 4171 §5.4), with what they mean for the person who reads them."""

from dataclasses import dataclass

SUCCESSFUL = 0
UNKNOWN_ERROR = 1
MESSAGE_FORMAT_ERROR = 2
INVALID_REGISTRATION = 3
INVALID_QUERY = 5
SOURCE_UNKNOWN = 6
SOURCE_ABSENT = 7
SOURCE_UNAUTHORIZED = 8
NO_SUCH_ENTRY = 9
VERSION_NOT_SUPPORTED = 10
INTERNAL_ERROR = 11
BUSY = 12
OPTION_NOT_UNDERSTOOD = 13
INVALID_UPDATE = 14
MESSAGE_NOT_SUPPORTED = 15
SCN_EVENT_REJECTED = 16
SCN_REGISTRATION_REJECTED = 17
ATTRIBUTE_NOT_IMPLEMENTED = 18
FC_DOMAIN_ID_NOT_AVAILABLE = 19
FC_DOMAIN_ID_NOT_ALLOCATED = 20
ESI_NOT_AVAILABLE = 21
INVALID_DEREGISTRATION = 22
REGISTRATION_FEATURE_NOT_SUPPORTED = 23


@dataclass(frozen=True, slots=True)
class StatusExplanation:
    """`name` as in RFC 4171 §5.4, `cause` in a sentence, `check`: what the reader can do about it."""

    name: str
    cause: str
    check: str


STATUS_EXPLANATIONS: dict[int, StatusExplanation] = {
    SUCCESSFUL: StatusExplanation("Successful", "The server did what was asked.", ""),
    UNKNOWN_ERROR: StatusExplanation(
        "Unknown Error", "The server failed without saying why.", "Look into the log of the iSNS server."
    ),
    MESSAGE_FORMAT_ERROR: StatusExplanation(
        "Message Format Error",
        "The server could not read the request.",
        "Check which versions of RFC 4171 both sides implement; report it with a trace.",
    ),
    INVALID_REGISTRATION: StatusExplanation(
        "Invalid Registration",
        "The server refuses the registration.",
        "Check that no other entity has registered the same node name or portal.",
    ),
    INVALID_QUERY: StatusExplanation(
        "Invalid Query", "The server does not answer this query.", "Check what the server supports."
    ),
    SOURCE_UNKNOWN: StatusExplanation(
        "Source Unknown",
        "The server does not know the node that asks.",
        "Register the initiator name at the server first, or let the server answer unregistered nodes.",
    ),
    SOURCE_ABSENT: StatusExplanation(
        "Source Absent", "The request did not name a node as its source.", "Set the initiator name."
    ),
    SOURCE_UNAUTHORIZED: StatusExplanation(
        "Source Unauthorized",
        "The server does not let this node do that.",
        "Use the node and the address that registered the entity, or a control node.",
    ),
    NO_SUCH_ENTRY: StatusExplanation(
        "No Such Entry", "The server has no such object.", "Check whether the registration expired."
    ),
    VERSION_NOT_SUPPORTED: StatusExplanation(
        "Version Not Supported", "The server speaks another version of iSNS.", "Check the server's version."
    ),
    INTERNAL_ERROR: StatusExplanation(
        "Internal Error", "The server failed inside.", "Look into the log of the iSNS server."
    ),
    BUSY: StatusExplanation("Busy", "The server is busy or full.", "Try again later."),
    OPTION_NOT_UNDERSTOOD: StatusExplanation(
        "Option Not Understood",
        "The server does not know an option of the request.",
        "Check whether the server demands or refuses authentication blocks.",
    ),
    INVALID_UPDATE: StatusExplanation(
        "Invalid Update", "The server refuses the update.", "Deregister and register again."
    ),
    MESSAGE_NOT_SUPPORTED: StatusExplanation(
        "Message Not Supported",
        "The server does not implement this request.",
        "Check what the server supports.",
    ),
    SCN_EVENT_REJECTED: StatusExplanation(
        "SCN Event Rejected",
        "The server does not pass on this event.",
        "Check the node's rights at the server.",
    ),
    SCN_REGISTRATION_REJECTED: StatusExplanation(
        "SCN Registration Rejected",
        "The server will not send state change notifications to this node.",
        "Register a portal with an SCN port on the address from which the server is called.",
    ),
    ATTRIBUTE_NOT_IMPLEMENTED: StatusExplanation(
        "Attribute Not Implemented",
        "The server does not know an attribute of the request.",
        "Check what the server supports.",
    ),
    FC_DOMAIN_ID_NOT_AVAILABLE: StatusExplanation(
        "FC_DOMAIN_ID Not Available", "No Fibre Channel domain ID is left.", "Release some at the server."
    ),
    FC_DOMAIN_ID_NOT_ALLOCATED: StatusExplanation(
        "FC_DOMAIN_ID Not Allocated", "That Fibre Channel domain ID is not in use.", "Check the ID."
    ),
    ESI_NOT_AVAILABLE: StatusExplanation(
        "ESI Not Available",
        "The server cannot watch the portals by entity status inquiries.",
        "Register without an ESI interval, or with an ESI port on the address that calls the server.",
    ),
    INVALID_DEREGISTRATION: StatusExplanation(
        "Invalid Deregistration", "The server refuses the deregistration.", "Check who registered the object."
    ),
    REGISTRATION_FEATURE_NOT_SUPPORTED: StatusExplanation(
        "Registration Feature Not Supported",
        "The server cannot register such objects.",
        "Check what the server supports.",
    ),
}


def explain(status: int) -> StatusExplanation:
    """The explanation of `status`; codes from 24 on are reserved by the RFC, and explained as such."""
    return STATUS_EXPLANATIONS.get(status) or StatusExplanation(
        f"Status {status}",
        f"The server answered with status {status}, which RFC 4171 does not define.",
        "Look into the log of the iSNS server.",
    )
