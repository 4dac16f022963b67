"""SHAP values of a kind's probability, from the ONNX model alone: nothing is ever unpickled.

The forest gives each kind the mean of its trees' leaves. Values are interventional (Lundberg et al. 2020) against a
vector at its class's nominal: what each quantity adds to the kind's probability because it is not nominal. They add up:
probability = base + sum.
"""

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.errors import Refused
from shared.features import NAMES, Vector
from shared.scoring import RANKS, Bundle, Nominal, kind_inputs, ratios

_TOLERANCE = 1e-4
_INPUTS = (*NAMES, *(f"ratio number {i + 1}" for i in range(RANKS)))
MOST = 10
BASE = "base"


class Explainer:
    """Explains one bundle. Refused("bundle_malformed") when its model is no forest of the known form, or when the trees
    read from it do not compute what it computes."""

    def __init__(self, bundle: Bundle) -> None:
        self._bundle = bundle
        self.trees = read_trees(bundle.onnx, len(bundle.kinds))
        self._explainer = lru_cache(maxsize=len(bundle.kinds))(self._make)
        nominal = next(iter(bundle.classes.values()))
        vectors = nominal.medians + np.random.default_rng(0).normal(0, 1, (64, len(NAMES))).astype(np.float32) * (
            np.where(np.isfinite(nominal.high), nominal.high, 0)
        ).astype(np.float32)
        found = np.mean([_leaves(t, kind_inputs(ratios(vectors, nominal))) for t in self.trees], axis=0)
        difference = np.abs(found - bundle.kind_probabilities(vectors, nominal)).max()
        if difference > _TOLERANCE:
            raise Refused("bundle_malformed", f"trees and model differ by {difference:.2g}")

    def _make(self, kind: int) -> Any:
        import shap  # seconds of start-up that only an analysis should pay

        trees = [{**t, "values": t["values"][:, kind : kind + 1] / len(self.trees)} for t in self.trees]
        model = {"trees": trees, "input_dtype": np.float32, "internal_dtype": np.float64}
        return shap.TreeExplainer(model, data=np.zeros((1, len(_INPUTS))), feature_perturbation="interventional")

    def prepare(self) -> None:
        """Load shap now."""
        self._explainer(0)

    def base(self, kind: str) -> float:
        """The probability that the forest gives the kind for a vector at its nominal."""
        return float(np.ravel(self._explainer(self._bundle.kinds.index(kind)).expected_value)[0])

    def explain(self, vector: Vector, nominal: Nominal, kind: str) -> list[dict[str, Any]]:
        """[{"feature", "value", "shap"}] of one vector for a kind, the strongest first, MOST at most, then "others".

        The last is "base", what the forest gives a nominal vector. The sum of "shap" is the kind's probability;
        ValueError when it is not.
        """
        number = self._bundle.kinds.index(kind)
        inputs = kind_inputs(ratios(vector[None], nominal))
        shares = np.asarray(self._explainer(number).shap_values(inputs, check_additivity=False), np.float64).reshape(-1)
        probability = float(self._bundle.kind_probabilities(vector[None], nominal)[0, number])
        if abs(self.base(kind) + shares.sum() - probability) > _TOLERANCE:
            raise ValueError(f"SHAP values add up to {self.base(kind) + shares.sum():.5f}, not {probability:.5f}")
        order = np.argsort(-np.abs(shares), kind="stable")
        values = [_value(vector, int(i), float(shares[i])) for i in order[:MOST]]
        rest = {"others": float(shares[order[MOST:]].sum()), BASE: self.base(kind)}
        return values + [{"feature": name, "value": None, "shap": share} for name, share in rest.items()]


def _value(vector: Vector, i: int, share: float) -> dict[str, Any]:
    known = i < len(vector) and bool(np.isfinite(vector[i]))
    return {"feature": _INPUTS[i], "value": float(vector[i]) if known else None, "shap": share}


def read_trees(onnx_bytes: bytes, kinds: int) -> list[dict[str, NDArray[Any]]]:
    """The forest as shap's tree dictionaries; a leaf's values [kinds] are its tree's probabilities."""
    import onnx

    try:
        graph = onnx.load_from_string(onnx_bytes).graph
        node = next(n for n in graph.node if n.op_type == "TreeEnsembleClassifier")
        a = {x.name: np.array(onnx.helper.get_attribute_value(x)) for x in node.attribute}
        trees = int(a["nodes_treeids"].max()) + 1
        return [_tree(a, a["nodes_treeids"] == t, a["class_treeids"] == t, kinds, trees) for t in range(trees)]
    except (KeyError, ValueError, IndexError, TypeError, AttributeError, StopIteration) as e:
        raise Refused("bundle_malformed", f"no forest as skl2onnx writes it: {e}"[:200]) from None


def _tree(
    a: dict[str, NDArray[Any]], own: NDArray[np.bool_], leaves: NDArray[np.bool_], kinds: int, trees: int
) -> dict[str, NDArray[Any]]:  # fmt: skip
    is_leaf = a["nodes_modes"][own] == b"LEAF"
    if a["nodes_nodeids"][own].tolist() != list(range(len(is_leaf))):
        raise ValueError("nodes out of order")
    values = np.zeros((len(is_leaf), kinds))
    values[a["class_nodeids"][leaves], a["class_ids"][leaves]] = a["class_weights"][leaves] * trees
    left = np.where(is_leaf, -1, a["nodes_truenodeids"][own])
    return {
        "children_left": left,
        "children_right": np.where(is_leaf, -1, a["nodes_falsenodeids"][own]),
        "children_default": left.copy(),
        "features": np.where(is_leaf, -2, a["nodes_featureids"][own]),
        "thresholds": a["nodes_values"][own].astype(np.float64),
        "values": values,
        "node_sample_weight": np.ones(len(is_leaf)),
    }


def _leaves(tree: dict[str, NDArray[Any]], inputs: Vector) -> NDArray[np.float64]:
    at, rows = np.zeros(len(inputs), np.int64), np.arange(len(inputs))
    left, right, feature, threshold = (tree[k] for k in ("children_left", "children_right", "features", "thresholds"))
    while (left[at] >= 0).any():
        inner = left[at] >= 0
        goes_left = inputs[rows, np.maximum(feature[at], 0)] <= threshold[at]
        at = np.where(inner, np.where(goes_left, left[at], right[at]), at)
    return np.asarray(tree["values"][at], np.float64)
