"""Algorithms with one mistake: what `benchmarks.mutants` asks the tests to find.

A mutant is a source file of the package in which one place of one function is otherwise: a sign, a
term that is left out, the other decay rate, `eps` on the other side of the root, a count that is
one off, the gradient in place of its mean, the other axis, two rules in the other order. They are
made from the syntax tree, whatever the algorithm is, so that a new one needs no line here. What is
an identity but in `shard_map` stays: `tests/test_sharded_by_hand.py` holds it.

>>> source = "def ema(mean, x, decay):\\n    return decay * mean + (1 - decay) * x\\n"
>>> [each.what for each in mutants(source, "ema.py")][:3]
['decay * mean + (1 - decay) * x  →  decay * mean - (1 - decay) * x', \
'decay * mean + (1 - decay) * x  →  decay * mean', \
'decay * mean + (1 - decay) * x  →  (1 - decay) * x']
"""

from __future__ import annotations

import ast
import hashlib
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import CodeType
from typing import Any

FOLDERS = ("optimizers", "rate_free", "transforms", "clips", "averaging")
OTHERS = {
    ast.Add: (ast.Sub,),
    ast.Sub: (ast.Add,),
    ast.Mult: (ast.Div,),
    ast.Div: (ast.Mult,),
    ast.Pow: (ast.Mult,),
    ast.Lt: (ast.GtE,),
    ast.GtE: (ast.Lt,),
    ast.Gt: (ast.LtE,),
    ast.LtE: (ast.Gt,),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.BitAnd: (ast.BitOr,),
    ast.BitOr: (ast.BitAnd,),
}
FUNCTIONS = {
    "add": "sub",
    "sub": "add",
    "mul": "div",
    "div": "mul",
    "maximum": "minimum",
    "minimum": "maximum",
    "mean": "sum",
}
# What is left of a call when it is forgotten: its argument of that index.
FORGOTTEN = {
    "abs": 0,
    "abs_sq": 0,
    "conj": 0,
    "cumsum": 0,
    "divide_by_root": 0,
    "divide_or_keep": 0,
    "ema": 1,
    "expm1": 0,
    "held": 0,
    "log": 0,
    "maximum": 0,
    "minimum": 0,
    "neg": 0,
    "raised": 0,
    "restored": 0,
    "rotated": 0,
    "safe_divide": 0,
    "sign": 0,
    "sqrt": 0,
    "square": 0,
    "swapaxes": 0,
    "times": 1,
    "unbiased": 0,
}
SWAPPED = ("where", "select")
IN_ORDER = ("optimizer", "chain", "lift")
ORDERED = ("axpy", "divide_by_root", "divide_or_keep", "ema", "minus", "safe_divide", "sub", "div")
NO_RULES = ("Lifted", "Divisor", "Paper")
PAIRS = {"b1": "b2", "b2": "b1", "b3": "b1", "beta1": "beta2", "beta2": "beta1", "beta3": "beta1"}
AXES = {0: 1, 1: 0, -1: -2, -2: -1}
COUNTS = ("t", "count")
NO_CODE = ("annotation", "returns", "decorator_list", "args", "type_params")
NO_ALGORITHM = ("__repr__", "__post_init__", "divides_by", "left_out")
Function = ast.FunctionDef


@dataclass(frozen=True)
class Mutant:
    """One mistake: where it is, what it is, and the function with it.

    Attributes:
        file: the path of the source.
        line: where the mistake is; `last` is the last line of what was replaced.
        function: the qualified name of the outermost function around it.
        what: the place as it was and as it is.
        code: the function's code with the mistake.
    """

    file: str
    line: int
    last: int
    function: str
    what: str
    code: CodeType


@dataclass(frozen=True)
class Place:
    """A node of the tree, and where it hangs."""

    node: Any
    parent: Any
    field: str
    index: int | None

    def put(self, node: Any) -> None:
        if self.index is None:
            setattr(self.parent, self.field, node)
        else:
            getattr(self.parent, self.field)[self.index] = node


def sources(root: Path) -> list[Path]:
    """The files of the algorithms of the package in `root`."""
    found = (path for each in FOLDERS for path in sorted((root / "funcopt" / each).glob("*.py")))
    return [path for path in found if path.name != "__init__.py"]


def digest(source: str) -> str:
    """Of what is broken: other words in a docstring, or another format, are the same source."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, Function) and ast.get_docstring(node):
            node.body = node.body[1:] or [ast.Pass()]
    found = [ast.unparse(function) for _, function in functions(tree)]
    return hashlib.sha256("\n".join(found).encode()).hexdigest()[:12]


def mutants(source: str, file: str) -> list[Mutant]:
    """All mutants of a source file, those that compile to the same code once."""
    tree = ast.parse(source)
    made: dict[Any, Mutant] = {}
    for name, function in functions(tree):
        fields = _fields(tree, name)
        original = _code(tree, file, name)
        made[original.co_code, original.co_consts, original.co_names, original.co_varnames] = None  # type: ignore[assignment]
        for place in places(function):
            for told, node in _mistakes(place, function, fields):
                place.put(node)
                try:
                    code = _code(tree, file, name)
                finally:
                    place.put(place.node)
                key = (code.co_code, code.co_consts, code.co_names, code.co_varnames)
                last = getattr(place.node, "end_lineno", place.node.lineno)
                made.setdefault(key, Mutant(file, place.node.lineno, last, name, told, code))
    return [each for each in made.values() if each is not None]


def functions(tree: ast.Module) -> Iterator[tuple[str, Function]]:
    """The outermost functions, methods included, but for those that check or print, and for those
    that are run when the file is imported.
    """
    outside = [x for x in tree.body if not isinstance(x, Function | ast.ClassDef)]
    run = {_called(x) for node in outside for x in ast.walk(node) if isinstance(x, ast.Call)}
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            for each in node.body:
                if isinstance(each, Function) and each.name not in NO_ALGORITHM:
                    yield f"{node.name}.{each.name}", each
        elif isinstance(node, Function):
            arguments = [each.arg for each in node.args.args]
            if arguments[:1] != ["where"] and node.name not in run:
                yield node.name, node


def places(function: Function) -> Iterator[Place]:
    """The nodes below a function that compute: no annotations, errors or texts."""

    def below(node: Any) -> Iterator[Place]:
        for field, x in ast.iter_fields(node):
            if field in NO_CODE and not (field == "args" and isinstance(node, ast.Call)):
                continue
            for index, each in enumerate(x) if isinstance(x, list) else [(None, x)]:
                if not isinstance(each, ast.AST):
                    continue
                if isinstance(each, ast.Raise | ast.Assert | ast.JoinedStr | ast.Delete):
                    continue
                if isinstance(each, ast.If) and any(isinstance(s, ast.Raise) for s in each.body):
                    continue
                if isinstance(each, ast.Call) and _called(each) in ("isinstance", "finfo", "cast"):
                    continue
                if hasattr(each, "lineno"):
                    yield Place(each, node, field, index)
                yield from below(each)

    yield from below(function)


def _mistakes(place: Place, function: Function, fields: list[str]) -> Iterator[tuple[str, Any]]:
    """What may stand in the place of a node, each with what it is called."""
    node = place.node
    found = _of_expression(node, place, function, fields) if isinstance(node, ast.expr) else ()
    if isinstance(node, ast.stmt):
        found = _of_statement(node, place, function)
    was = ast.unparse(node)
    for each in found:
        ast.fix_missing_locations(ast.copy_location(each, node))
        late = isinstance(each, ast.If) and isinstance(node, ast.Assign)
        is_ = f"{ast.unparse(each.body[2].targets[0])} as it was before" if late else None
        yield f"{_short(was)}  →  {is_ or _short(ast.unparse(each))}", each


def _of_expression(node: Any, place: Place, function: Function, fields: list[str]) -> Iterator[Any]:
    if isinstance(node, ast.BinOp):
        yield from _of_operation(node)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        if not isinstance(node.operand, ast.Constant):
            yield node.operand
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not | ast.Invert):
        yield node.operand
    elif isinstance(node, ast.Compare) and type(node.ops[0]) in OTHERS:
        for other in OTHERS[type(node.ops[0])]:
            yield ast.Compare(node.left, [other(), *node.ops[1:]], node.comparators)
    elif isinstance(node, ast.IfExp):
        yield ast.IfExp(ast.UnaryOp(ast.Not(), node.test), node.body, node.orelse)
    elif isinstance(node, ast.Call):
        yield from _of_call(node)
    elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
        yield from _of_attribute(node, function, fields)
    elif isinstance(node, ast.Subscript) and _is_shape(node.value):
        if isinstance(node.slice, ast.Constant | ast.UnaryOp):
            axis = ast.literal_eval(node.slice)
            if axis in AXES:
                yield ast.Subscript(node.value, ast.Constant(AXES[axis]), node.ctx)
    elif isinstance(node, ast.Constant) and type(node.value) in (int, float):
        yield from _of_number(node, place)
    elif isinstance(node, ast.Name) and PAIRS.get(node.id) in _names(function):
        yield ast.Name(PAIRS[node.id], node.ctx)


def _of_operation(node: ast.BinOp) -> Iterator[Any]:
    kind = type(node.op)
    if isinstance(node.right, ast.Call) and _called(node.right) == "parts":
        return
    if isinstance(node.op, ast.MatMult):
        yield ast.BinOp(node.right, node.op, node.left)
        return
    for other in OTHERS.get(kind, ()):
        if not (isinstance(node.right, ast.Call) and _called(node.right) == "sign"):
            yield ast.BinOp(node.left, other(), node.right)
    if kind in (ast.Add, ast.Sub, ast.Div, ast.Pow) and not _is_one(node.left):
        yield node.left
    if kind is ast.Add or kind is ast.Mult or _is_one(node.left):
        yield node.right
    if _is_sum_with_eps(node) and _is_root(node.left):
        root: Any = node.left
        inside = ast.BinOp(root.args[0], ast.Add(), node.right)
        yield ast.Call(root.func, [inside, *root.args[1:]], root.keywords)


def _of_call(node: ast.Call) -> Iterator[Any]:
    name, args = _called(node), node.args
    if name in FUNCTIONS and isinstance(node.func, ast.Attribute):
        func = ast.Attribute(node.func.value, FUNCTIONS[name], ast.Load())
        yield ast.Call(func, args, node.keywords)
    if name == "bias_correction":
        yield ast.BinOp(ast.BinOp(ast.Constant(0), ast.Mult(), node), ast.Add(), ast.Constant(1))
    elif name in FORGOTTEN and len(args) > FORGOTTEN[name]:
        yield args[FORGOTTEN[name]]
    if name in SWAPPED and len(args) == 3:
        yield ast.Call(node.func, [args[0], args[2], args[1]], node.keywords)
    if name == "divide_by_root" and len(args) >= 3:
        inside = args[3] if len(args) > 3 else ast.Constant(0.0)
        yield ast.Call(node.func, [*args[:2], inside, args[2]], node.keywords)
        yield ast.Call(node.func, [*args[:2], ast.Constant(0.0), *args[3:]], node.keywords)
    if _is_root(node) and _is_sum_with_eps(args[0]):
        root = ast.Call(node.func, [args[0].left, *args[1:]], node.keywords)
        yield ast.BinOp(root, ast.Add(), args[0].right)
    for i, (a, b) in enumerate(itertools.pairwise(args)):
        if _may_swap(name, a, b):
            yield ast.Call(node.func, [*args[:i], b, a, *args[i + 2 :]], node.keywords)
    if name in IN_ORDER and len(args) > 1:
        for i, each in enumerate(args):
            if not isinstance(each, ast.Starred):
                yield ast.Call(node.func, args[:i] + args[i + 1 :], node.keywords)
    if name == "renew":
        for i in range(len(node.keywords)):
            yield ast.Call(node.func, args, node.keywords[:i] + node.keywords[i + 1 :])


def _may_swap(name: str, a: Any, b: Any) -> bool:
    """Whether two arguments are of one kind, so that the other order means something."""
    if name in IN_ORDER:
        return not isinstance(a, ast.Starred) and not isinstance(b, ast.Starred)
    if name not in ORDERED and (name[:1].islower() or name.startswith(NO_RULES)):
        return False
    plain = isinstance(a, ast.Name | ast.Attribute) and isinstance(b, ast.Name | ast.Attribute)
    return plain and _is_number(a) == _is_number(b)


def _of_attribute(node: ast.Attribute, function: Function, fields: list[str]) -> Iterator[Any]:
    if node.attr in ("T", "mT"):
        yield node.value
    if node.attr in COUNTS and isinstance(node.value, ast.Name | ast.Attribute):
        for op in (ast.Add(), ast.Sub()):
            yield ast.BinOp(node, op, ast.Constant(1))
    other = PAIRS.get(node.attr)
    if other in fields and isinstance(node.value, ast.Name) and node.value.id == "self":
        yield ast.Attribute(node.value, other, node.ctx)
    if isinstance(node.value, ast.Name) and node.value.id == "slots":
        for gradient in {"grad", "g"} & {each.arg for each in function.args.args}:
            yield ast.Name(gradient, ast.Load())


def _of_number(node: ast.Constant, place: Place) -> Iterator[Any]:
    parent = place.parent
    if isinstance(parent, ast.keyword) and parent.arg in ("axis", "axes"):
        if node.value in AXES:
            yield ast.Constant(AXES[node.value])
    elif isinstance(parent, ast.UnaryOp | ast.Subscript | ast.Slice | ast.Tuple):
        return
    elif isinstance(node.value, int):
        if isinstance(parent, ast.BinOp) and node.value != 1:
            yield ast.Constant(node.value + 1)
    else:
        yield ast.Constant(node.value * 1.1 or 0.1)


def _of_statement(node: Any, place: Place, function: Function) -> Iterator[Any]:
    gradients = {"grad", "g"} & {each.arg for each in function.args.args}
    if isinstance(node, ast.If):
        yield ast.If(ast.UnaryOp(ast.Not(), node.test), node.body, node.orelse)
    returns = isinstance(node, ast.Return) and isinstance(node.value, ast.Tuple)
    if returns and function.name == "update" and node in function.body:
        update, *rest = node.value.elts
        flipped = ast.UnaryOp(ast.USub(), update)
        if not (isinstance(update, ast.Call) and _called(update) == "scaled"):
            yield ast.Return(ast.Tuple([flipped, *rest], ast.Load()))
        for each in gradients:
            yield ast.Return(ast.Tuple([ast.Name(each, ast.Load()), *rest], ast.Load()))
    if isinstance(node, ast.Assign):
        target, *more = node.targets
        if _is_shape(node.value) and isinstance(target, ast.Tuple) and len(target.elts) == 2:
            yield ast.Assign([ast.Tuple(target.elts[::-1], ast.Store()), *more], node.value)
        if isinstance(node.value, ast.Call) and _called(node.value) == "renew":
            yield from _from_old_slots(node)


def _from_old_slots(node: ast.Assign) -> Iterator[Any]:
    """What comes after it reads one of the slots as it was before: it is one step late."""
    call: Any = node.value
    first: Any = node.targets[0]
    names = [each.arg for each in call.keywords if each.arg]
    for i, name in enumerate(names):
        old = ast.Attribute(call.args[0], name, ast.Load())
        before = ast.Assign([ast.Name("_before", ast.Store())], old)
        if isinstance(first, ast.Tuple) and len(first.elts) == len(names):
            late = ast.Assign([first.elts[i]], ast.Name("_before", ast.Load()))
            yield ast.If(ast.Constant(True), [before, node, late], [])


def _short(text: str) -> str:
    return " ".join(text.split()) if len(text) <= 90 else f"{' '.join(text.split())[:87]}..."


def _is_one(node: Any) -> bool:
    return isinstance(node, ast.Constant) and node.value == 1


def _is_number(node: Any) -> bool:
    """Whether it looks like a hyperparameter, or something small of a tree rule."""
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
        return node.value.id in ("self", "clock")
    return isinstance(node, ast.Constant)


def _called(node: ast.Call) -> str:
    return getattr(node.func, "attr", getattr(node.func, "id", ""))


def _is_root(node: Any) -> bool:
    return isinstance(node, ast.Call) and _called(node) in ("sqrt", "safe_sqrt") and bool(node.args)


def _is_sum_with_eps(node: Any) -> bool:
    is_sum = isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add)
    return is_sum and "eps" in ast.unparse(node.right)


def _is_shape(node: Any) -> bool:
    return isinstance(node, ast.Attribute) and node.attr == "shape"


def _names(function: Function) -> set[str]:
    return {each.id for each in ast.walk(function) if isinstance(each, ast.Name)} | {
        each.arg for each in ast.walk(function) if isinstance(each, ast.arg)
    }


def _fields(tree: ast.Module, name: str) -> list[str]:
    """The hyperparameters of the class that a method is of."""
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and name.startswith(f"{node.name}."):
            return [
                each.target.id
                for each in node.body
                if isinstance(each, ast.AnnAssign) and isinstance(each.target, ast.Name)
            ]
    return []


def _code(tree: ast.Module, file: str, name: str) -> CodeType:
    """The code of the function of that qualified name."""
    code = compile(tree, file, "exec")
    for part in name.split("."):
        inside = (x for x in code.co_consts if isinstance(x, CodeType) and x.co_name == part)
        code = next(inside)
    return code
