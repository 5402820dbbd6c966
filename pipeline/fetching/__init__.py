"""Fetching: what the study needs from outside, archives, split lists and CLIPSeg's files, checked on arrival."""
