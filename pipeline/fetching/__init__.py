"""Fetching: downloads of archives, split lists and CLIPSeg's files, with checksums."""
