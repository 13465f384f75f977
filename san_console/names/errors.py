"""What `names` raises. Each message is a sentence that can be shown to the user as it is."""


class NamesError(ValueError):
    """A text or number that names nothing in iSCSI."""


class InvalidName(NamesError):
    """Not an iSCSI name (RFC 7143 §4.2.7, RFC 3722)."""


class InvalidPortal(NamesError):
    """Not an address, or not an address with a port."""


class InvalidUrl(NamesError):
    """Not an iscsi:// URL, or one that carries a password."""


class InvalidLun(NamesError):
    """A LUN outside of what can be encoded, or in an addressing method that is not supported (SAM-5 §4.7)."""


class InvalidSecret(NamesError):
    """Text that cannot be a CHAP secret; the message never holds any part of it."""
