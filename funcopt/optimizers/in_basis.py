"""A rule in a basis in which the gradients of a matrix are simpler, and which follows them.

    g = Lᴴ G R                  the gradient G in the basis
    u = L (its update) Rᴴ       the update of `inner`, which is applied to g, back from there
    L, R ← what the basis makes of G, before or after that, and of the slots of `inner` with them

SOAP is Adam in the eigenbases of mean squares, SPlus the sign of a mean there, GaLore is Adam where
few singular vectors are. They differ in what becomes of `inner`'s slots when the basis changes.
"""

from typing import Annotated

from jaxtyping import Array, Inexact

from ..core.basis import Basis, slots_in_basis
from ..core.report import NoReport
from ..core.rule import Clock, Rule, rule


def _of_elements(where: str, x: object) -> Rule:
    fine = isinstance(x, Rule) and x.acts_on == "element" and x.report is NoReport
    if not isinstance(x, Rule) or not fine or x.needs_params or x.needs_path:
        raise TypeError(
            f"{where} must be a rule for elements that looks at gradients alone, such as "
            f"rules.Adam(), got {x!r}."
        )
    return x


def _basis(where: str, x: object) -> Basis:
    if not isinstance(x, Basis):
        raise TypeError(f"{where} must be a basis such as rules.Eigenbasis(), got {x!r}.")
    return x


@rule(acts_on="matrix", slots=lambda self: slots_in_basis(self.inner.slots, self.basis.slots))
class InBasis(Rule):
    """Apply a rule for elements in a basis; the names of its slots there begin with `basis_`."""

    inner: Annotated[Rule, _of_elements]
    basis: Annotated[Basis, _basis]

    def init(self, param: Inexact[Array, "inputs outputs"]):
        basis = self.basis.init(param)
        return self.slots(*self.inner.init(self.basis.of(param, basis)), *basis)

    def update(self, grad: Inexact[Array, "inputs outputs"], slots, param, clock: Clock):
        del param  # it is in no basis
        count = len(self.inner.slots._fields)
        inner, basis = self.inner.slots(*slots[:count]), self.basis.slots(*slots[count:])
        basis = self.basis.before(grad, basis, clock)
        update, inner = self.inner.update(self.basis.of(grad, basis), inner, None, clock)
        update = self.basis.back(update, basis)
        basis, inner, update = self.basis.after(grad, basis, inner, update, clock)
        return update, self.slots(*inner, *basis)
