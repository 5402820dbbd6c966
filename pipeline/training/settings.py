"""The training protocol as typed settings (protocol of VLSM-Adapter and MedVLSM, which the paper follows)."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

PromptType = Literal["random", "p0", "p1", "p2", "p3", "p4", "p5", "p6", "p7", "p8", "p9"]


class PartRates(BaseModel):
    """AdamW's learning rate by part of the model; ``learning_rate`` where absent."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    encoders: float | None = Field(
        None, gt=0, description="CLIP's image and text encoders; a U-Net's pretrained encoder [tuned]"
    )
    decoder: float | None = Field(None, gt=0, description="CLIPSeg's decoder; all else of a U-Net [tuned]")
    adapters: float | None = Field(None, gt=0, description="All modules that a variant adds, LoRA's too [tuned]")


class TrainingSettings(BaseModel):
    """How a run is trained. Marked in each description: [tuned], [studied] or [fixed] (by the protocol).

    An epoch is as many optimizer steps as one pass over the full training set takes, whatever ``train_fraction``, and
    is followed by one validation.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    learning_rate: float = Field(1e-3, gt=0, description="AdamW's learning rate [tuned]")
    learning_rates: PartRates = Field(default_factory=PartRates, description="Learning rates by part of the model")
    warmup_steps: int = Field(0, ge=0, description="Steps over which the learning rates grow linearly to these values")
    weight_decay: float = Field(1e-3, ge=0, description="AdamW's decoupled weight decay [fixed]")
    decay_norms_and_biases: bool = Field(
        True,
        description="Decay vectors (norms, biases, scales) and position embeddings too, as the reference does",
    )
    batch_size: int = Field(32, ge=1, description="Images per optimizer step [fixed]")
    accumulation: int = Field(1, ge=1, description="Slices in which a batch goes through the device, to save memory")
    gradient_checkpointing: bool = Field(
        False, description="Compute each encoder layer once more in the backward pass, to save memory"
    )
    precision: Literal["fp16", "bf16", "bf16_residual", "fp32"] = Field(
        "fp16",
        description="Autocast type in training and scoring [fixed]; bf16 needs a GPU that has it. A CPU computes in "
        "fp32, or in bf16 if that is set and it has AVX512-BF16 or AMX. bf16_residual: the residual stream and frozen "
        "LayerNorms too, which autocast keeps in float32",
    )
    max_consecutive_skips: int = Field(
        40,
        ge=0,
        description="Steps in a row that may be skipped because loss or gradients are not finite; after 40, fp16's "
        "loss scale has fallen from 2^16 to 2^-24, so it is not to blame",
    )
    gradient_clip: float = Field(0.5, gt=0, description="Largest global L2 norm of the gradient [fixed]")
    plateau_factor: float = Field(0.3, gt=0, lt=1, description="ReduceLROnPlateau on validation loss: factor [fixed]")
    plateau_patience: int = Field(5, ge=0, description="ReduceLROnPlateau: epochs without a gain [fixed]")
    min_epochs: int = Field(10, ge=1, description="Epochs before early stopping may act [fixed]")
    max_epochs: int = Field(200, ge=1, description="Epochs at most [fixed]")
    stop_patience: int = Field(20, ge=1, description="Early stop: epochs without a validation DSC gain [fixed]")
    stop_min_delta: float = Field(1e-4, ge=0, description="Early stop: smallest DSC gain (0..1) that counts [fixed]")
    dice_weight: float = Field(1.5, ge=0, description="Weight of the Dice loss [fixed]")
    bce_weight: float = Field(1.0, ge=0, description="Weight of the binary cross-entropy [fixed]")
    reference_double_sigmoid: bool = Field(
        False, description="Binary cross-entropy on sigmoid(probability), as the reference's code computes it"
    )
    prompt_type: PromptType = Field("random", description="Prompts in training, validation and test [studied]")
    augmentation: Literal["none", "light"] = Field(
        "none",
        description="Of training cases, anew in each pass [studied]. light: flips (each way with probability 1/2), "
        "rotation (up to 15 degrees), scale (0.9 to 1.1), brightness, contrast and saturation (0.8 to 1.2). Prompts "
        "stay true: left, right, top and bottom change places with a flip, and a case whose prompt names a place is "
        "neither turned nor scaled; words of size are kept. Vision states of training cases are then computed in each "
        "step",
    )
    train_fraction: float = Field(
        1.0, gt=0, le=1, description="Share of the training and of the validation cases, nested subsets [studied]"
    )
    cuda_graph: bool = Field(
        False,
        description="Replay each step as one CUDA graph, where one can be recorded; an epoch's last batch is filled up "
        "with cases of no weight. Not yet measured",
    )
    deterministic: bool = Field(False, description="Deterministic CUDA kernels (a CPU is deterministic anyway)")
    save_every: int = Field(5, ge=1, description="Epochs between saved states that a killed run resumes from")
