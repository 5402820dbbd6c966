"""Whether the images of a dataset belong to its masks, told by all of them together.

A lesion differs from its surroundings in grey level, in most images of a dataset to the same side. So the difference
between inside and outside of the mask, averaged over the dataset, is far from zero; it vanishes where images were
exchanged or mirrored. No single case can be told in this way.
"""

import numpy as np

MIN_CASES = 100
"""Cases below which the mean says too little."""
TOLERANCE = 0.1
"""Difference from the published dataset's mean; exchanging one image in six of any of the five moves it further."""
SIGNIFICANT = 6.0
"""Standard errors by which mirrored images must fit the masks better."""
TURNS = {"mirrored": np.s_[:, :, ::-1], "upside down": np.s_[:, ::-1], "turned by 180 degrees": np.s_[:, ::-1, ::-1]}


def contrasts(thumbnails: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """The difference between the mean level inside and outside of each mask, in standard deviations of its image.

    Args:
        thumbnails: (n, S, S) grey levels; their mean over the dataset, which is the same vignette or frame everywhere,
            is subtracted.
        masks: (n, S, S) shares of foreground, 0..1, none of them empty.
    """
    levels = thumbnails - thumbnails.mean(axis=0)
    inside = (levels * masks).sum(axis=(1, 2)) / masks.sum(axis=(1, 2))
    outside = (levels * (1 - masks)).sum(axis=(1, 2)) / np.maximum((1 - masks).sum(axis=(1, 2)), 1e-6)
    return (inside - outside) / np.maximum(levels.std(axis=(1, 2)), 1e-6)


def misalignment(thumbnails: np.ndarray, masks: np.ndarray, published: float | None) -> str:
    """What is wrong between the images and masks of a dataset, or "".

    Args:
        thumbnails, masks: as in :func:`contrasts`.
        published: mean contrast of the dataset as published, where known.
    """
    if len(thumbnails) < MIN_CASES:
        return ""
    own = contrasts(thumbnails, masks)
    for name, turn in TURNS.items():
        other = contrasts(thumbnails[turn], masks)
        gain = np.sign(other.mean()) * other - np.sign(own.mean()) * own
        if gain.mean() > SIGNIFICANT * gain.std() / np.sqrt(len(gain)):
            return f"images fit the masks better when they are {name}"
    if published is not None and abs(own.mean() - published) > TOLERANCE:
        return f"mean contrast between foreground and background is {own.mean():.2f} where {published:.2f} is expected"
    return ""
