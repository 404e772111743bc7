"""The three stages: supervised fine-tuning, reward model, PPO; and the driver they share."""
