"""A codec for what is signed, one for what is never negative, and which arrays they are for."""

import math
import re
from dataclasses import dataclass

from .dynamic import Dynamic4, Dynamic8
from .half import BFloat16
from .kept import Codec
from .linear import Int8
from .logarithmic import Log4, Log8

FULL = (
    r"(?i)(^|[/._])(\w*embed\w*|wte|wpe|(\w+_)?head|logits|classifier|norm\w*|\w+_?norm|ln(_\w+)?"
    r"|bias|scale)(_?\d+)?([/.]|$)"
)
"""The names of embeddings, output heads, norms and biases."""


@dataclass(frozen=True)
class ByKind:
    """How slots are kept by what they are declared to be, but for small arrays and some names.

    Args:
        signed: the codec (or its name) of directions and means of gradients; None for float32.
        nonnegative: that of sums and means of magnitudes.
        min_size: arrays with fewer elements are kept in float32, whole ones, not a device's parts.
        min_ndim: so are those of fewer axes.
        full: a regular expression; slots of parameters in whose path it is found are kept in
            float32. None for no parameter; embeddings, heads, norms and biases where it is not
            given.

    Slots that are declared exact are kept in float32.

    >>> import funcopt
    >>> whole = funcopt.storage.ByKind("dynamic8", "log8", full=None)
    >>> funcopt.adamw(1e-3, storage=whole).arguments["storage"].nonnegative
    Log8(block=None, rounding='auto', per_octave=8)
    """

    signed: Codec | str | None = None
    nonnegative: Codec | str | None = None
    min_size: int = 4096
    min_ndim: int = 2
    full: str | None = FULL

    def __post_init__(self):
        for kind in ("signed", "nonnegative"):
            object.__setattr__(self, kind, _codec(kind, getattr(self, kind)))
        for name in ("min_size", "min_ndim"):
            if type(getattr(self, name)) is not int or getattr(self, name) < 0:
                raise ValueError(
                    f"ByKind: {name} must be an integer >= 0, got {getattr(self, name)!r}."
                )
        try:
            re.compile(self.full or "")
        except (re.error, TypeError) as error:
            raise ValueError(
                f"ByKind: full={self.full!r} is not a regular expression: {error}."
            ) from error

    def codec(self, kind: str) -> Codec | None:
        """The codec of slots that are declared so."""
        found = {"signed": self.signed, "nonnegative": self.nonnegative}.get(kind)
        assert not isinstance(found, str)
        return found

    def in_full(self, shape: tuple[int, ...], path: str) -> str:
        """Why a slot of this shape is kept in float32, in words; "" where it is not."""
        if len(shape) < self.min_ndim:
            return ("a number", "a vector")[len(shape)] if len(shape) < 2 else f"{len(shape)} axes"
        if math.prod(shape) < self.min_size:
            return f"fewer than {self.min_size} elements"
        found = re.search(self.full, path) if self.full else None
        return f"{found[0].strip('/._')!r} in its name" if found else ""


CODECS: dict[str, Codec] = {
    "bfloat16": BFloat16(),
    "int8": Int8(),
    "dynamic8": Dynamic8(),
    "log8": Log8(),
    "dynamic4": Dynamic4(),
    "log4": Log4(),
}
"""Codecs by their names."""


def _codec(kind: str, given: Codec | str | None) -> Codec | None:
    codec = CODECS.get(given) if isinstance(given, str) else given
    if given == "float32" or given is None:
        return None
    if not isinstance(codec, Codec):
        raise ValueError(
            f"ByKind: {kind} must be a codec, None or one of {', '.join(CODECS)}, got {given!r}."
        )
    if kind not in codec.holds:
        raise ValueError(
            f"ByKind: {kind}={given!r} keeps {' and '.join(codec.holds)} slots only. Take "
            f"{' or '.join(name for name, each in CODECS.items() if kind in each.holds)}."
        )
    return codec


PRESETS: dict[str, ByKind] = {
    "16bit": ByKind(BFloat16(), BFloat16()),
    "8bit": ByKind(Dynamic8(), Log8()),
    "4bit": ByKind(Dynamic4(), Log4()),
}
"""What is chosen by a number of bits."""

NAMED: dict[str, ByKind] = {
    **PRESETS,
    **{
        name: ByKind(
            codec if "signed" in codec.holds else None,
            codec if "nonnegative" in codec.holds else None,
        )
        for name, codec in CODECS.items()
        if name != "bfloat16"
    },
}
"""What a name means for the slots of a transformation; "bfloat16" is a dtype."""
