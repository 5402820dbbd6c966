"""Show a Markdown file as one HTML page that needs no other file and no network, as Snakemake's report wants it."""

import argparse
import base64
import html
import io
from pathlib import Path

from markdown_it import MarkdownIt

from pipeline.reporting.markdown import unescape
from pipeline.runtime.atomic import write_text
from pipeline.runtime.errors import PipelineError, run_command

WIDTH = 1000
"""Pixels that an image in the page has at most; the figures themselves are in the report at full size."""

TEMPLATE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>{title}</title>
<style>
body {{ margin: 1.5rem 2rem; color: #1a1a1a; background: #fff; font: 14px/1.5 system-ui, sans-serif; }}
p, ul, ol, blockquote, h1, h2, h3 {{ max-width: 75ch; }}
blockquote {{ margin: 1rem 0; padding: .2rem 1rem; border-left: 4px solid #d55e00; background: #fdf3ec; }}
table {{ border-collapse: collapse; margin: 1rem 0; font-variant-numeric: tabular-nums; }}
th, td {{ padding: .2rem .5rem; border-bottom: 1px solid #ddd; text-align: left; white-space: nowrap; }}
thead th {{ position: sticky; top: 0; background: #fff; border-bottom: 2px solid #1a1a1a; }}
tbody tr:hover {{ background: #f4f6f8; }}
img {{ max-width: 100%; }}
</style>
</head>
<body>
{body}</body>
</html>
"""


def _image(path: Path) -> str:
    """A data URI of the image at ``path``, at most WIDTH pixels wide.

    WebP, since browsers leave a frame empty whose address, here the whole page, is longer than 2 MB.
    """
    from PIL import Image

    try:
        with Image.open(path) as image:
            image.load()
    except OSError as error:
        raise PipelineError(f"{path}: the page shows it, but it cannot be read ({error}); run its rule again") from None
    image = image.convert("RGB")
    if image.width > WIDTH:
        image = image.resize((WIDTH, round(image.height * WIDTH / image.width)), Image.LANCZOS)
    data = io.BytesIO()
    image.save(data, "WEBP", quality=85)
    return f"data:image/webp;base64,{base64.b64encode(data.getvalue()).decode('ascii')}"


FORMATTING = ("<u>", "</u>", "<sup>", "</sup>")
"""The HTML that this project's Markdown uses; any other is shown as text."""


def page(markdown: str, folder: str | Path) -> str:
    """``markdown`` (with GitHub's tables and the inline HTML of :data:`FORMATTING`) as a whole HTML document.

    Images are embedded, and links to other files become plain text: a report keeps each of its files in a folder of its
    own. Links to the web stay.

    Args:
        folder: where the images lie that ``markdown`` names.

    Raises:
        PipelineError: an image cannot be read.
    """
    parser = MarkdownIt("commonmark", {"html": True}).enable("table")
    tokens = parser.parse(markdown)
    texts = [token.content for token in tokens if token.type == "inline"]
    title = unescape(texts[0].strip("#* ")) if texts else ""
    for token in tokens:
        if token.type == "html_block":
            token.type, token.tag = "code_block", "code"
        unlinked = False
        for child in token.children or []:
            if child.type == "html_inline" and child.content not in FORMATTING:
                child.type = "text"
            elif child.type == "image":
                child.attrSet("src", _image(Path(folder) / str(child.attrGet("src"))))
            elif child.type == "link_open" and "://" not in str(child.attrGet("href")):
                unlinked = True
            if unlinked and child.type in ("link_open", "link_close"):
                unlinked = child.type == "link_open"
                child.type, child.tag, child.attrs = "html_inline", "", {}
    return TEMPLATE.format(title=html.escape(title), body=parser.renderer.render(tokens, parser.options, {}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--markdown", required=True, help="the file to show; images that it names lie beside it")
    parser.add_argument("--output", required=True, help="HTML file")
    arguments = parser.parse_args()
    source = Path(arguments.markdown)
    try:
        text = source.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise PipelineError(f"{source}: cannot be read ({error}); run the rule that makes it") from None
    write_text(arguments.output, page(text, source.parent))


if __name__ == "__main__":
    run_command(main)
