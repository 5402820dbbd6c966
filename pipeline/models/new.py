"""Start a new method: a module that already trains, and its line in config.yaml.

    python -m pipeline.models.new NAME

The module is a learned shift of every adapted layer's output. Change what it does, and its settings.
"""

import argparse
import re
from pathlib import Path

from pipeline.models.kinds import kinds
from pipeline.runtime.atomic import write_text
from pipeline.runtime.errors import PipelineError, run_command

TEMPLATE = '''"""{title} (who, where published): a learned shift of each adapted layer\'s output."""

from typing import Literal

from pydantic import Field

from pipeline.models.kinds import LayerSettings, register


@register("{name}")
class {kind}(LayerSettings):
    """6,912 + 1,536 trained parameters at full size. Starts as zero-shot."""

    kind: Literal["{name}"] = "{name}"
    initial: float = Field(0.0, description="What the shift starts from [studied]")

    def attach(self, segmenter) -> None:
        # torch stays out of this module\'s import: Snakemake reads the settings each time it parses the workflow.
        import torch
        from torch import Tensor, nn

        class Shift(nn.Module):
            def __init__(self, features: int, initial: float):
                super().__init__()
                self.shift = nn.Parameter(torch.full((features,), initial))

            def forward(self, x: Tensor) -> Tensor:
                return x + self.shift

        # Other places: the table in pipeline/models/segmenter.py.
        for layer in self.layers():
            segmenter.add_adapter(f"{{layer}}_mlp", Shift(segmenter.features().at(layer), self.initial))
'''
NEXT = """{module}: change what it does
{config}: variants.{name} is there; give it its settings and a label

Then see its parameters, and its row in the demo's table of methods:
  python -m pipeline.config schema workflow/schemas/config.schema.json
  snakemake --cores 2 results/demo/tables/methods.md --configfile workflow/config/demo.yaml \\
    --config 'ablations={{methods: {{variants: [zero_shot, telescopic, {name}]}}}}'
In the full study it has a row once ablations.methods.variants in {config} lists it."""


def write_method(name: str, folder: Path, config: Path) -> Path:
    """Write the module of kind ``name`` into ``folder``, and a variant of this name into ``config``; the module's path.

    Raises:
        PipelineError: the name is no identifier in lower case or is taken, or ``config`` has no ``variants``.
    """
    if not re.fullmatch("[a-z][a-z0-9_]*", name):
        raise PipelineError(f"{name}: write the name in small letters, digits and underscores, a letter first")
    module, text = folder / f"{name}.py", config.read_text(encoding="utf-8")
    if name in kinds() or module.exists() or re.search(rf"^  {name}:", text, re.MULTILINE):
        raise PipelineError(f"{name}: there is such a kind or variant already; choose another name")
    title = name.replace("_", " ").capitalize()
    changed, count = re.subn(
        r"^variants:\n", f"variants:\n  {name}: {{ kind: {name}, label: {title} }}\n", text, count=1, flags=re.M
    )
    if not count:
        raise PipelineError(f"{config}: no line 'variants:' to put the variant below; add the key")
    write_text(module, TEMPLATE.format(name=name, title=title, kind=title.title().replace(" ", "")))
    write_text(config, changed)
    return module


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", metavar="NAME", help="of the kind and of the variant, such as my_adapter")
    parser.add_argument("--config", type=Path, default=Path("config.yaml"), help="the study that gets the variant")
    arguments = parser.parse_args()
    module = write_method(arguments.name, Path(__file__).parent / "kinds", arguments.config)
    print(NEXT.format(module=module, config=arguments.config, name=arguments.name))


if __name__ == "__main__":
    run_command(main)
