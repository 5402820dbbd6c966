"""Small datasets in the layouts of the real archives, made from seeded noise, and a server with faults."""

import contextlib
import http.server
import io
import json
import struct
import subprocess
import sys
import threading
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.data.integrity import mask_box, verify
from pipeline.data.sources import SPLITS, dataset_facts
from pipeline.data.standardise import standardise
from pipeline.data.unpack import list_members, unpack
from pipeline.runtime.errors import PipelineError

SIZE = (40, 30)
DEFAULT_SPLITS = ("train", "train", "train", "val", "test")


def encode(pixels: np.ndarray | Image.Image, encoding: str = "PNG", **options) -> bytes:
    """The file that holds ``pixels``."""
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    buffer = io.BytesIO()
    image.save(buffer, encoding, **options)
    return buffer.getvalue()


def deep_png(levels: np.ndarray) -> bytes:
    """A PNG of 16 bits a channel; Pillow writes none in colour. ``levels``: (H, W, 3), 0..65535."""
    rows = levels.astype(">u2").reshape(len(levels), -1).view(np.uint8)
    pixels = zlib.compress(np.pad(rows, ((0, 0), (1, 0))).tobytes())
    header = struct.pack(">IIBBBBB", levels.shape[1], levels.shape[0], 16, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", pixels), (b"IEND", b"")]
    parts = [
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def two_pages(mode: str = "RGB") -> bytes:
    """A TIFF with two pages, the first black, the second white."""
    pages = [Image.new(mode, SIZE, colour) for colour in ("black", "white")]
    return encode(pages[0], "TIFF", save_all=True, append_images=pages[1:])


def scene(rng: np.random.Generator, size: tuple[int, int] = SIZE) -> np.ndarray:
    """Smooth noise, (H, W, 3) uint8, which JPEG hardly changes and a perceptual hash tells apart."""
    coarse = rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC))


def blob(rng: np.random.Generator, size: tuple[int, int] = SIZE) -> np.ndarray:
    """A rectangle inside the image, bool (H, W)."""
    mask = np.zeros((size[1], size[0]), dtype=bool)
    left, top = (int(rng.integers(1, side // 2)) for side in size)
    mask[top : top + size[1] // 3, left : left + size[0] // 3] = True
    return mask


def grey(mask: np.ndarray) -> np.ndarray:
    return np.where(mask, 255, 0).astype(np.uint8)


@dataclass
class Archives:
    """A dataset as files: members by archive and path, and split lists; tests change both before :meth:`write`."""

    dataset: str
    members: dict[tuple[str, str], bytes] = field(default_factory=dict)
    lists: dict[str, list[dict]] = field(default_factory=lambda: {split: [] for split in SPLITS})

    def add(self, split: str, case: str, mask: np.ndarray, mask_name: str | None = None) -> None:
        """Add a record to a split list."""
        self.lists[split].append(
            {
                "bbox": list(mask_box(mask)),
                "img_name": f"{case}.png",
                "mask_name": mask_name or f"{case}.png",
                "prompts": {"p0": "", "p1": "lesion", "p2": ["round lesion", f"lesion of {case}"]},
            }
        )

    def path(self, ending: str) -> tuple[str, str]:
        """The key of the only member whose path ends so."""
        (key,) = [key for key in self.members if key[1].endswith(ending)]
        return key

    def annotations(self, folder: Path) -> Path:
        """Where :meth:`write` puts the lists: as in a folder of all datasets' lists."""
        return folder / "annotations" / dataset_facts(self.dataset).annotations.folder

    def write(self, folder: Path) -> tuple[Path, Path]:
        """Write archives and lists; the folders of both."""
        archives, lists = folder / "archives", self.annotations(folder)
        archives.mkdir(parents=True, exist_ok=True)
        lists.mkdir(parents=True, exist_ok=True)
        for name in {archive for archive, _ in self.members}:
            with zipfile.ZipFile(archives / name, "w") as file:
                for (archive, path), content in self.members.items():
                    if archive == name:
                        # Without the time of day, so that the same members give the same archive.
                        file.writestr(zipfile.ZipInfo(path), content)
        for split, records in self.lists.items():
            (lists / f"{split}.json").write_text(json.dumps(records))
        return archives, lists


def make_kvasir(splits: tuple[str, ...] = DEFAULT_SPLITS, seed: int = 0) -> Archives:
    """JPEG images and lossy JPEG masks of three channels."""
    rng, result = np.random.default_rng(seed), Archives("kvasir_seg")
    for index, split in enumerate(splits):
        mask, case = blob(rng), f"cju{index}"
        lossy = np.repeat(grey(mask)[..., None], 3, axis=2)
        result.members["kvasir-seg.zip", f"Kvasir-SEG/images/{case}.jpg"] = encode(scene(rng), "JPEG", quality=95)
        result.members["kvasir-seg.zip", f"Kvasir-SEG/masks/{case}.jpg"] = encode(lossy, "JPEG", quality=75)
        result.add(split, case, mask)
    return result


def make_clinicdb(splits: tuple[str, ...] = DEFAULT_SPLITS, seed: int = 0, frames: Sequence[int] = ()) -> Archives:
    """TIFFs; frame numbers from 1 on if they are not given."""
    rng, result = np.random.default_rng(seed), Archives("clinicdb")
    for frame, split in zip(frames or range(1, len(splits) + 1), splits, strict=True):
        mask = blob(rng)
        result.members["CVC-ClinicDB.zip", f"CVC-ClinicDB/Original/{frame}.tif"] = encode(scene(rng), "TIFF")
        result.members["CVC-ClinicDB.zip", f"CVC-ClinicDB/Ground Truth/{frame}.tif"] = encode(grey(mask), "TIFF")
        result.add(split, str(frame), mask)
    return result


def make_bkai(splits: tuple[str, ...] = DEFAULT_SPLITS, seed: int = 0) -> Archives:
    """Masks in red, green, and (every third) both."""
    rng, result = np.random.default_rng(seed), Archives("bkai")
    name = "bkai-igh-neopolyp.zip"
    for index, split in enumerate(splits):
        case = f"{index:032x}"
        mask = blob(rng)
        colours = np.zeros((*mask.shape, 3), dtype=np.uint8)
        colours[mask] = (255, 0, 0) if index % 3 != 1 else (0, 255, 0)
        if index % 3 == 2:
            mask[:, :8], colours[:, :8] = True, (0, 255, 0)
        result.members[name, f"train/train/{case}.jpeg"] = encode(scene(rng), "JPEG", quality=95)
        result.members[name, f"train_gt/train_gt/{case}.jpeg"] = encode(colours, "JPEG", quality=90, subsampling=0)
        result.add(split, case, mask)
    result.members[name, "test/test/aaaa.jpeg"] = encode(scene(rng), "JPEG")
    return result


def make_isic16(splits: tuple[str, ...] = DEFAULT_SPLITS, seed: int = 0) -> Archives:
    """Four archives; train and val share two of them."""
    rng, result = np.random.default_rng(seed), Archives("isic16")
    for index, split in enumerate(splits):
        part = f"ISBI2016_ISIC_Part1_{'Test' if split == 'test' else 'Training'}"
        case, mask = f"ISIC_{index:07d}", blob(rng)
        result.members[f"{part}_Data.zip", f"{part}_Data/{case}.jpg"] = encode(scene(rng), "JPEG", quality=95)
        result.members[f"{part}_GroundTruth.zip", f"{part}_GroundTruth/{case}_Segmentation.png"] = encode(grey(mask))
        result.add(split, case, mask, f"{case}_Segmentation.png")
    return result


def make_busi(splits: tuple[str, ...] = DEFAULT_SPLITS, seed: int = 0) -> Archives:
    """Grey PNGs; benign cases have two masks, normal ones an empty mask."""
    rng, result = np.random.default_rng(seed), Archives("busi")
    for index, split in enumerate(splits):
        group = ("benign", "malignant", "normal")[index % 3]
        stem = f"Dataset_BUSI_with_GT/{group}/{group} ({index + 1})"
        mask = blob(rng) if group != "normal" else np.zeros(SIZE[::-1], dtype=bool)
        result.members["Dataset_BUSI.zip", f"{stem}.png"] = encode(Image.fromarray(scene(rng)).convert("L"))
        result.members["Dataset_BUSI.zip", f"{stem}_mask.png"] = encode(grey(mask))
        if group == "benign":
            second = np.zeros_like(mask)
            second[-4:-1, -6:-1] = True
            result.members["Dataset_BUSI.zip", f"{stem}_mask_1.png"] = encode(grey(second))
            mask = mask | second
        result.add(split, f"{index + 1}_{group}", mask)
    return result


MAKERS: Mapping[str, Callable[..., Archives]] = {
    "kvasir_seg": make_kvasir,
    "clinicdb": make_clinicdb,
    "bkai": make_bkai,
    "isic16": make_isic16,
    "busi": make_busi,
}


def assert_refused(archive: Path, message: str) -> None:
    """Unpacking ``archive`` raises an error that matches ``message`` and names a path, and leaves nothing beside it."""
    folder = archive.parent
    with pytest.raises(PipelineError, match=message) as caught:
        unpack(archive, folder / "out", list_members(archive))
    assert str(folder) in str(caught.value)
    assert [entry.name for entry in folder.iterdir() if entry.name != "out"] == [archive.name]


def standardised(made: Archives, folder: Path, split: str = "published", allow_missing: int = 0) -> Path:
    """Write ``made`` below ``folder`` and standardise it; the folder of the standardised dataset."""
    archives, annotations = made.write(folder)
    output = folder / "datasets" / made.dataset
    standardise(made.dataset, archives, annotations, split, allow_missing, 2, output)
    return output


def verified(made: Archives, folder: Path, verify_boxes: bool = True) -> dict:
    """Verify what :func:`standardised` wrote; the content of integrity.json."""
    output = folder / "datasets" / made.dataset
    verify(made.dataset, output, made.annotations(folder), verify_boxes, 2, output / "integrity.json")
    return json.loads((output / "integrity.json").read_text())


@dataclass
class Server:
    """A loopback server of the files in ``folder``, with byte ranges, and its faults.

    Attributes:
        cut_after: bytes of the body after which it drops the connection, one for each of the next answers.
        statuses: HTTP status in place of an answer, one for each of the next requests.
        page: served in place of every file, as text/html.
        ranges: whether it honours Range.
        lengths: whether it sends Content-Length.
        length: a Content-Length in place of the right one.
        redirect: address to which it sends every request.
        requests: (path, Range header) of each request.
        authorisations: Authorization header of each request.
    """

    folder: Path
    url: str = ""
    cut_after: list[int] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    page: bytes | None = None
    ranges: bool = True
    lengths: bool = True
    length: str | None = None
    redirect: str = ""
    requests: list[tuple[str, str | None]] = field(default_factory=list)
    authorisations: list[str | None] = field(default_factory=list)


@contextlib.contextmanager
def serve(folder: Path) -> Iterator[Server]:
    """Run a :class:`Server` on a free port of the loopback interface."""
    server = Server(folder)

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.0"

        def log_message(self, *arguments) -> None:
            pass

        def do_GET(self) -> None:
            path = server.folder / self.path.lstrip("/").split("?")[0]
            wanted = self.headers.get("Range")
            server.requests.append((self.path, wanted))
            server.authorisations.append(self.headers.get("Authorization"))
            if server.redirect:
                self.send_response(302)
                self.send_header("Location", server.redirect)
                self.end_headers()
                return
            if server.statuses:
                self.send_error(server.statuses.pop(0))
                return
            if server.page is not None:
                self.send_response(200)
                self.send_header("Content-Type", "text/html; charset=utf-8")
                self.end_headers()
                self.wfile.write(server.page)
                return
            if not path.is_file():
                self.send_error(404)
                return
            body = path.read_bytes()
            tag = f'"{hash(body):x}"'
            start = 0
            if wanted and server.ranges and self.headers.get("If-Range", tag) == tag:
                start = int(wanted.removeprefix("bytes=").split("-")[0])
                if start >= len(body):
                    self.send_error(416)
                    return
                self.send_response(206)
                self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
            else:
                self.send_response(200)
            self.send_header("ETag", tag)
            self.send_header("Content-Type", "application/octet-stream")
            if server.lengths:
                self.send_header("Content-Length", server.length or str(len(body) - start))
            self.end_headers()
            end = start + server.cut_after.pop(0) if server.cut_after else len(body)
            self.wfile.write(body[start:end])

    httpd = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.url = f"http://127.0.0.1:{httpd.server_address[1]}"
    thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        httpd.shutdown()
        httpd.server_close()
        thread.join()


def memory_of_checking(archive: Path) -> int:
    """KiB by which a process grows that lists and checks the members of ``archive``."""
    program = (
        "import resource, sys; from pipeline.data.unpack import check_members, list_members;"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss;"
        "check_members(sys.argv[1], list_members(sys.argv[1]));"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
    )
    done = subprocess.run([sys.executable, "-c", program, archive], capture_output=True, text=True, check=True)
    return int(done.stdout)
