"""What every part of a spec is."""

from pydantic import BaseModel, ConfigDict


class Part(BaseModel):
    """A part of the spec. The example of a field is what an error shows as its remedy."""

    model_config = ConfigDict(frozen=True, extra="forbid")
