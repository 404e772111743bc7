"""How weights are held: plain torch, or DeepSpeed ZeRO 0 to 3; both answer the same protocols."""
