"""Write the lab's data and the numbers derived from it; needs scikit-learn, scipy and Python 3.11.

    python tests/make_lab_data.py

writes `funcopt/lab/problems/data/digits.npz` from scikit-learn's copy of the digits,
`characters.npz` beside it from the pages of `help` that come with Python, and prints the
optimum of the task `logistic_digits`, which `funcopt/lab/problems/tasks.py` quotes.
"""

import gzip
import importlib.resources
import io
import pydoc_data.topics
import re
from pathlib import Path

import numpy as np
import scipy.optimize
import scipy.special

DATA = Path(__file__).parent.parent / "funcopt" / "lab" / "problems" / "data"


def digits() -> tuple[np.ndarray, np.ndarray]:
    """The images and labels of scikit-learn's `digits.csv.gz`, read without importing it."""
    packed = importlib.resources.files("sklearn.datasets") / "data" / "digits.csv.gz"
    rows = np.loadtxt(io.BytesIO(gzip.decompress(packed.read_bytes())), delimiter=",")
    rows = rows.astype(np.uint8)
    return rows[:, :-1].reshape(-1, 8, 8), rows[:, -1]


def characters() -> np.ndarray:
    """Pages of `help` in their order, as codes: 0 ends a line, 1 is a space."""
    pages = [page for _, page in sorted(pydoc_data.topics.topics.items())]
    # A page begins with its title, underlined by stars.
    text = "\n".join(re.sub(r"\A[^\n]*\n\*+\n+", "", page) for page in pages)
    codes = np.frombuffer(text.encode("ascii", "ignore"), np.uint8)
    codes = np.where(codes == ord("\n"), 31, codes)
    return (codes[(codes >= 31) & (codes < 127)] - 31)[:100_000].astype(np.uint8)


def objective(flat: np.ndarray, x: np.ndarray, labels: np.ndarray, l2: float):
    """Mean cross entropy plus `l2/2 ||W||^2`, and its gradient, in float64."""
    weights, bias = flat[:-10].reshape(-1, 10), flat[-10:]
    logits = x @ weights + bias
    hot = np.eye(10)[labels]
    value = np.mean(scipy.special.logsumexp(logits, axis=1) - np.sum(hot * logits, axis=1))
    slope = (scipy.special.softmax(logits, axis=1) - hot) / len(x)
    gradient = np.concatenate([(x.T @ slope + l2 * weights).ravel(), slope.sum(0)])
    return value + l2 / 2 * np.sum(weights**2), gradient


def logistic_optimum(l2: float) -> tuple[float, float]:
    """The smallest objective on the training digits, and the norm of the gradient there."""
    images, labels = digits()
    train = np.arange(len(images)) % 5 != 0
    x, labels = images[train].reshape(-1, 64) / 16.0, labels[train]
    found = scipy.optimize.minimize(
        objective,
        np.zeros(650),
        args=(x, labels, l2),
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": 20_000, "maxfun": 40_000, "ftol": 1e-16, "gtol": 1e-10, "maxcor": 50},
    )
    return float(found.fun), float(np.linalg.norm(found.jac))


def main() -> None:
    images, labels = digits()
    np.savez_compressed(DATA / "digits.npz", images=images, labels=labels)
    np.savez_compressed(DATA / "characters.npz", codes=characters())
    value, norm = logistic_optimum(l2=1e-3)
    print(f"{DATA.name}/digits.npz: {len(images)} images")
    print(f"logistic_digits: optimum {value!r}, gradient norm {norm:.1e}")


if __name__ == "__main__":
    main()
