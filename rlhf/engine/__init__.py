"""Engines over the weights: plain torch, or DeepSpeed ZeRO 0 to 3, by the same protocols."""
