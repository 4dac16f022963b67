"""SHAP values of a score, from the ONNX model alone: nothing is ever unpickled.

The forest's score is 2 ** -(mean isolation depth / what is expected), so its base-2 logarithm is a sum over trees, and
SHAP values of that sum add up exactly: log2(score) = base + sum of the values. An input of the forest is the n-th
largest deviation; its SHAP value belongs to the feature that has that rank in the window.
"""

from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.errors import Refused
from shared.features import NAMES, Vector
from shared.scoring import Bundle, Nominal, deviations, tail

_EULER = 0.5772156649015329
_TOLERANCE = 1e-4


class Explainer:
    """Explains one bundle. Refused("bundle_malformed") when its model is no isolation forest of the known form, or when
    the trees read from it do not compute what it computes."""

    def __init__(self, bundle: Bundle) -> None:
        self._bundle = bundle
        self.trees = read_trees(bundle.onnx)
        inputs = np.sort(np.random.default_rng(0).exponential(1, (64, bundle.ranks)).astype(np.float32))[:, ::-1]
        difference = np.abs(self._sum(inputs) - np.log2(bundle.raw_scores(np.ascontiguousarray(inputs)))).max()
        if difference > _TOLERANCE:
            raise Refused("bundle_malformed", f"trees and model differ by {difference:.2g}")

    @cached_property
    def _shap(self) -> Any:
        import shap  # seconds of start-up that only an analysis should pay

        model = {"trees": self.trees, "input_dtype": np.float32, "internal_dtype": np.float64}
        return shap.TreeExplainer(model, feature_perturbation="tree_path_dependent")

    def prepare(self) -> None:
        """Load shap now."""
        _ = self._shap

    @property
    def base(self) -> float:
        """log2 of the score that the model gives before it looks at a window."""
        return float(np.ravel(self._shap.expected_value)[0])

    def explain(self, vector: Vector, nominal: Nominal) -> list[dict[str, Any]]:
        """[{"feature", "value", "shap"}] of one window, the strongest first; value None where the feature is absent.

        base + the sum of "shap" is the base-2 logarithm of the window's score.
        """
        order, inputs = tail(deviations(vector[None], nominal), self._bundle.ranks)
        shares = np.asarray(self._shap.shap_values(inputs, check_additivity=False), np.float64).reshape(-1)
        values = [
            {"feature": NAMES[i], "value": _number(vector[i]), "shap": float(share)}
            for i, share in zip(order[0].tolist(), shares, strict=True)
        ]
        return sorted(values, key=lambda v: -abs(float(v["shap"] or 0)))

    def _sum(self, inputs: Vector) -> NDArray[np.float64]:
        """What the trees add up to for [n, ranks]."""
        return np.asarray(np.sum([_leaf_values(tree, inputs) for tree in self.trees], axis=0))


def read_trees(onnx_bytes: bytes) -> list[dict[str, NDArray[Any]]]:
    """The forest as shap's tree dictionaries; a leaf's value is its part of log2(score).

    skl2onnx writes one TreeEnsembleRegressor per tree, which gives the leaf's number, and two LabelEncoders, which give
    the leaf's samples and its depth.
    """
    import onnx

    try:
        graph = onnx.load_from_string(onnx_bytes).graph
        constants = {i.name: onnx.numpy_helper.to_array(i) for i in graph.initializer}
        expected = float(constants["dec_Divcst"].ravel()[0])
        nodes = [(n, {a.name: onnx.helper.get_attribute_value(a) for a in n.attribute}) for n in graph.node]
        casts = {n.output[0]: n.input[0] for n, _ in nodes if n.op_type == "Cast"}
        leaves: dict[str, dict[str, dict[int, float]]] = {}
        for node, attributes in nodes:
            if node.op_type == "LabelEncoder":
                what = "samples" if node.output[0].startswith("node_sample") else "depth"
                table = dict(zip(attributes["keys_int64s"], attributes["values_floats"], strict=True))
                leaves.setdefault(casts[node.input[0]], {})[what] = table
        trees = [(n.output[0], a) for n, a in nodes if n.op_type == "TreeEnsembleRegressor"]
        return [_tree(a, leaves[name]["samples"], leaves[name]["depth"], expected) for name, a in trees]
    except (KeyError, ValueError, IndexError, TypeError, AttributeError) as e:
        raise Refused("bundle_malformed", f"no isolation forest as skl2onnx writes it: {e}"[:200]) from None


def _tree(
    a: dict[str, Any], samples: dict[int, float], depth: dict[int, float], expected: float
) -> dict[str, NDArray[Any]]:
    is_leaf = np.array([m == b"LEAF" for m in a["nodes_modes"]])
    left = np.where(is_leaf, -1, np.array(a["nodes_truenodeids"]))
    right = np.where(is_leaf, -1, np.array(a["nodes_falsenodeids"]))
    if list(a["nodes_nodeids"]) != list(range(len(is_leaf))):
        raise ValueError("nodes out of order")
    weight, values = np.zeros(len(is_leaf)), np.zeros(len(is_leaf))
    for leaf in np.flatnonzero(is_leaf).tolist():
        weight[leaf] = samples[leaf]
        values[leaf] = -(depth[leaf] - 1 + expected_depth(samples[leaf])) / expected
    for node in reversed(range(len(is_leaf))):  # children come after their parents
        if not is_leaf[node]:
            children = [left[node], right[node]]
            weight[node] = weight[children].sum()
            values[node] = (values[children] * weight[children]).sum() / weight[node]
    return {
        "children_left": left, "children_right": right, "children_default": left.copy(),
        "features": np.where(is_leaf, -2, np.array(a["nodes_featureids"])),
        "thresholds": np.array(a["nodes_values"], np.float64),
        "values": values[:, None], "node_sample_weight": weight,
    }  # fmt: skip


def expected_depth(samples: float) -> float:
    """Mean depth at which `samples` points are isolated (Liu, Ting, Zhou: Isolation Forest, 2008, equation 1)."""
    if samples <= 1:
        return 0.0
    return 1.0 if samples == 2 else 2 * (np.log(samples - 1) + _EULER) - 2 * (samples - 1) / samples


def _leaf_values(tree: dict[str, NDArray[Any]], inputs: Vector) -> NDArray[np.float64]:
    at = np.zeros(len(inputs), np.int64)
    left, right, feature, threshold = (tree[k] for k in ("children_left", "children_right", "features", "thresholds"))
    rows = np.arange(len(inputs))
    while (left[at] >= 0).any():
        inner = left[at] >= 0
        goes_left = inputs[rows, np.maximum(feature[at], 0)] <= threshold[at]
        at = np.where(inner, np.where(goes_left, left[at], right[at]), at)
    found: NDArray[np.float64] = tree["values"][at, 0]
    return found


def _number(value: np.float32) -> float | None:
    return float(value) if np.isfinite(value) else None
