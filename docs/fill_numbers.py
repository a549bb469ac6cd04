"""Fill the marked regions of README.md and docs/*.md from signatures, tests and measured results.

    python docs/fill_numbers.py            writes them
    python docs/fill_numbers.py --check    exits with 1 and their names when one is out of date
    python docs/fill_numbers.py --optax    reads the signatures of the installed optax first

A region stands between `<!-- begin: name -->` and `<!-- end: name -->`; `REGIONS` has one function
for each name. Whoever changes a number changes what it is computed from, and runs this.
"""

import argparse
import dataclasses
import functools
import inspect
import json
import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
SIGNATURES = ROOT / "docs" / "optax_signatures.json"
REGION = re.compile(r"(<!-- begin: ([a-z_]+) -->\n).*?(<!-- end: \2 -->)", re.DOTALL)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def code(words: Iterable[str]) -> str:
    return ", ".join(f"`{word}`" for word in words)


def parameters(function) -> dict[str, str]:
    """Argument names and their defaults as they print; arguments without one print as nothing.

    Types and functions print as their names, without an address.
    """

    def told(default) -> str:
        return (
            ""
            if default is inspect.Parameter.empty
            else repr(getattr(default, "__name__", default))
        )

    return {
        name: told(parameter.default)
        for name, parameter in inspect.signature(function).parameters.items()
        if parameter.kind is not parameter.VAR_POSITIONAL
    }


def optax_signatures() -> dict:
    """What the installed optax takes, for the names that funcopt has as well."""
    import optax

    import funcopt

    names = sorted(vars(funcopt).keys() & set(dir(optax)))
    both = {name: (getattr(funcopt, name), getattr(optax, name)) for name in names}
    taken = {
        name: parameters(theirs)
        for name, (ours, theirs) in both.items()
        if inspect.isfunction(ours) and callable(theirs) and ours is not theirs
    }
    return {"version": optax.__version__, "parameters": taken}


def signatures() -> str:
    """Where the arguments of a name that both libraries have are not the same."""
    import funcopt

    report = json.loads(SIGNATURES.read_text())
    rows, same = [], []
    for name, theirs in report["parameters"].items():
        ours = parameters(getattr(funcopt, name))
        ours.pop("storage", None)
        default = [
            f"`{key}={ours[key] or 'required'}`, not `{theirs[key] or 'required'}`"
            for key in ours.keys() & theirs.keys()
            if ours[key] != theirs[key]
        ]
        here, there = ([k for k in a if k not in b] for a, b in ((ours, theirs), (theirs, ours)))
        if here or there or default:
            rows.append([f"`{name}`", code(here), code(there), ", ".join(sorted(default))])
        else:
            same.append(name)
    head = ["", "only in funcopt", "only in optax", "another default"]
    return f"{table(head, rows)}\nThe same as in optax {report['version']}: {code(same)}.\n"


def catalogue() -> str:
    """The rows of tests/catalog.py with their capabilities."""
    from tests import catalog

    lines = [*catalog.tell((*catalog.ROWS, *catalog.BLOCKS)), ""]
    return "\n".join(lines).replace("|g|", r"\|g\|")


def circumstances(report: dict) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in report["versions"].items())
    return (
        f"Measured on {report['date']}, {report['cores']} cores of {report['cpu']}, "
        f"with {versions}; load average {report['load_average_at_start']} at the start.\n"
    )


ALGORITHM = {
    "adam": "`adam`",
    "adamw": "`adamw`",
    "clip_adamw_cosine": "`chain(clip_by_global_norm, adamw)` under a schedule",
}


TORCH = [f"step_vs_torch_{variant}" for variant in ("single", "foreach", "fused")]


def step_time() -> str:
    """Every workload and algorithm of benchmarks/step_time.py."""
    report = json.loads((RESULTS / "step_time.json").read_text())
    rows = []
    for row in report["rows"]:
        ours, theirs = row["subject_program"], row["baseline_program"]
        step = row["step"]
        rows.append(
            [
                f"{row['leaves']:,} {'leaf' if row['leaves'] == 1 else 'leaves'}, "
                f"{row['elements']:,} numbers",
                ALGORITHM[row["algorithm"]],
                f"{1e3 * step['subject_s']:.3g} ms",
                f"**{step['ratio']:.2f}** ({step['ratio_min']:.2f} to {step['ratio_max']:.2f})",
                f"{row['trace']['ratio']:.2f}",
                f"{row['compile']['ratio']:.2f}",
                f"{row['eager']['ratio']:.3f}" if "eager" in row else "",
                f"{ours['temp_bytes'] / 2**20:.1f} / {theirs['temp_bytes'] / 2**20:.1f} MiB",
                " / ".join(f"{row[key]['ratio']:.2f}" for key in TORCH if key in row),
            ]
        )
    head = [
        "workload",
        "optimizer",
        "step",
        "step ratio",
        "trace",
        "compile",
        "eager",
        "temporaries",
        "step to PyTorch",
    ]
    return f"{table(head, rows)}\n{circumstances(report)}"


def defects() -> str:
    """How many optimizers of each library fail each check of tests/defects.py, and which."""
    report = json.loads((RESULTS / "defects.json").read_text())
    both = report["in_both"]
    rows = []
    for check, theirs in report["optax"].items():
        ours = report["funcopt"][check]
        shared = {key: [name for name in theirs[key] if name in both] for key in theirs}
        shares = [share(ours), share(shared), share(theirs)]
        rows.append([check, *shares, who(theirs)])
    head = ["what must hold", "funcopt", "optax, the same", "optax, all", "of these fail"]
    versions = ", ".join(f"{name} {version}" for name, version in report["versions"].items())
    return f"{table(head, rows)}\nMeasured on {report['date']} with {versions}.\n"


def share(outcome: dict[str, list[str]]) -> str:
    count = sum(map(len, outcome.values()))
    return f"{len(outcome['fail'])} of {count}" if count else ""


def who(outcome: dict[str, list[str]]) -> str:
    """The optimizers that fail, or whatever is shorter to say."""
    failed, passed = outcome["fail"], outcome["pass"]
    if not failed or not passed:
        return "all" if len(failed) > 1 else ""
    return ", ".join(failed) if len(failed) <= len(passed) else f"all but {', '.join(passed)}"


def range_test() -> str:
    """For each task and optimizer: which rates are good, and how good each convention's are."""
    report = json.loads((RESULTS / "find_lr.json").read_text())
    rows = []
    for row in report["rows"]:
        runs = [row["cosine"], row["constant"]]
        good = [f"{run['good'][0]:.2g} to {run['good'][-1]:.2g}" for run in runs]
        cells = [
            " / ".join(factor(run["ratios"][name]) for run in runs) if row["suggestions"] else ""
            for name in report["conventions"]
        ]
        rows.append([f"`{row['task']}`", row["optimizer"], *good, *cells])
    head = ["task", "", "good peaks", "good constant rates", *report["conventions"]]
    versions = ", ".join(f"{name} {version}" for name, version in report["versions"].items())
    return (
        f"{table(head, rows)}\n{report['steps']} steps, median of {report['sweep_seeds']} seeds; "
        f"suggestions from {report['find_seeds']} seeds, for a constant rate divided by "
        f"{report['constant']}. Measured on {report['date']} with {versions}.\n"
    )


def factor(ratio: float) -> str:
    """A loss relative to the best one, bold where it is within a half of it."""
    text = f"{ratio:.2f}" if ratio < 100 else "> 100"
    return f"**{text}**" if ratio <= 1.5 else text


def schedules() -> str:
    """Every schedule with its formula and picture."""
    import make_gallery

    return make_gallery.table()


def torch_schedulers() -> str:
    """What the frozen values of PyTorch's schedulers are compared with."""
    frozen = json.loads((ROOT / "tests" / "golden" / "torch_schedules.json").read_text())
    rows = [
        [f"`{row['torch']}`", f"{'its momentum: ' * momentum}`{row['funcopt']}`"]
        for row in frozen["progress"]
        for momentum in [row["quantity"] == "momentum"]
    ]
    head = [f"of a rate of {frozen['rate']}", "funcopt"]
    return f"{table(head, rows)}\nFrozen with {frozen['made_with']}.\n"


def torch_optimizers() -> str:
    """PyTorch's optimizers, and what has their frozen trajectories."""
    import funcopt

    frozen = json.loads((ROOT / "tests" / "golden" / "torch.json").read_text())
    rows = {}
    for case in frozen["cases"]:
        ours, settings = case["funcopt"], case["settings"]
        rate = ours["kwargs"]["learning_rate"]
        if (
            "call" in ours
            or case["problem"] == "quadratic"
            or ("lr_decay" not in settings and isinstance(rate, dict))
        ):
            continue  # the same settings once more, or a rate that a scheduler has moved
        if isinstance(rate, dict):
            rate = getattr(funcopt, rate["schedule"])(**rate["kwargs"])
        hyper = {**ours["kwargs"], "learning_rate": rate}
        tx = repr(getattr(funcopt, ours["factory"])(**hyper)).replace("learning_rate=", "", 1)
        if decay := ours.get("chain_weight_decay"):
            tx = f"chain(add_decayed_weights({decay}), {tx})"
        if decay := ours.get("decoupled_weight_decay"):
            scale = getattr(funcopt, f"scale_by_{ours['factory']}")
            del hyper["learning_rate"]
            tx = f"chain({scale(**hyper)!r}, add_decayed_weights({decay}), descend({rate}))"
        words = [f"{name}={tuple(x) if isinstance(x, list) else x}" for name, x in settings.items()]
        rows[case["name"]] = [f"`torch.optim.{case['optimizer']}({', '.join(words)})`", f"`{tx}`"]
    head = ["PyTorch", "funcopt"]
    return f"{table(head, rows.values())}\nFrozen with {frozen['made_with']}.\n"


def reference() -> str:
    """Every public name in groups, with its arguments and its first line."""
    from funcopt.lab.overview.catalogue import catalogue, public
    from funcopt.lab.overview.kinds import GROUPS

    things, lines = public(), []
    for kind, entries in catalogue().groups.items():
        rows = [
            [f"`{called(entry.name, things[entry.name])}`", entry.summary, entry.paper]
            for entry in entries
        ]
        head = ["name", "what it is", "paper"]
        if not any(entry.paper for entry in entries):
            head, rows = head[:2], [row[:2] for row in rows]
        rows = [[cell.replace("|", r"\|") for cell in row] for row in rows]
        lines.append(f"## {kind.capitalize()}: {GROUPS[kind]}\n\n{table(head, rows)}")
    return "\n".join(lines)


def called(name: str, thing) -> str:
    """A name with its arguments and their defaults; of a class the name only."""
    if not inspect.isfunction(thing):
        return name
    parts, seen = [], False
    for each in inspect.signature(thing).parameters.values():
        if each.kind is each.KEYWORD_ONLY and not seen:
            parts.append("*")
            seen = True
        star = {each.VAR_POSITIONAL: "*", each.VAR_KEYWORD: "**"}.get(each.kind, "")
        seen = seen or star == "*"
        said = each.default.__name__ if callable(each.default) else repr(each.default)
        default = "" if each.default is each.empty else f"={said}"
        parts.append(f"{star}{each.name}{default}")
    return f"{name}({', '.join(parts)})"


def one_pass() -> str:
    """What steps in one pass over memory save, from benchmarks/one_pass.py."""
    report = json.loads((RESULTS / "one_pass.json").read_text())
    names = {"adamw": "`adamw`", "guarded": "`guard(chain(clip_by_global_norm, adamw))`"}
    sizes = {
        "one_64m": "1 leaf, 67,108,864 numbers",
        "gpt2_small": "148 leaves, 124,439,808 numbers",
    }
    ratios = (
        "plain / optax",
        "one pass / plain",
        "one pass / optax",
        "one pass / torch",
        "one pass / additions",
    )

    def ratio(row: dict, name: str) -> str:
        found = row["ratios"].get(name)
        return "" if found is None else spread(found)

    rows = [
        (
            sizes[row["workload"]],
            names[row["kind"]],
            " / ".join(f"{row['program'][side]['bytes']:.0f}" for side in ("one pass", "plain")),
            f"{1e3 * row['seconds']['one pass']:.3g} ms",
            *(ratio(row, name) for name in ratios),
        )
        for row in report["rows"]
    ]
    head = ("workload", "optimizer", "bytes of a parameter, with / without", "with", *ratios)
    return f"{table(head, rows)}\n{circumstances(report)}"


KEPT = {
    "float32": "float32",
    "bfloat16": "bfloat16, rounded to the nearest",
    "master_weights_int8": '`master_weights(tx, "int8")`',
    "master_weights_int16": "`master_weights(tx)`",
    "master_weights_float32": '`master_weights(tx, "float32")`',
}


def weights_step() -> str:
    """What weights in half precision cost in a step, from benchmarks/weights_step.py."""
    report = json.loads((RESULTS / "weights_step.json").read_text())
    rows = [
        (
            KEPT.get(row["way"], f"`{row['way']}(tx)`"),
            f"{row['kept']:.1f}",
            f"{row['temporaries']:.1f}",
            spread(row),
        )
        for row in report["rows"]
        if row["way"] != "float32"
    ]
    head = ("weights", "bytes kept", "bytes of temporaries", "step, to float32's")
    return f"{table(head, rows)}\n{circumstances(report)}"


def fine_tuning() -> str:
    """What weights in half precision gain of a fine-tuning, from benchmarks/fine_tuning.py."""
    report = json.loads((RESULTS / "fine_tuning.json").read_text())
    names = KEPT
    rows = [
        (
            names.get(row["way"], f"`{row['way']}(tx)`"),
            f"{row['moved']:.1%}",
            f"{row['loss']:.4f}",
            f"**{row['gain']:.1%}** ({row['gain_min']:.1%} to {row['gain_max']:.1%})",
        )
        for row in report["rows"]
    ]
    head = ("weights", "moved", "loss", "of the gain in float32")
    first = f"Before, the loss is {report['rows'][0]['first']:.4f}. "
    return f"{table(head, rows)}\n{first}{circumstances(report)}"


def chunked_step() -> str:
    """What steps in chunks cost and save, from benchmarks/chunked_step.py."""
    report = json.loads((RESULTS / "chunked_step.json").read_text())
    rows = [
        (
            f"{row['storage'].removesuffix('bit')} bits",
            f"{row['chunk']:,}",
            f"{row['mib']:.1f} / {row['whole_mib']:.1f} MiB",
            f"{1e3 * row['subject_s']:.3g} ms",
            spread(row),
        )
        for row in report["rows"]
    ]
    head = ("storage", "elements", "temporaries, chunked / whole", "chunked", "chunked / whole")
    return f"{table(head, rows)}\n{circumstances(report)}"


def precision() -> str:
    """Errors of Adam's direction in few bits, from benchmarks/precision.py."""
    report = json.loads((RESULTS / "precision.json").read_text())
    rows, follows = report["directions"], {row["way"]: row for row in report["tracking"]}
    cells = list(dict.fromkeys((row["gradients"], row["b2"]) for row in rows))

    def line(way: str) -> list[str]:
        own = {(row["gradients"], row["b2"]): row for row in rows if row["way"] == way}
        errors = [number(own[cell]["error"]) for cell in cells]
        kept = follows[way]
        told = f"{kept['median']:.2f} ({kept['low']:.2f} to {kept['high']:.2f})"
        bits = next(iter(own.values()))["bits"]
        name = f"**{way}**" if way.startswith("funcopt") else way
        return [name, f"{bits:g}", *errors, told]

    head = ["moments kept by", "bits", *(f"{name}, b2 = {b2}" for name, b2 in cells), "tracking"]
    lines = map(line, dict.fromkeys(row["way"] for row in rows))
    return f"{table(head, lines)}\n{circumstances(report)}"


def number(x: float) -> str:
    """Three digits after the point, or none of a large number."""
    return f"{x:.3f}" if x < 10 else f"{x:,.0f}"


def storage_training() -> str:
    """Paired trainings, from benchmarks/storage_training.py."""
    report = json.loads((RESULTS / "storage_training.json").read_text())
    rows = [
        (
            f"{row['model']}, {row['seeds']} seeds",
            f"{row['float32']:.4f} ± {row['deviation']:.4f}",
            row["storage"],
            f"{row['loss']:.4f}",
            f"{row['difference']:+.2f} ({row['low']:+.2f} to {row['high']:+.2f})",
            "yes" if row["equivalent"] else "not shown",
        )
        for row in report["rows"]
    ]
    head = ("model", "loss in float32", "slots", "loss", "difference", "equivalent")
    return f"{table(head, rows)}\n{circumstances(report)}"


def memory() -> str:
    """Bytes of some states, from benchmarks/memory.py."""
    report = json.loads((RESULTS / "memory.json").read_text())
    found = {(row["optimizer"], row["storage"]): row for row in report["states"]}
    storages = list(dict.fromkeys(storage for _, storage in found))
    names = ("adamw", "sgd", "lion", "muon", "adafactor", "ademamix", "soap", "prodigy")
    rows = [
        (
            f"`{name}`",
            *(f"{found[name, storage]['bytes_per_parameter']:.2f}" for storage in storages),
        )
        for name in names
    ]
    wrong = sum(row["predicted"] != row["actual"] for row in report["states"])
    return (
        f"{table(('optimizer', *storages), rows)}\nOf {len(report['states'])} states, of all "
        f"optimizers that keep slots, {wrong} have other bytes than predicted.\n\n"
        f"{circumstances(report)}"
    )


def spread(row: dict, digits: int = 2) -> str:
    """A median of paired ratios with the smallest and the largest."""
    low, high = (f"{row[f'ratio_{end}']:.{digits}f}" for end in ("min", "max"))
    return f"**{row['ratio']:.{digits}f}** ({low} to {high})"


def everyday() -> str:
    """Imports, small steps and eager ones beside optax, from benchmarks/everyday.py."""
    report = json.loads((RESULTS / "everyday.json").read_text())
    names = {
        "import": "`import funcopt`, seconds of the processor",
        "import_as_optax": "`import funcopt.optax as optax`",
        "first_optimizer": "`import funcopt` and `adamw(1e-3)`",
        "first_chain": "that and `chain(clip_by_global_norm, adamw)` under a schedule",
        "first_step": "that and its first step, compiled, for two small arrays",
        "small_step": "a step of AdamW for 6 leaves, 26,122 numbers",
        "eager": "`update` outside of `jit`, 1,000 leaves",
    }
    rows = [
        (name, *(f"{1e3 * report[key][f'{side}_s']:.3g} ms" for side in SIDES), spread(report[key]))
        for key, name in names.items()
    ]
    rows.append(("`funcopt --help`", f"{1e3 * report['help_s']:.3g} ms", "", ""))
    return f"{table(('what', 'funcopt', 'optax', 'ratio'), rows)}\n{circumstances(report)}"


SIDES = ("subject", "baseline")


def mistakes() -> str:
    """How much longer a step takes when it is made wrongly, from benchmarks/everyday.py."""
    report = json.loads((RESULTS / "everyday.json").read_text())
    names = {
        "another_order": "state and parameters in another order, 32 leaves, 33,554,432 numbers",
        "closed_over": "a rate that changes, closed over; 6 leaves, 26,122 numbers",
        "python_loop": "a loop in Python instead of `scan`, the same leaves",
    }
    rows = [
        (
            name,
            *(f"{1e3 * report['mistakes'][key][f'{side}_s']:.3g} ms" for side in SIDES),
            spread(report["mistakes"][key], 1),
        )
        for key, name in names.items()
    ]
    head = ("mistake", "a step with it", "without", "times as long")
    return f"{table(head, rows)}\n{circumstances(report)}"


def compile_time() -> str:
    """What is waited for before the first step, from benchmarks/compile_time.py."""
    report = json.loads((RESULTS / "compile_time.json").read_text())
    trees = {
        "gpt2_small": "148 leaves of GPT-2 small",
        "1000_x_3500": "1,000 leaves",
        "24_layers_in_12_leaves": "24 layers of it in 12 leaves",
    }
    steps = {
        "plain": "`adamw`",
        "clipped": "`chain(clip_by_global_norm, adamw)` under a schedule",
        "guarded": "that in `guard`",
        "monitored": "that in `monitor`",
        "accumulated": "the clipped chain in `accumulate`",
    }
    rows = [
        (
            trees[row["workload"]],
            steps[row["comparison"]],
            *(f"{row['compile'][f'{side}_s']:.2f} s" for side in SIDES),
            f"{row['trace']['ratio']:.2f}",
            spread(row["compile"]),
        )
        for row in report["rows"]
    ]
    head = ("parameters", "step", "funcopt", "optax", "traced", "compiled")
    return f"{table(head, rows)}\n{circumstances(report)}"


def guarded_step() -> str:
    """What a guard, a monitor and an accumulation cost, from benchmarks/guarded_step.py."""
    report = json.loads((RESULTS / "guarded_step.json").read_text())
    mib = [
        [row[f"{side}_temp_bytes"] / 2**20 for side in ("subject", "baseline")]
        for row in report["rows"]
    ]
    rows = [
        [
            f"{row['leaves']:,} leaves, {row['elements']:,} numbers",
            row["comparison"].replace("_", " "),
            f"{1e3 * row['step']['subject_s']:.3g} ms",
            f"**{row['step']['ratio']:.2f}** ({row['step']['ratio_min']:.2f} to "
            f"{row['step']['ratio_max']:.2f})",
            f"{ours:.1f} / {theirs:.1f} MiB",
        ]
        for row, (ours, theirs) in zip(report["rows"], mib, strict=True)
    ]
    head = ["workload", "comparison", "step", "ratio", "temporaries"]
    kept = (
        f"A monitor of {report['monitored_leaves']} leaves keeps {report['monitor_bytes']:,} bytes."
    )
    return f"{table(head, rows)}\n{kept} {circumstances(report)}"


def sweep() -> str:
    """What one program of 32 rates takes, from benchmarks/sweep.py."""
    report = json.loads((RESULTS / "sweep.json").read_text())
    work, many, expert = (
        report[name] for name in ("workload", "separate_over_value", "value_over_expert")
    )

    def times(row: dict) -> str:
        return f"**{row['ratio']:.2f}** times ({row['ratio_min']:.2f} to {row['ratio_max']:.2f})"

    return (
        f"{work['learning_rates']} rates of Adam, {work['steps']} steps of a {work['task']} each, "
        f"from start to end with all compiling: one program takes {many['baseline_s']:.2g} s, "
        f"a program of optax for each rate {times(many)} as long. Beside one program that maps "
        f"over a closure of optax's Adam, funcopt's takes {times(expert)} as long. "
        f"{circumstances(report)}\n"
    )


def thresholds() -> str:
    """The arguments of Thresholds with their defaults, and which of them are published."""
    import funcopt

    text = inspect.cleandoc(funcopt.Thresholds.__doc__ or "").partition("Args:\n")[2]
    meanings = re.findall(r"^ {4}(\w+): (.*(?:\n {8}.*)*)", text, re.MULTILINE)
    defaults = {each.name: each.default for each in dataclasses.fields(funcopt.Thresholds)}
    assert [name for name, _ in meanings] == list(defaults)
    rows = [
        [
            f"`{name}`",
            f"`{defaults[name]!r}`".replace("|", r"\|"),
            "published" if "(published:" in meaning else "convention",
            " ".join(meaning.split()),
        ]
        for name, meaning in meanings
    ]
    return table(["threshold", "default", "", "meaning"], rows)


def torture_report() -> dict:
    return json.loads((RESULTS / "torture.json").read_text())


def torture() -> str:
    """What each way of dealing with bad steps made of all faults of benchmarks/torture.py."""
    report = torture_report()
    rows = []
    for name, cases in report["results"].items():
        found = list(cases.values())
        bad = [case for what, case in cases.items() if what != report["shift"]]
        recovered = [case["recovered_after"] for case in bad]
        never = recovered.count(None)
        rows.append(
            [
                f"`{name}`" if "(" in name and "σ" not in name else name,
                *(f"{sum(case[key] for case in found)} of {len(found)}" for key in FINITE),
                f"in {sum(case['let_through'] for case in bad)} of {len(bad)}",
                f"{max(case['good_lost'] for case in found)}",
                f"never, in {never} of {len(bad)}" if never else f"{max(recovered)}",
            ]
        )
    head = [
        f"in {report['steps']} steps",
        "parameters finite at the end",
        "state finite",
        "bad steps let through",
        "good updates lost",
        "steps to recover",
    ]
    versions = ", ".join(f"{name} {version}" for name, version in report["versions"].items())
    return f"{table(head, rows)}\nMeasured on {report['date']} with {versions}.\n"


FINITE = ("params_finite", "state_finite")


def torture_cases() -> str:
    """One row for each way, one column for each fault."""
    results = torture_report()["results"]
    faults = list(next(iter(results.values())))
    rows = [[name, *(fate(cases[fault]) for fault in faults)] for name, cases in results.items()]
    return table(["", *faults], rows)


def fate(case: dict) -> str:
    if not case["params_finite"]:
        return "**NaN**"
    if not case["state_finite"]:
        return "**stuck**"
    lost = f"{case['good_lost']} lost" if case["good_lost"] else ""
    return ", ".join(filter(None, ["let through" if case["let_through"] else "", lost])) or "ok"


def smallest_spikes() -> str:
    """From which factor on a norm is a spike, after so many steps."""
    found = torture_report()["smallest_spikes"]
    head = ["steps before", *found]
    return table(head, [["times the usual norm", *(f"{x:.3g}" for x in found.values())]])


def rescue(task: str) -> str:
    """What `funcopt health --task ...` measured: a row for each treatment, and what was said."""
    report = json.loads((RESULTS / f"health_{task}.json").read_text())
    rows = [rescue_row(run, report["optimizer"]) for run in report["treatments"]]
    scored = any(run["accuracy"] is not None for run in report["treatments"])
    head = ["", "rate", "success", report["step_name"], "final loss, median", "worst", "accuracy",
            "steps clipped", "skipped"]  # fmt: skip
    kept = [i for i, name in enumerate(head) if scored or name != "accuracy"]
    lines = [table([head[i] for i in kept], [[row[i] for i in kept] for row in rows])]
    if report["depths"]:
        depths = sorted({run["depth"] for run in report["depths"]})
        names = dict.fromkeys(run["name"] for run in report["depths"])
        by_depth = [
            [name, *(f"{run['solved']} of {run['runs']} ({percent(run['accuracy'])})"
                     for run in report["depths"] if run["name"] == name)]
            for name in names
        ]  # fmt: skip
        lines.append(table(["success (accuracy) by layers", *map(str, depths)], by_depth))
    said = report["untreated"]
    first = [f"{name} at step {step:,}" for name, step in said["first_said_at_step"].items()]
    versions = ", ".join(f"{name} {version}" for name, version in report["versions"].items())
    lines += [
        f"{len(report['seeds'])} seeds of {report['steps']:,} steps. Success: "
        f"{report['criterion']}. {report['where'][0].upper()}{report['where'][1:]}.\n",
        f"Of seed {said['seed']}, untreated, `diagnose_init` says before training: "
        f"{said['before_training']}. At a rate of {said['rate']:g} the monitor says "
        f"{', '.join(first) or 'healthy'}.\n",
        f"Measured with {versions}.\n",
    ]
    return "\n".join(lines)


def rescue_row(run: dict, optimizer: str) -> list[str]:
    loss = run["final_loss"]
    return [
        f"{run['name']}: `{optimizer}`" if run["name"] == "no treatment" else run["name"],
        f"{run['rate']:g}" + "!" * run["on_edge"],
        f"**{run['solved']} of {run['runs']}**",
        "never" if run["median_step"] is None else f"{run['median_step']:,.0f}",
        *("diverged" if x is None else f"{x:.2g}" for x in (loss["median"], loss["high"])),
        percent(run["accuracy"]),
        *(percent(run[key]) if run[key] else "" for key in ("clipped", "skipped")),
    ]


def percent(share: float | None) -> str:
    return "" if share is None else f"{share:.0%}" if share >= 0.01 else "<1%"


def alarm() -> str:
    """How long before the spike of `funcopt health --task spike` the monitor said so."""
    report = json.loads((RESULTS / "health_spike.json").read_text())
    said = report["untreated"]["first_said_at_step"]
    spike = report["treatments"][0]["steps"][0]
    if "STALE SECOND MOMENT" not in said or spike is None:
        return "The monitor said nothing of the second moment before the spike.\n"
    step = said["STALE SECOND MOMENT"]
    return (
        f"Of seed {report['untreated']['seed']} the monitor says STALE SECOND MOMENT at step "
        f"{step:,}, and the loss spikes at step {spike:,.0f}, {spike - step:,.0f} steps later.\n"
    )


RESCUES = ("deep_tanh", "rnn_adding", "rnn_temporal_order", "cliff", "spike")
REGIONS = {
    **{f"health_{task}": functools.partial(rescue, task) for task in RESCUES},
    "health_alarm": alarm,
    "torture": torture,
    "torture_cases": torture_cases,
    "smallest_spikes": smallest_spikes,
    "guarded_step": guarded_step,
    "compile_time": compile_time,
    "everyday": everyday,
    "mistakes": mistakes,
    "one_pass": one_pass,
    "chunked_step": chunked_step,
    "precision": precision,
    "storage_training": storage_training,
    "memory": memory,
    "fine_tuning": fine_tuning,
    "weights_step": weights_step,
    "thresholds": thresholds,
    "signatures": signatures,
    "catalogue": catalogue,
    "step_time": step_time,
    "defects": defects,
    "range_test": range_test,
    "sweep": sweep,
    "schedules": schedules,
    "torch_schedulers": torch_schedulers,
    "torch_optimizers": torch_optimizers,
    "reference": reference,
}


def pages() -> list[Path]:
    return [ROOT / "README.md", *sorted((ROOT / "docs").glob("**/*.md"))]


def filled(text: str) -> str:
    return REGION.sub(lambda m: m[1] + REGIONS[m[2]]() + m[3], text)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing")
    parser.add_argument("--optax", action="store_true", help="read optax's signatures anew")
    given = parser.parse_args(arguments)
    if given.optax:
        SIGNATURES.write_text(json.dumps(optax_signatures(), indent=1) + "\n")
    check = given.check
    stale = [page for page in pages() if filled(page.read_text()) != page.read_text()]
    for page in stale:
        print(f"{'out of date' if check else 'wrote'}: {page.relative_to(ROOT)}")
        if not check:
            page.write_text(filled(page.read_text()))
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    sys.exit(main())
