"""The three stages: SFT, reward model, PPO."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from rlhf.config.optimizer import OptimizerConfig
from rlhf.config.section import Place, Section


class SFTConfig(Section):
    """Supervised fine-tuning: next-token loss on the answer's tokens."""

    num_epochs: float = Field(default=1.0, gt=0, le=1e6)
    """Passes over the demonstrations; a fraction stops within one."""
    batch_size: int = Field(default=32, gt=0, le=2**24)
    """Rows an optimizer step, over all ranks."""
    validate_every: int = Field(default=50, gt=0)
    """Optimizer steps between validation losses."""
    patience: int = Field(default=3, gt=0)
    """Validations without a new best before training stops."""
    keep: Literal["best", "last"] = "best"
    """best: the weights of the lowest validation loss. last: train to the end and keep that; the
    loss rises long before answers stop improving (Ouyang et al. 2022, appendix C.1)."""
    optimizer: OptimizerConfig = OptimizerConfig(lr=1e-5, schedule="cosine")
    """AdamW of this stage."""


class RewardModelConfig(Section):
    """Reward model: Bradley-Terry on ranked answers (Ouyang et al. 2022, eq. 1)."""

    path: Place | None = None
    """A trained reward model to use; the reward-model stage is then skipped."""
    num_epochs: float = Field(default=1.0, gt=0, le=1e6)
    """Passes over the rankings; more than one overfits."""
    batch_size: int = Field(default=32, gt=0, le=2**24)
    """Prompts an optimizer step, over all ranks, each with all its answers."""
    validate_every: int = Field(default=50, gt=0)
    """Optimizer steps between validation accuracies."""
    patience: int = Field(default=3, gt=0)
    """Validations without a new best before training stops; the best weights are kept."""
    margin_coef: float = Field(default=1.0, ge=0)
    """Weight of a row's margin column in the loss (Touvron et al. 2023, eq. 2); above 0 the score
    gap overstates how sure people are."""
    center_coef: float = Field(default=0.0, ge=0)
    """Weight of (sum of scores)^2, which keeps scores near 0 (Eisenstein et al. 2023)."""
    optimizer: OptimizerConfig = OptimizerConfig(lr=1e-5, schedule="cosine")
    """AdamW of this stage."""


class PPOConfig(Section):
    """Proximal policy optimisation (Schulman et al. 2017) as in Ouyang et al. 2022."""

    num_steps: int = Field(default=100, gt=0, le=10**9)
    """Turns of the loop: write, score, learn."""
    rollout_batch_size: int = Field(default=64, gt=0, le=2**24)
    """Prompts a step."""
    samples_per_prompt: int = Field(default=1, gt=0, le=2**16)
    """Responses written to each prompt."""
    minibatch_size: int = Field(default=32, gt=0, le=2**24)
    """Responses an optimizer step, over all ranks."""
    num_epochs: int = Field(default=4, gt=0, le=1_000_000)
    """Passes over each step's experience."""
    kl_coef: float = Field(default=0.05, ge=0)
    """Price of KL(policy || reference) in the reward, in score units a nat (beta)."""
    kl_target: float | None = Field(default=None, gt=0)
    """Nats a response that kl_coef is steered towards (Ziegler et al. 2019, section 2.2)."""
    kl_horizon: int = Field(default=10_000, gt=0)
    """Responses over which the adaptive coefficient moves."""
    advantage_estimator: str = "gae"
    """gae, reinforce_pp, rloo, grpo or dr_grpo (rlhf/algo/estimators.py), or FILE.py:NAME of your
    own; `algorithm=` sets it together with what belongs to it (docs/algorithms.md)."""
    loss_aggregation: Literal[
        "token_mean", "seq_mean_token_mean", "seq_mean_token_sum", "seq_mean_token_sum_norm"
    ] = "token_mean"
    """How token losses become one: mean over tokens (DAPO), or over responses of their mean (GRPO),
    their sum, or their sum / generation.max_new_tokens (Dr. GRPO)."""
    clip_range: float = Field(default=0.2, gt=0)
    """Epsilon of the clipped surrogate."""
    clip_range_high: float | None = Field(default=None, gt=0)
    """Epsilon upwards (clip-higher; Yu et al. 2025, eq. 10); clip_range when not given."""
    dual_clip: float | None = Field(default=None, gt=1)
    """Bounds the loss of a negative advantage A at dual_clip * |A| (Ye et al. 2020, eq. 5)."""
    max_approx_kl: float | None = Field(default=None, gt=0)
    """A step's epochs stop at the minibatch whose approximate KL(old || new), nats a token, is
    above this."""
    value_clip_range: float = Field(default=0.2, gt=0)
    """How far a new value may move from the old one, in score units."""
    discount: float = Field(default=1.0, gt=0, le=1)
    """Gamma."""
    gae_lambda: float = Field(default=0.95, ge=0, le=1)
    """Lambda of the policy's advantages (Schulman et al. 2016)."""
    value_gae_lambda: float | None = Field(default=None, ge=0, le=1)
    """Lambda of the value targets (VC-PPO); gae_lambda when not given."""
    missing_eos_penalty: float = Field(default=1.0, ge=0)
    """Subtracted from the score of a response that was cut before its EOS."""
    overlong_penalty: float = Field(default=0.0, ge=0)
    """Subtracted from the score of a response of generation.max_new_tokens tokens, and less over
    the overlong_buffer tokens before (Yu et al. 2025, eq. 13)."""
    overlong_buffer: int = Field(default=0, ge=0)
    """Tokens before the longest response over which overlong_penalty grows from 0."""
    scale_scores: bool = False
    """Divide scores by their running standard deviation; the mean is never shifted (Zheng et al.
    2023). Off, a score has the unit the reward gave it."""
    importance_cap: float | None = Field(default=None, ge=1)
    """Weigh each token by min(training / sampling probability, this), for rollouts whose sampler
    was not quite the trainer (bf16); no effect where both agree."""
    ptx_coef: float = Field(default=0.0, ge=0)
    """Weight of the language-model loss on data.pretraining, as many texts a minibatch as
    responses (Ouyang et al. 2022, eq. 2: gamma)."""
    ema_decay: float | None = Field(default=None, ge=0, lt=1)
    """RUN/policy becomes the exponential moving average of the weights after each step (Ouyang et
    al. 2022, appendix C.4: 0.992)."""
    whiten_advantages: bool = True
    """Shift and scale advantages to mean 0, variance 1 over all tokens of the step."""
    value_warmup_steps: int = Field(default=0, ge=0)
    """First steps in which only the value role learns (VC-PPO)."""

    @property
    def updates_a_step(self) -> int:
        """Optimizer steps of each learning role a step."""
        rows = self.rollout_batch_size * self.samples_per_prompt
        return self.num_epochs * (rows // self.minibatch_size)
