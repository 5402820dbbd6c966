"""The forward of released checkpoints from their tensors alone: an oracle that shares no module with the project.

Written from the papers, protocol and public module definitions: every line reads a tensor of the file by its key.
"""

import torch
from torch import Tensor
from torch.nn import functional

State = dict[str, Tensor]


def released_logits(state: State, config, pixels: Tensor, ids: Tensor) -> Tensor:
    """Logits (batch, 1, height, width) of a file's ``state`` (without Lightning's prefix), in evaluation mode."""
    return _Released(state, config).logits(pixels, ids)


class _Released:
    def __init__(self, state: State, config):
        self.state, self.config = state, config
        self.shallow = any(name.startswith("vision_extract_adapters.") for name in state)

    def _linear(self, name: str, x: Tensor) -> Tensor:
        y = x @ self.state[f"{name}.weight"].T
        return y + self.state[f"{name}.bias"] if f"{name}.bias" in self.state else y

    def _norm(self, name: str, x: Tensor) -> Tensor:
        centred = x - x.mean(-1, keepdim=True)
        scaled = centred / (centred.square().mean(-1, keepdim=True) + 1e-5).sqrt()
        return scaled * self.state[f"{name}.weight"] + self.state[f"{name}.bias"]

    def _attention(self, name: str, x: Tensor, heads: int, causal: bool) -> Tensor:
        q, k, v = (
            self._linear(f"{name}.{part}_proj", x).unflatten(-1, (heads, -1)).transpose(1, 2)
            for part in ("q", "k", "v")
        )
        scores = q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5
        if causal:
            later = torch.ones(scores.shape[-2:], dtype=torch.bool).triu(1)
            scores = scores.masked_fill(later, float("-inf"))
        return self._linear(f"{name}.out_proj", (scores.softmax(-1) @ v).transpose(1, 2).flatten(2))

    def _adapter(self, name: str, x: Tensor) -> Tensor:
        """Nothing where the file has no such adapter; else its kind follows from its tensors."""
        if f"{name}.down_project.weight" in self.state:
            hidden = self._norm(f"{name}.norm", self._linear(f"{name}.down_project", x))
            return x + self.state[f"{name}.scale"] * self._linear(f"{name}.up_project", hidden * hidden.sigmoid())
        if f"{name}.fc1.weight" in self.state:
            return x + self._linear(f"{name}.fc2", self._linear(f"{name}.fc1", x).clamp(min=0)).clamp(min=0)
        return x

    def _encode(self, tower: str, letter: str, x: Tensor, causal: bool) -> list[Tensor]:
        """The states after each layer. Telescopic text adapters sit in the last layers, all others in the first."""
        config = getattr(self.config, f"{tower}_config")
        depth = config.num_hidden_layers
        telescopic = f"{letter}_attn_adapters.0.down_project.weight" in self.state
        adapters = len({name.split(".")[1] for name in self.state if name.startswith(f"{letter}_attn_adapters.")})
        first = depth - adapters if telescopic and letter == "l" else 0
        states = []
        for index in range(depth):
            layer = f"clipseg.clip.{tower}_model.encoder.layers.{index}"
            place = index - first
            y = self._norm(f"{layer}.layer_norm1", x)
            y = self._attention(f"{layer}.self_attn", y, config.num_attention_heads, causal)
            x = x + (self._adapter(f"{letter}_attn_adapters.{place}", y) if place >= 0 else y)
            y = self._linear(f"{layer}.mlp.fc1", self._norm(f"{layer}.layer_norm2", x))
            y = self._linear(f"{layer}.mlp.fc2", y * (1.702 * y).sigmoid())
            x = x + (self._adapter(f"{letter}_out_adapters.{place}", y) if place >= 0 else y)
            states.append(x)
        return states

    def _vision(self, pixels: Tensor) -> list[Tensor]:
        name = "clipseg.clip.vision_model"
        patch = self.config.vision_config.patch_size
        kernel = self.state[f"{name}.embeddings.patch_embedding.weight"]
        patches = functional.conv2d(pixels, kernel, stride=patch)
        rows, columns = patches.shape[2:]
        table = self.state[f"{name}.embeddings.position_embedding.weight"]
        side = round((len(table) - 1) ** 0.5)
        grid = functional.interpolate(
            table[1:].T.unflatten(1, (side, side))[None], size=(rows, columns), mode="bicubic", align_corners=False
        )
        tokens = (patches + grid).flatten(2).transpose(1, 2)
        first = (self.state[f"{name}.embeddings.class_embedding"] + table[0]).expand(len(tokens), 1, -1)
        x = self._norm(f"{name}.pre_layrnorm", torch.cat([first, tokens], dim=1))
        states = self._encode("vision", "v", x, causal=False)
        chosen = [states[layer] for layer in self.config.extract_layers]
        return [self._adapter(f"vision_extract_adapters.{index}", state) for index, state in enumerate(chosen)]

    def _condition(self, ids: Tensor) -> Tensor:
        # The shallow file holds its CLIP twice; its class reads the text branch of the second.
        name = "clipseg.clip.text_model"
        length = ids.shape[1]
        tokens = self.state[f"{name}.embeddings.token_embedding.weight"][ids]
        x = tokens + self.state[f"{name}.embeddings.position_embedding.weight"][:length]
        states = self._encode("text", "l", x, causal=True)
        eos = (torch.arange(len(ids)), ids.argmax(-1))
        pooled = self._norm(f"{name}.final_layer_norm", states[-1])[eos]
        feature = self._adapter("cond_adapter", self._linear("clipseg.clip.text_projection", pooled))
        if self.shallow:
            for index, layer in enumerate(self.config.extract_layers):
                feature = feature + self._adapter(f"text_extract_adapters.{index}", states[layer][eos])
        return feature

    def logits(self, pixels: Tensor, ids: Tensor) -> Tensor:
        states, condition = self._vision(pixels), self._condition(ids)
        heads, name, x = self.config.decoder_num_attention_heads, "clipseg.decoder", 0
        for step, state in enumerate(states[::-1]):
            x = self._linear(f"{name}.reduces.{step}", state) + x
            if step == 0:
                factor = self._linear(f"{name}.film_mul", condition)[:, None]
                x = factor * x + self._linear(f"{name}.film_add", condition)[:, None]
            layer = f"{name}.layers.{step}"
            x = self._norm(f"{layer}.layer_norm1", x + self._attention(f"{layer}.self_attn", x, heads, causal=False))
            hidden = self._linear(f"{layer}.mlp.fc1", x).clamp(min=0)
            x = self._norm(f"{layer}.layer_norm2", x + self._linear(f"{layer}.mlp.fc2", hidden))
        patch = self.config.vision_config.patch_size
        x = x[:, 1:].transpose(1, 2).unflatten(2, (pixels.shape[2] // patch, pixels.shape[3] // patch))
        weights = [
            (
                self.state[f"{name}.transposed_convolution.{i}.weight"],
                self.state[f"{name}.transposed_convolution.{i}.bias"],
            )
            for i in (0, 2, 4)
        ]
        x = functional.conv2d(x, *weights[0], padding=1).clamp(min=0)
        x = functional.conv_transpose2d(x, *weights[1], stride=patch // 4).clamp(min=0)
        logits = functional.conv_transpose2d(x, *weights[2], stride=4)
        if "boundary_enhancer.0.weight" not in self.state:
            return logits
        y = functional.conv2d(logits, self.state["boundary_enhancer.0.weight"], padding=1)
        mean, variance, weight, bias = (
            self.state[f"boundary_enhancer.1.{key}"][:, None, None]
            for key in ("running_mean", "running_var", "weight", "bias")
        )
        y = (y - mean) / (variance + 1e-5).sqrt() * weight + bias
        y = functional.conv2d(y * y.sigmoid(), self.state["boundary_enhancer.3.weight"])
        return logits + y.sigmoid() * logits
