"""The one differentiable CLIPSeg forward that every variant uses.

transformers' ``CLIPSegForImageSegmentation.forward`` runs both encoders under ``torch.no_grad()``, so nothing inside
them can be trained through it. This forward computes the same numbers with gradients, has named places for adapters,
stops after the last layer that the decoder reads, and accepts what the frozen part of either branch gave before.

Places, as :meth:`Segmenter.add_adapter` takes them and :meth:`Segmenter.places` lists them. An encoder is ``vision`` or
``text``; l counts layers from 1, i extracted states from 0.

| place | the module there |
| --- | --- |
| {encoder}_{l}_{attention,mlp} | maps that sub-layer's output, before the residual addition |
| {encoder}_{l}_{attention,mlp}_beside | maps that sub-layer's input, before its norm; is added to the residual stream |
| {encoder}_{l}_prompt | gives tokens that enter layer l behind the first token, instead of earlier ones (text: l > 1) |
| text_context | gives such tokens in the text embedding, where each has a position: prompts are cut to what is left |
| {encoder,decoder}_{l}_{norm1,q,k,v,out,norm2,fc1,fc2} | maps the output of that norm or linear |
| vision_pre_norm, text_final_norm | the same before the first vision layer and after the last text layer |
| decoder_reduce_{i}, decoder_film_mul, decoder_film_add | the same in the decoder, the first of extracted state i |
| {vision,text}_extract_{i} | maps the extracted state; the text's is added to the conditional embedding |
| conditional | maps the projected text feature |
| refinement | maps the logits |

Layers without tokens of their own go on with those before them; what is read of a layer's output is without them.
Parameters of CLIPSeg itself are trained by :meth:`Segmenter.unfreeze`. Whatever is trained, what lies before the first
trained place is computed once (:meth:`Segmenter.first_trained_layer`).
"""

import math
import re
from collections.abc import Iterator, Mapping
from operator import attrgetter

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate
from torch.utils.checkpoint import checkpoint
from transformers import CLIPSegForImageSegmentation

from pipeline.models.interface import SegmentationModel
from pipeline.models.precision import RESIDUAL
from pipeline.models.widths import Features

OPERATIONS = {
    "norm1": attrgetter("layer_norm1"),
    "q": attrgetter("self_attn.q_proj"),
    "k": attrgetter("self_attn.k_proj"),
    "v": attrgetter("self_attn.v_proj"),
    "out": attrgetter("self_attn.out_proj"),
    "norm2": attrgetter("layer_norm2"),
    "fc1": attrgetter("mlp.fc1"),
    "fc2": attrgetter("mlp.fc2"),
}
"""The norms and linears of a transformer layer: where they stand, by their names in places."""


class Segmenter(SegmentationModel):
    """A CLIPSeg with everything frozen, to which a variant's ``attach`` adds adapters or unfreezes parts.

    Args:
        clipseg: the backbone. It is taken over, not copied.
    """

    recomputes = True

    def __init__(self, clipseg: CLIPSegForImageSegmentation):
        super().__init__()
        self.clipseg = clipseg.requires_grad_(False)
        self.adapters = nn.ModuleDict()
        self._first_trained: dict[str, int] = {}
        self.context = clipseg.config.text_config.max_position_embeddings
        self.multiple = clipseg.config.vision_config.patch_size

    # ---------------------------------------------------------------- what is trained

    def add_adapter(self, place: str, module: nn.Module) -> None:
        """Put ``module`` at a named place of the forward (see the table above).

        Raises:
            ValueError: there is no such place, or it is taken.
        """
        if place in self.adapters:
            raise ValueError(f"two adapters at {place!r}")
        operation = self.operations().get(place)
        if operation is None and place not in self.places():
            raise ValueError(f"no place {place!r} that influences the mask; places: {', '.join(self.places())}")
        reference = self.clipseg.clip.text_projection.weight
        self.adapters[place] = module.to(reference.device, reference.dtype)
        if operation is not None:
            operation.register_forward_hook(_Behind(self.adapters, place))

    def places(self) -> list[str]:
        """Every place at which the forward applies an adapter."""
        encoders = {"vision": self.vision_depth, "text": self.clipseg.config.text_config.num_hidden_layers}
        layers = [f"{name}_{index + 1}" for name, depth in encoders.items() for index in range(depth)]
        sublayers = [f"{layer}_{part}" for layer in layers for part in ("attention", "mlp")]
        extracted = range(len(self.clipseg.config.extract_layers))
        return [
            *sublayers,
            *(f"{place}_beside" for place in sublayers),
            *(f"{layer}_prompt" for layer in layers if layer != "text_1"),
            "text_context",
            *self.operations(),
            *(f"{name}_extract_{index}" for name in encoders for index in extracted),
            "conditional",
            "refinement",
        ]

    def operations(self) -> dict[str, nn.Module]:
        """The norms and linears whose output can be mapped, by place."""
        clip, decoder = self.clipseg.clip, self.clipseg.decoder
        stacks = {
            "vision": clip.vision_model.encoder.layers[: self.vision_depth],
            "text": clip.text_model.encoder.layers,
            "decoder": decoder.layers,
        }
        found = {
            f"{stack}_{index + 1}_{name}": read(layer)
            for stack, layers in stacks.items()
            for index, layer in enumerate(layers)
            for name, read in OPERATIONS.items()
        }
        return {
            **found,
            "vision_pre_norm": clip.vision_model.pre_layrnorm,
            "text_final_norm": clip.text_model.final_layer_norm,
            **{f"decoder_reduce_{index}": module for index, module in enumerate(reversed(decoder.reduces))},
            "decoder_film_mul": decoder.film_mul,
            "decoder_film_add": decoder.film_add,
        }

    def matching(self, pattern: str) -> list[nn.Parameter]:
        """CLIPSeg's parameters that can influence the mask and whose whole name in it matches a regular expression.

        Raises:
            ValueError: no name matches.
        """
        found = [value for name, value in self.influential_parameters().items() if re.fullmatch(pattern, name)]
        if not found:
            raise ValueError(f"{pattern!r} matches no parameter of CLIPSeg that can influence the mask")
        return found

    def unfreeze(self, pattern: str) -> None:
        """Train the parameters that :meth:`matching` finds."""
        for value in self.matching(pattern):
            value.requires_grad_(True)

    def features(self) -> Features:
        """Sizes of the backbone's states."""
        config = self.clipseg.config
        return Features(config.vision_config.hidden_size, config.text_config.hidden_size, config.projection_dim)

    @property
    def vision_depth(self) -> int:
        """How many vision layers can influence the mask (10 of 12 in CLIPSeg)."""
        return max(self.clipseg.config.extract_layers) + 1

    def influential_parameters(self) -> dict[str, nn.Parameter]:
        """Every parameter of the backbone that can influence the mask, by name."""
        layers = range(self.vision_depth, self.clipseg.config.vision_config.num_hidden_layers)
        unused = (
            *(f"clip.vision_model.encoder.layers.{index}." for index in layers),
            "clip.vision_model.post_layernorm.",
            "clip.visual_projection.",
            "clip.logit_scale",
        )
        return {name: value for name, value in self.clipseg.named_parameters() if not name.startswith(unused)}

    def trained_buffers(self) -> dict[str, Tensor]:
        """Those of the adapters; the backbone's stay as they are."""
        return {f"adapters.{name}": value for name, value in self.adapters.named_buffers()}

    # ---------------------------------------------------------------- encoders

    def _adapt(self, place: str, x: Tensor) -> Tensor:
        return self.adapters[place](x) if place in self.adapters else x

    def _add(self, place: str, x: Tensor, output: Tensor) -> Tensor:
        """``x`` with its sub-layer's ``output`` and what stands beside the sub-layer."""
        result = x + self._adapt(place, output)
        beside = f"{place}_beside"
        if beside in self.adapters:
            result = result + self.adapters[beside](x)
        # An adapter's output may be in float32, and the stream not.
        return result.to(x.dtype)

    def _stream(self, x: Tensor) -> Tensor:
        """``x`` in the type of the residual stream."""
        return _for_products(x) if self.precision == RESIDUAL else x

    def _layer(self, encoder: str, index: int, x: Tensor) -> Tensor:
        """One pre-norm transformer layer with adapters on the outputs of its two sub-layers."""
        layer = self._tower(encoder).encoder.layers[index]
        place = f"{encoder}_{index + 1}"
        causal = encoder == "text"
        # For sdpa the flag is enough; the eager implementation needs the mask itself.
        mask = _causal_mask(x) if causal and layer.self_attn.config._attn_implementation == "eager" else None
        attended = layer.self_attn(_for_products(layer.layer_norm1(x)), attention_mask=mask, is_causal=causal)[0]
        x = self._add(f"{place}_attention", x, attended)
        return self._add(f"{place}_mlp", x, layer.mlp(_for_products(layer.layer_norm2(x))))

    def _tower(self, encoder: str) -> nn.Module:
        return self.clipseg.clip.vision_model if encoder == "vision" else self.clipseg.clip.text_model

    def _run_layers(self, encoder: str, x: Tensor, start: int, stop: int, prompts: int = 0) -> Iterator[Tensor]:
        """Outputs of layers ``start`` to ``stop`` without prompt tokens, of which ``x`` has ``prompts``."""
        for index in range(start, stop):
            place = f"{encoder}_{index + 1}_prompt"
            if place in self.adapters:
                tokens = self.adapters[place](x)
                x, prompts = _insert(_leave_out(x, prompts), tokens), tokens.shape[1]
            if self.gradient_checkpointing and self.training and torch.is_grad_enabled():
                x = checkpoint(self._layer, encoder, index, x, use_reentrant=False)
            else:
                x = self._layer(encoder, index, x)
            yield _leave_out(x, prompts)

    def first_trained_layer(self, encoder: str) -> int:
        """The first layer of ``encoder`` (from 0) whose output depends on something trained; the depth if none does.

        Below it the branch is frozen: its result can be computed once and kept. -1 if the embeddings are trained.
        """
        if encoder in self._first_trained:
            return self._first_trained[encoder]
        model = self._tower(encoder)
        below = [model.embeddings] + ([model.pre_layrnorm] if encoder == "vision" else [])
        first_place = {"vision": "vision_pre_norm", "text": "text_context"}[encoder]
        if first_place in self.adapters or any(
            value.requires_grad for module in below for value in module.parameters()
        ):
            return -1
        depth = self.vision_depth if encoder == "vision" else len(model.encoder.layers)
        for index, layer in enumerate(model.encoder.layers[:depth]):
            adapted = any(place.startswith(f"{encoder}_{index + 1}_") for place in self.adapters)
            if adapted or any(value.requires_grad for value in layer.parameters()):
                return index
        return depth

    def fix_trained(self) -> None:
        """From now on what is trained stays the same: it is not looked for in each step."""
        self._first_trained = {}
        self._first_trained = {encoder: self.first_trained_layer(encoder) for encoder in ("vision", "text")}

    def _vision_embeddings(self, pixel_values: Tensor) -> Tensor:
        """Embedded patches with their positions, (batch, 1 + patches, vision width)."""
        embeddings = self.clipseg.clip.vision_model.embeddings
        table = embeddings.position_embedding.weight
        resized = tuple(pixel_values.shape[-2:]) != (embeddings.image_size, embeddings.image_size)
        if not (resized and table.requires_grad and torch.are_deterministic_algorithms_enabled()):
            return embeddings(pixel_values)
        # Bicubic interpolation has no deterministic gradient on CUDA. It is linear in the table, hence a product with
        # a constant matrix, whose columns are what interpolation makes of each single position.
        grid = tuple(side // embeddings.patch_size for side in pixel_values.shape[-2:])
        with torch.no_grad():
            count = len(table) - 1
            units = torch.eye(count, device=table.device).unflatten(1, (1, math.isqrt(count), -1))
            matrix = interpolate(units, size=grid, mode="bicubic", align_corners=False).flatten(1).T
        with torch.autocast(table.device.type, enabled=False):
            positions = torch.cat([table[:1], matrix @ table[1:]])
        patches = embeddings.patch_embedding(pixel_values).flatten(2).transpose(1, 2)
        return torch.cat([embeddings.class_embedding.expand(len(patches), 1, -1), patches], dim=1) + positions

    def vision_states(self, pixel_values: Tensor) -> list[Tensor]:
        """The states that the decoder reads, before any ``vision_extract`` adapter.

        Args:
            pixel_values: (batch, 3, height, width), normalised.

        Returns:
            One (batch, 1 + patches, vision width) tensor for each extract layer, shallow to deep.
        """
        x = self._stream(self.clipseg.clip.vision_model.pre_layrnorm(self._vision_embeddings(pixel_values)))
        outputs = list(self._run_layers("vision", x, 0, self.vision_depth))
        return [outputs[layer] for layer in self.clipseg.config.extract_layers]

    def cached_bytes(self, side: int) -> int | None:
        """See :meth:`SegmentationModel.cached_bytes`; none where a vision layer is trained."""
        if self.first_trained_layer("vision") < self.vision_depth:
            return None
        config = self.clipseg.config
        tokens = (side // config.vision_config.patch_size) ** 2 + 1
        return len(config.extract_layers) * tokens * config.vision_config.hidden_size * 4

    def _with_room(self, input_ids: Tensor) -> Tensor:
        """Prompts cut to the positions that learned context leaves, with an EOS at the end of those that are cut."""
        if "text_context" not in self.adapters:
            return input_ids
        room = self.context - len(self.adapters["text_context"])
        cut = input_ids[:, :room].clone()
        if input_ids.shape[1] > room:
            cut[:, -1] = torch.where(input_ids.argmax(dim=1) < room, cut[:, -1], input_ids.amax(dim=1))
        return cut

    def _text_embeddings(self, input_ids: Tensor) -> tuple[Tensor, int]:
        """Embedded tokens with their positions, and how many of them, behind the first, are learned context."""
        embeddings = self.clipseg.clip.text_model.embeddings
        if "text_context" not in self.adapters:
            return embeddings(input_ids=input_ids), 0
        words = embeddings.token_embedding(input_ids)
        context = self.adapters["text_context"](words)
        return embeddings(inputs_embeds=_insert(words, context)), context.shape[1]

    def text_prefix(self, input_ids: Tensor) -> dict[str, Tensor]:
        """What the frozen part of the text branch makes of each prompt; :meth:`forward` takes it as ``text``.

        Args:
            input_ids: (prompts, tokens). Padding on the right does not matter and may be cropped.

        Returns:
            Tensors with the prompts on axis 0: ``eos`` and either ``input_ids`` (nothing is frozen), ``hidden`` (the
            state before the first trained layer) or, where all layers are frozen, ``pooled`` (the last one's state at
            the EOS); with ``text_extract`` adapters also ``extract`` (prompts, extract layers, text width).
        """
        start = self.first_trained_layer("text")
        input_ids = self._with_room(input_ids)
        eos = input_ids.argmax(dim=-1)
        if start < 0:
            return {"eos": eos, "input_ids": input_ids}
        model = self.clipseg.clip.text_model
        depth = len(model.encoder.layers)
        with torch.no_grad():
            x = model.embeddings(input_ids=input_ids)
            outputs = list(self._run_layers("text", x, 0, start))
            x = outputs[-1] if outputs else x
            if start < depth:
                return {"eos": eos, "hidden": x}
            rows = torch.arange(len(eos), device=eos.device)
            prefix = {"eos": eos, "pooled": x[rows, eos]}
            if "text_extract_0" in self.adapters:
                layers = self.clipseg.config.extract_layers
                prefix["extract"] = torch.stack([outputs[layer][rows, eos] for layer in layers], dim=1)
            return prefix

    def conditional_embedding(self, text: Mapping[str, Tensor]) -> Tensor:
        """The text feature that conditions the decoder, (batch, projection), from :meth:`text_prefix`."""
        model = self.clipseg.clip.text_model
        rows = torch.arange(len(text["eos"]), device=text["eos"].device)
        extract = text.get("extract")
        if "pooled" in text:
            pooled = text["pooled"]
        else:
            start = max(self.first_trained_layer("text"), 0)
            x, context = (text["hidden"], 0) if "hidden" in text else self._text_embeddings(text["input_ids"])
            outputs = list(self._run_layers("text", self._stream(x), start, len(model.encoder.layers), context))
            pooled = outputs[-1][rows, text["eos"]]
            if "text_extract_0" in self.adapters:
                # Reached only where text layers are trained as well; then no layer was cut off into the prefix.
                layers = self.clipseg.config.extract_layers
                extract = torch.stack([outputs[layer - start][rows, text["eos"]] for layer in layers], dim=1)
        feature = self._adapt("conditional", self.clipseg.clip.text_projection(model.final_layer_norm(pooled)))
        if extract is not None:
            # VLSM-Adapter's shallow variant: raw states of the encoder, added after the conditional adapter.
            for index in range(extract.shape[1]):
                feature = feature + self.adapters[f"text_extract_{index}"](extract[:, index])
        return feature

    # ---------------------------------------------------------------- decoder

    def decode(self, states: list[Tensor], conditional: Tensor, size: tuple[int, int]) -> Tensor:
        """Logits (batch, 1, height, width) from the extracted vision states and the conditional embedding."""
        decoder = self.clipseg.decoder
        x = None
        for step, (state, layer, reduce) in enumerate(
            zip(reversed(states), decoder.layers, decoder.reduces, strict=True)
        ):
            x = reduce(state) if x is None else reduce(state) + x
            if step == decoder.conditional_layer:
                x = decoder.film_mul(conditional)[:, None] * x + decoder.film_add(conditional)[:, None]
            x = layer(x, attention_mask=None)
        patch = self.clipseg.config.vision_config.patch_size
        grid = (size[0] // patch, size[1] // patch)
        x = x[:, 1:].transpose(1, 2).unflatten(2, grid)
        if x.is_cpu and torch.is_autocast_enabled("cpu"):
            # In bf16 on a CPU, PyTorch 2.13's transposed convolution has wrong gradients.
            with torch.autocast("cpu", enabled=False):
                return decoder.transposed_convolution(x.float())
        return decoder.transposed_convolution(x)

    def forward(
        self,
        pixel_values: Tensor | None = None,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        *,
        text: Mapping[str, Tensor] | None = None,
        vision: list[Tensor] | None = None,
    ) -> Tensor:
        """Logits of the mask, (batch, 1, height, width).

        Args:
            pixel_values: (batch, 3, height, width), normalised; height and width multiples of the patch size.
            input_ids: (batch, tokens); or give ``text``.
            attention_mask: (batch, tokens), accepted for the sake of CLIPSeg's interface. It changes nothing: the text
                feature is read at the first EOS under a causal mask, before any padding on the right.
            text: what :meth:`text_prefix` gave for these prompts.
            vision: what :meth:`vision_states` gave for these images; only where no vision layer is trained.
        """
        if text is None:
            if input_ids is None:
                raise ValueError("give input_ids or text")
            text = self.text_prefix(input_ids)
        if vision is None:
            if pixel_values is None:
                raise ValueError("give pixel_values or vision")
            vision = self.vision_states(pixel_values)
            size = (pixel_values.shape[-2], pixel_values.shape[-1])
        else:
            side = round((vision[0].shape[1] - 1) ** 0.5) * self.clipseg.config.vision_config.patch_size
            size = (side, side)
        states = [self._adapt(f"vision_extract_{index}", state) for index, state in enumerate(vision)]
        logits = self.decode(states, self.conditional_embedding(text), size)
        return self._adapt("refinement", logits)


class _Behind:
    """A forward hook that maps a module's output by the adapter at a place, as long as there is one.

    A class, so that a copy of the segmenter refers to the copied adapters.
    """

    def __init__(self, adapters: nn.ModuleDict, place: str):
        self.adapters, self.place = adapters, place

    def __call__(self, module: nn.Module, inputs: tuple, output: Tensor) -> Tensor:
        return self.adapters[self.place](output) if self.place in self.adapters else output


def _insert(x: Tensor, tokens: Tensor) -> Tensor:
    """``x`` (batch, tokens, features) with ``tokens`` behind its first one."""
    return torch.cat([x[:, :1], tokens.to(x.dtype), x[:, 1:]], dim=1)


def _leave_out(x: Tensor, count: int) -> Tensor:
    """``x`` (batch, tokens, features) without the ``count`` tokens behind its first one."""
    return torch.cat([x[:, :1], x[:, 1 + count :]], dim=1) if count else x


def _for_products(x: Tensor) -> Tensor:
    """``x`` in the type of autocast's products: converted once, not by each product that reads it."""
    kind = x.device.type
    # The meta device, on which cost is counted, knows no autocast.
    autocast = kind != "meta" and torch.is_autocast_enabled(kind)
    return x.to(torch.get_autocast_dtype(kind)) if autocast else x


def _causal_mask(x: Tensor) -> Tensor:
    length = x.shape[1]
    return torch.full((1, 1, length, length), torch.finfo(x.dtype).min, dtype=x.dtype, device=x.device).triu(1)
