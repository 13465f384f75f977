"""SCSI without I/O: command blocks, sense data, INQUIRY and VPD, capacity, mode pages, LUN lists (SPC-4,
SBC-3).
"""
