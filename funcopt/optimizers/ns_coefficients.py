"""The numbers of Newton and Schulz's iteration, by the names of those who found them.

Each step makes a s + b s³ + c s⁵ of every singular value s. What they lead to is told in `muon`.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, TypeGuard

from ..core.arguments import Numeric, is_number

Triple = tuple[float, float, float]
Triples = tuple[Triple, ...]

KELLER = (3.4445, -4.7750, 2.0315)
EXPRESS_5: Triples = (
    (8.156554524902461, -22.48329292557795, 15.878769915207462),
    (4.042929935166739, -2.808917465908714, 0.5000178451051316),
    (3.8916678022926607, -2.772484153217685, 0.5060648178503393),
    (3.285753657755655, -2.3681294933425376, 0.46449024233003106),
    (2.3465413258596377, -1.7097828382687081, 0.42323551169305323),
)
EXPRESS_8: Triples = (
    (8.28721201814563, -23.595886519098837, 17.300387312530933),
    (4.107059111542203, -2.9478499167379106, 0.5448431082926601),
    (3.9486908534822946, -2.908902115962949, 0.5518191394370137),
    (3.3184196573706015, -2.488488024314874, 0.51004894012372),
    (2.300652019954817, -1.6689039845747493, 0.4188073119525673),
    (1.891301407787398, -1.2679958271945868, 0.37680408948524835),
    (1.8750014808534479, -1.2500016453999487, 0.3750001645474248),
)


def below(safety: float, triples: Triples) -> Triples:
    """Polynomials of s / safety, where the singular values s may have been rounded up."""
    return tuple((a / safety, b / safety**3, c / safety**5) for a, b, c in triples)


COEFFICIENTS: Mapping[str, Triple | Triples] = {
    # Jordan et al.: https://kellerjordan.github.io/posts/muon/
    "keller": KELLER,
    # You, 2025: https://x.com/YouJiacheng/status/1905861218138804534
    "quintic": (
        (4.0848, -6.8946, 2.9270),
        (3.9505, -6.3029, 2.6377),
        (3.7418, -5.5913, 2.3037),
        (2.8769, -3.1427, 1.2046),
        (2.8366, -3.0525, 1.2012),
    ),
    # Amsel et al., 2025 (https://arxiv.org/abs/2505.16932): as modded-nanogpt and Dion have it,
    # whose matrix is divided by 1.02 times its norm; as nanochat does, by 1.01; and as published.
    "polar_express_1.02": (*below(1.02, EXPRESS_5[:1]), *EXPRESS_5[1:]),
    "polar_express_1.01": (*below(1.01, EXPRESS_5[:1]), *EXPRESS_5[1:]),
    "polar_express_8": (*below(1.01, EXPRESS_8), (1.875, -1.25, 0.375)),
    # Grishina et al., 2025 (https://arxiv.org/abs/2506.10935), as in NVIDIA's emerging optimizers.
    "cans": (
        (8.4703, -25.1081, 18.6293),
        (4.1828, -3.1087, 0.5806),
        (3.9619, -2.9541, 0.5630),
        (3.2866, -2.4647, 0.5074),
        (2.2737, -1.6447, 0.4162),
    ),
    # DeepSeek-V4: two last steps that lead to 1 what eight of Jordan's have brought near it.
    "deepseek": (*[KELLER] * 8, (2.0, -1.5, 0.5), (2.0, -1.5, 0.5)),
}


def _numbers(where: str, x: object) -> object:
    def is_triple(each: object) -> TypeGuard[Sequence]:
        return isinstance(each, tuple | list) and len(each) == 3 and all(map(is_number, each))

    def numbers(each: Sequence) -> tuple:
        return tuple(float(n) if isinstance(n, int | float) else n for n in each)

    if is_triple(x):
        return numbers(x)
    if isinstance(x, tuple | list) and x and all(map(is_triple, x)):
        return tuple(map(numbers, x))
    raise TypeError(
        f"{where} must be three numbers (a, b, c), or such a triple for each step, got {x!r}."
    )


def _named(where: str, x: object) -> object:
    if not isinstance(x, str):
        return _numbers(where, x)
    if x not in COEFFICIENTS:
        names = ", ".join(COEFFICIENTS)
        raise ValueError(f"{where} must be numbers or one of {names}, got {x!r}.")
    return x


Coefficients = Annotated[Sequence[Numeric] | Sequence[Sequence[Numeric]], _numbers]
"""Those of the polynomial a s + b s³ + c s⁵, three numbers; or three for each step."""
NamedCoefficients = Annotated[str | Sequence[Numeric] | Sequence[Sequence[Numeric]], _named]
"""The same, or the name of a set of them in `COEFFICIENTS`."""
