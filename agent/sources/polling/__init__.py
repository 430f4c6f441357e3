"""Any database that can be asked: read by watermark and compared with the mirror, with a read-only account."""
