"""The demo's own world: phantom archives, coloured shapes, a tiny CLIPSeg and its pretraining."""
