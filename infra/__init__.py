"""What DataStalker runs on; not part of the wheel."""
