"""Base class of all parts of a spec."""

from pydantic import BaseModel, ConfigDict


class Part(BaseModel):
    """A part of the spec. Error messages show the example of a field as the remedy."""

    model_config = ConfigDict(frozen=True, extra="forbid")
