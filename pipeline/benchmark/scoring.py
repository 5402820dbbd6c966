"""How long scoring takes: ``python -m pipeline.benchmark.scoring`` (379 cases of ISIC's sizes, two threads).

Each case is what evaluation does once the network has answered: threshold a 352 x 352 probability map, upsample it
to the original size, unpack the target, score. The second table compares the two ways to measure boundary distances.
"""

import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from scipy.ndimage import gaussian_filter

from pipeline.evaluation import metrics

CASES = 379
THREADS = 2
SIDE = 352
# Height and width: the largest of ISIC 2016's test images, and a spread down to the smallest.
LARGEST = (2848, 4288)
SPREAD = [(2848, 4288), (2592, 3872), (2000, 3008), (1944, 2592), (1536, 2048), (767, 1022), (768, 1024), (542, 722)]


def _lesion(seed: int, sigma: float = 30.0) -> np.ndarray:
    """(352, 352) float32 in 0..1: smooth blobs; about a quarter is above 0.5."""
    field = gaussian_filter(np.random.default_rng(seed).normal(size=(SIDE, SIDE)), sigma, mode="wrap")
    return (1 / (1 + np.exp(-8 * (field / field.std() - 0.7)))).astype(np.float32)


def _score(case: tuple[np.ndarray, np.ndarray, tuple[int, int]]) -> metrics.CaseMetrics:
    probability, packed, (height, width) = case
    target = np.unpackbits(packed, count=height * width).reshape(height, width).view(bool)
    return metrics.case_metrics(metrics.upsample_probability(probability > 0.5, height, width), target)


def _cases(sizes: list[tuple[int, int]], kind: str) -> list[tuple[np.ndarray, np.ndarray, tuple[int, int]]]:
    """Ten different cases per size, as more would not fit in memory; they are scored in turn."""
    cases = []
    for index, (height, width) in enumerate(sizes):
        target = metrics.upsample_probability(_lesion(index % 10) > 0.5, height, width)
        if kind == "good":
            probability = 0.85 * _lesion(index % 10) + 0.15 * _lesion(index % 10 + 100)
        else:
            probability = _lesion(index % 10 + 100)
        cases.append((probability, np.packbits(target), (height, width)))
    return cases


def _time(sizes: list[tuple[int, int]], kind: str) -> tuple[float, float, float]:
    """:data:`CASES` cases on :data:`THREADS` threads: wall time and CPU time in seconds, and the mean DSC."""
    pool = _cases(sizes, kind)
    cases = [pool[index % len(pool)] for index in range(CASES)]
    start, used = time.perf_counter(), time.process_time()
    with ThreadPoolExecutor(THREADS) as executor:
        results = list(executor.map(_score, cases))
    dsc = float(np.mean([result.dsc for result in results]))
    return time.perf_counter() - start, time.process_time() - used, dsc


def main() -> None:
    print(f"{CASES} cases, {THREADS} threads: unpack, upsample, DSC, IoU, HD95")
    for name, sizes in (("all 2848 x 4288", [LARGEST] * 10), ("mixed sizes", SPREAD * 10)):
        for kind in ("good", "unrelated"):
            seconds, used, dsc = _time(sizes, kind)
            print(f"  {name:16} {kind:10} {seconds:6.1f} s, {used:6.1f} s of CPU time (mean DSC {dsc:.2f})", flush=True)
    print("one direction at 1424 x 2144, seconds: tree, map of distances")
    target = metrics._boundary(metrics.upsample_probability(_lesion(1) > 0.5, 1424, 2144))
    for sigma in (30, 10, 3, 2, 1.5, 1, 0.5):
        sources = metrics._boundary(metrics.upsample_probability(_lesion(2, sigma) > 0.5, 1424, 2144))
        seconds = []
        for threshold in (2.0, -1.0):
            metrics.DENSE_BOUNDARY = threshold
            start = time.perf_counter()
            metrics._distances(sources, target)
            seconds.append(time.perf_counter() - start)
        print(f"  {np.count_nonzero(sources) / sources.size:6.2%} boundary pixels: {seconds[0]:.2f}, {seconds[1]:.2f}")


if __name__ == "__main__":
    main()
