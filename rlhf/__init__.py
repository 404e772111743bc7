"""RLHF end to end: SFT, reward model and PPO as Ray actors over DeepSpeed engines."""

__version__ = "0.1.0"
