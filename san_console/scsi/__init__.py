"""SCSI without I/O (SPC-4, SBC-3): command blocks, sense, INQUIRY, VPD, capacity, mode pages, LUNs."""
