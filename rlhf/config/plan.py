"""What `rlhf plan` plans for."""

from __future__ import annotations

from rlhf.config.section import Place, Section


class PlanConfig(Section):
    """`rlhf plan`: memory, time and placement, predicted before anything is started."""

    hardware: Place = "here"
    """here: this machine, measured. GPUSxNAME or NODESxGPUSxNAME: devices of a kind it knows, such
    as 8xh100 or 4x8xa100-80gb. FILE.yaml: a description of your own (docs/planning.md)."""
