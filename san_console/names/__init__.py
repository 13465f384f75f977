"""iSCSI names, portals, URLs, LUN numbers, credentials, and text from peers made fit to show. No I/O."""
