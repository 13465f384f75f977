"""SAN Console: an iSCSI initiator, target and iSNS engine in pure Python, with a console on top."""

__version__ = "0.1.0"
