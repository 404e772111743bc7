"""What `rlhf data` shows."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from rlhf.config.section import Section


class PreviewConfig(Section):
    """`rlhf data`: rows as training will see them, before anything is started."""

    rows: int = Field(default=3, ge=0)
    """Rows shown of each kind of data, the first of every source in turn."""
    format: Literal["text", "json"] = "text"
    """text: for a person, in colors where the terminal has them. json: one object, for programs."""
