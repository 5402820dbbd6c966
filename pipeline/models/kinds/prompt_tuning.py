"""Learned tokens: visual prompts (Jia et al., ECCV 2022), context in the text (CoOp: Zhou et al., IJCV 2022), or both.

Both together, not coupled, are the baseline of MaPLe (Khattak et al., CVPR 2023).
"""

import math
from typing import Literal

from pydantic import Field, model_validator

from pipeline.models.kinds import VariantSettings, VisionLayers, register
from pipeline.runtime.errors import PipelineError


@register("prompt_tuning")
class PromptTuning(VariantSettings):
    """614,400 trained parameters at full size: the number of tokens that comes closest to 613,297."""

    kind: Literal["prompt_tuning"] = "prompt_tuning"
    visual: int = Field(80, ge=0, le=8192, description="Visual tokens in each layer [studied]")
    vision_layers: VisionLayers = Field(
        list(range(1, 11)), description="Layers with visual tokens of their own; [1] is the shallow form [studied]"
    )
    context: int = Field(0, ge=0, le=60, description="Tokens of context before the words of each prompt [studied]")
    context_init: str = Field(
        "",
        description="Words of as many tokens that the context starts as, such as a photo of a; else random [studied]",
    )

    @model_validator(mode="after")
    def _something(self) -> "PromptTuning":
        if not ((self.visual and self.vision_layers) or self.context):
            raise ValueError("no tokens: set visual or context above 0")
        if len(self.context_init.split()) > self.context:
            raise ValueError(f"context_init: {self.context_init!r} has more words than context tokens ({self.context})")
        return self

    def attach(self, segmenter) -> None:
        from pipeline.models.adapters import PromptTokens

        features, patch = segmenter.features(), segmenter.clipseg.config.vision_config.patch_size
        bound = math.sqrt(6 / (3 * patch**2 + features.vision))
        for layer in self.vision_layers if self.visual else ():
            segmenter.add_adapter(f"vision_{layer}_prompt", PromptTokens(self.visual, features.vision, bound))
        if self.context:
            segmenter.add_adapter("text_context", PromptTokens(self.context, features.text))

    def load_start(self, model, backbone, pretrained) -> None:
        """From words the logits are at first those of CLIPSeg for the prompts with these words before them."""
        from pipeline.models.preprocessing import load_tokenizer

        if not self.context_init:
            return
        ids = load_tokenizer(backbone)(self.context_init, add_special_tokens=False)["input_ids"]
        if len(ids) != self.context:
            raise PipelineError(
                f"context_init: {self.context_init!r} has {len(ids)} tokens in {backbone}; set context to that number"
            )
        words = model.clipseg.clip.text_model.embeddings.token_embedding.weight
        model.adapters["text_context"].tokens.data.copy_(words[ids])
